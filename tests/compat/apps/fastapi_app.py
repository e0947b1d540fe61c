"""A FastAPI application such as people write: models, dependencies, uploads, forms, middleware, thread pool."""

from __future__ import annotations

import asyncio
import hashlib
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from compat.apps.events import Events
from fastapi import BackgroundTasks, Cookie, Depends, FastAPI, File, Form, Header, HTTPException, Request, UploadFile
from fastapi.responses import JSONResponse, RedirectResponse, Response
from pydantic import BaseModel, Field

events = Events()
released = asyncio.Event()
barrier = threading.Barrier(4)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
    shared: list[str] = []
    print("lifespan: opened", file=sys.stderr, flush=True)
    yield {"greeting": "hello from startup", "shared": shared}
    print(f"lifespan: closed with {shared}", file=sys.stderr, flush=True)


app = FastAPI(lifespan=lifespan)


class Item(BaseModel):
    name: str
    price: float = Field(gt=0)
    tags: list[str] = []


class OutOfTea(Exception):
    pass


@app.exception_handler(OutOfTea)
async def out_of_tea(request: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"out of": "tea"}, status_code=418)


@app.middleware("http")
async def mark(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    response = await call_next(request)
    response.headers["x-middleware"] = request.url.path.encode().hex()
    return response


@app.get("/")
async def index() -> dict[str, str]:
    return {"hello": "world"}


@app.get("/items/{item_id}")
async def read_item(item_id: int, q: str | None = None) -> Any:
    return {"item_id": item_id, "q": q}


@app.post("/items", status_code=201)
async def create_item(item: Item) -> Item:
    return item


@app.get("/files/{path:path}")
async def read_path(path: str, request: Request) -> dict[str, str]:
    raw: bytes = request.scope["raw_path"]
    return {"path": path, "raw_path": raw.decode("ascii"), "url": str(request.url)}


@app.get("/search")
async def search(request: Request, q: str = "") -> dict[str, Any]:
    return {"q": q, "all": request.query_params.multi_items()}


@app.post("/upload")
async def upload(file: UploadFile, note: Annotated[str, Form()] = "") -> dict[str, Any]:
    digest = hashlib.sha256()
    size = 0
    while piece := await file.read(65536):
        digest.update(piece)
        size += len(piece)
    return {"name": file.filename, "type": file.content_type, "size": size, "sha256": digest.hexdigest(), "note": note}


@app.post("/uploads")
async def uploads(files: Annotated[list[bytes], File()]) -> list[int]:
    return [len(content) for content in files]


@app.post("/stream-in")
async def stream_in(request: Request) -> dict[str, Any]:
    digest = hashlib.sha256()
    pieces = 0
    async for piece in request.stream():
        pieces += bool(piece)
        digest.update(piece)
    return {"sha256": digest.hexdigest(), "pieces": pieces}


@app.get("/cookies")
async def cookies(seen: Annotated[str | None, Cookie()] = None) -> Response:
    response = JSONResponse({"seen": seen})
    response.set_cookie("first", "1", httponly=True)
    response.set_cookie("second", "zwei drei", path="/cookies")
    return response


@app.get("/headers")
async def headers(user_agent: Annotated[str, Header()], x_many: Annotated[list[str] | None, Header()] = None) -> Any:
    return {"user-agent": user_agent, "x-many": x_many}


@app.get("/redirect")
async def redirect() -> RedirectResponse:
    return RedirectResponse("/items/7?q=redirected")


@app.get("/slash/")
async def slash() -> str:
    return "with a slash"


@app.get("/tea")
async def tea() -> None:
    raise OutOfTea


@app.get("/forbidden")
async def forbidden() -> None:
    raise HTTPException(403, "not for you", headers={"x-reason": "closed"})


@app.get("/boom")
async def boom() -> None:
    raise RuntimeError("the endpoint broke")


@app.get("/threads")
def in_thread() -> dict[str, Any]:
    return {"main": threading.current_thread() is threading.main_thread(), "thread": threading.get_ident()}


@app.get("/threads/meet")
def meet_in_threads() -> int:
    """Returns only when four requests are in here at once."""
    return barrier.wait(timeout=60)


@app.get("/threads/boom")
def boom_in_thread() -> None:
    raise RuntimeError("the thread broke")


async def resource() -> AsyncIterator[str]:
    try:
        yield "open"
    finally:
        events.fire("dependency closed")


def resource_in_thread() -> Iterator[str]:
    yield "open in thread"


Resource = Annotated[str, Depends(resource)]
ThreadResource = Annotated[str, Depends(resource_in_thread)]


@app.get("/dependency")
async def dependency(one: Resource, two: ThreadResource) -> list[str]:
    return [one, two]


@app.get("/background")
async def background(tasks: BackgroundTasks) -> dict[str, str]:
    async def wait_for_release() -> None:
        await released.wait()
        events.fire("background done")

    tasks.add_task(wait_for_release)
    return {"task": "waits"}


@app.post("/background/release")
async def release() -> None:
    released.set()


@app.get("/state")
async def state(request: Request, add: str | None = None) -> dict[str, Any]:
    if add is not None:
        request.state.shared.append(add)
    request.state.own = getattr(request.state, "own", 0) + 1
    return {"greeting": request.state.greeting, "shared": request.state.shared, "own": request.state.own}


@app.get("/wait/{name}")
async def wait(name: str) -> str:
    await events.wait(name)
    return name
