"""What users of Starlette and FastAPI touch that depends on the server, and mounts of other applications."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import AsyncIterator, Iterator
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, cast

from a2wsgi import WSGIMiddleware
from compat.apps.flask_app import app as flask
from fastapi import Cookie, Depends, FastAPI, Form, Header, HTTPException, UploadFile
from fastapi.responses import FileResponse as FastAPIFileResponse
from fastapi.security import OAuth2PasswordBearer
from fastapi.staticfiles import StaticFiles as FastAPIStaticFiles
from pydantic import BaseModel, Field
from starlette.applications import Starlette
from starlette.authentication import AuthCredentials, AuthenticationBackend, SimpleUser, requires
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.middleware.httpsredirect import HTTPSRedirectMiddleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import (
    FileResponse,
    HTMLResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import Host, Mount, Route
from starlette.staticfiles import StaticFiles

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from starlette.middleware.wsgi import WSGIMiddleware as StarletteWSGIMiddleware

# The middleware of the server that serves this.
middleware = import_module(f"{'fastserve' if 'fastserve.server' in sys.modules else 'uvicorn'}.middleware.wsgi")
own = middleware.WSGIMiddleware(flask)
a2wsgi: Any = WSGIMiddleware(cast("Any", flask))
FILES = Path(os.environ["COMPAT_FILES"])


class Backend(AuthenticationBackend):
    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, SimpleUser] | None:
        name = conn.headers.get("x-user")
        return (AuthCredentials(["authenticated"]), SimpleUser(name)) if name else None


async def see(request: Request) -> Response:
    """What an endpoint can see of its request."""
    return JSONResponse(
        {
            "method": request.method,
            "url": str(request.url),
            "base_url": str(request.base_url),
            "path": request.scope["path"],
            "raw_path": request.scope["raw_path"].decode(),
            "root_path": request.scope["root_path"],
            "query": request.query_params.multi_items(),
            "client": request.client.host if request.client else None,
            "scheme": request.url.scheme,
            "cookies": request.cookies,
            "accept": request.headers.getlist("x-list"),
            "link": str(request.url_for("see")),
            "http_version": request.scope["http_version"],
        }
    )


async def file(request: Request) -> Response:
    return FileResponse(FILES / request.path_params["name"], headers={"x-own": "header"})


async def attachment(request: Request) -> Response:
    return FileResponse(FILES / "small.txt", filename="gr\xfc\xdfe.txt", media_type="text/x-own", status_code=203)


async def ignore(request: Request) -> Response:
    """A response that does not look at the body."""
    return PlainTextResponse("no", status_code=401, headers={"www-authenticate": "Basic"})


async def first_piece(request: Request) -> Response:
    async for piece in request.stream():
        return PlainTextResponse(f"{min(len(piece), 1)}")
    return PlainTextResponse("0")


async def echo(request: Request) -> Response:
    return Response(await request.body(), media_type=request.headers.get("content-type"))


async def sizes(request: Request) -> Response:
    return PlainTextResponse(str(sum([len(piece) async for piece in request.stream()])))


async def form(request: Request) -> Response:
    async with request.form() as form:
        found: dict[str, Any] = {}
        for name, value in form.multi_items():
            found[name] = value if isinstance(value, str) else [value.filename, len(await value.read())]
    return JSONResponse(found)


async def count(request: Request) -> Response:
    request.session["count"] = request.session.get("count", 0) + 1
    return PlainTextResponse(str(request.session["count"]))


async def forget(request: Request) -> Response:
    request.session.clear()
    return PlainTextResponse("forgotten")


async def cookies(request: Request) -> Response:
    response = PlainTextResponse("cookies")
    response.set_cookie("first", "1", httponly=True, samesite="strict", path="/")
    response.set_cookie("second", "2", secure=True, max_age=60)
    response.delete_cookie("third")
    return response


async def stream(request: Request) -> Response:
    async def lines() -> AsyncIterator[str]:
        for number in range(int(request.query_params.get("n", 3))):
            yield f"{number}\n"

    return StreamingResponse(lines(), media_type="text/plain", status_code=202)


async def threaded(request: Request) -> Response:
    def pieces() -> Iterator[bytes]:
        yield from (b"a", b"", b"c" * 70_000)

    return StreamingResponse(pieces(), headers={"content-length": "70001"})


async def status(request: Request) -> Response:
    return Response(status_code=request.path_params["code"])


async def headers(request: Request) -> Response:
    response = PlainTextResponse("headers", headers={"X-Upper-Case": "Value", "x-latin": "gr\xfc\xdfe", "x-empty": ""})
    response.raw_headers += [(b"x-many", b"1"), (b"x-many", b"2"), (b"x-long", b"l" * 8000)]
    return response


async def redirect(request: Request) -> Response:
    return RedirectResponse(request.url_for("see"), status_code=303)


async def large(request: Request) -> Response:
    return HTMLResponse("<p>compress me</p>" * 1000)


@requires("authenticated")
async def private(request: Request) -> Response:
    return PlainTextResponse(request.user.display_name)


async def slashed(request: Request) -> Response:
    return PlainTextResponse("slashed")


async def not_found(request: Request, error: Exception) -> Response:
    return JSONResponse({"nothing at": request.url.path}, status_code=404)


ROUTES = [
    Route("/see", see, name="see", methods=["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]),
    Route("/see/{rest:path}", see),
    Route("/file/{name}", file),
    Route("/attachment", attachment),
    Route("/ignore", ignore, methods=["POST", "PUT"]),
    Route("/first", first_piece, methods=["POST"]),
    Route("/echo", echo, methods=["POST", "PUT", "PATCH", "DELETE"]),
    Route("/sizes", sizes, methods=["POST"]),
    Route("/form", form, methods=["POST"]),
    Route("/count", count),
    Route("/forget", forget),
    Route("/cookies", cookies),
    Route("/stream", stream),
    Route("/threaded", threaded),
    Route("/status/{code:int}", status),
    Route("/headers", headers),
    Route("/redirect", redirect),
    Route("/large", large),
    Route("/private", private),
    Route("/slashed/", slashed),
    Mount("/static", StaticFiles(directory=FILES, html=True)),
]

secure = Starlette(
    routes=[Route("/see", see, name="see")],
    middleware=[Middleware(HTTPSRedirectMiddleware), Middleware(TrustedHostMiddleware, allowed_hosts=["site.example"])],
)

fastapi = FastAPI(title="features", docs_url="/documentation")
bearer = OAuth2PasswordBearer(tokenUrl="token")


class Item(BaseModel):
    name: str = Field(min_length=2)
    price: float = Field(gt=0)


def session() -> Iterator[str]:
    yield "a session"


@fastapi.post("/items", status_code=201)
async def create(item: Item, session: Annotated[str, Depends(session)]) -> dict[str, Any]:
    return {**item.model_dump(), "session": session}


@fastapi.get("/items/{number}", response_model=Item)
def item(number: int) -> dict[str, Any]:
    if number > 9:
        raise HTTPException(404, "no such item", headers={"x-error": "none"})
    return {"name": "cup", "price": number, "secret": "left out by the model"}


@fastapi.delete("/items/{number}", status_code=204)
async def delete(number: int) -> None: ...


@fastapi.post("/upload")
async def upload(file: UploadFile, note: Annotated[str, Form()]) -> dict[str, Any]:
    return {"name": file.filename, "size": len(await file.read()), "note": note}


@fastapi.post("/unread")
async def unread() -> str:
    raise HTTPException(413, "too large for me")


@fastapi.get("/parts")
async def parts(
    user_agent: Annotated[str, Header()],
    many: Annotated[list[str], Header(alias="x-many")],
    kept: Annotated[str | None, Cookie()] = None,
) -> list[Any]:
    return [user_agent, many, kept]


@fastapi.get("/me")
async def me(token: Annotated[str, Depends(bearer)]) -> str:
    return token


@fastapi.get("/file")
async def fastapi_file() -> FastAPIFileResponse:
    return FastAPIFileResponse(FILES / "large.bin")


fastapi.mount("/static", FastAPIStaticFiles(directory=FILES))
fastapi.mount("/sub", FastAPI(title="sub", openapi_tags=[]))

app = Starlette(
    routes=[
        *ROUTES,
        Mount("/below", routes=ROUTES),
        Host("api.example", Starlette(routes=[Route("/", see, name="see")])),
        Mount("/fastapi", fastapi),
        Mount("/secure", secure),
        Mount("/gzip", routes=ROUTES, middleware=[Middleware(GZipMiddleware, minimum_size=5000)]),
        Mount("/a2wsgi", a2wsgi),
        Mount("/own", own),
        Mount("/wsgi", StarletteWSGIMiddleware(flask)),
    ],
    middleware=[
        Middleware(
            CORSMiddleware, allow_origins=["https://example.org"], allow_methods=["PUT"], allow_credentials=True
        ),
        Middleware(SessionMiddleware, secret_key="only for tests"),
        Middleware(AuthenticationMiddleware, backend=Backend()),
    ],
    exception_handlers={404: not_found},
)
