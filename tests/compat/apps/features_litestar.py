# Without `from __future__ import annotations`: Litestar reads the annotations of handlers.
"""What users of Litestar touch that depends on the server."""

import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from litestar import Litestar, Request, Response, delete, get, post
from litestar.config.compression import CompressionConfig
from litestar.config.cors import CORSConfig
from litestar.datastructures import Cookie, UploadFile
from litestar.enums import RequestEncodingType
from litestar.exceptions import NotAuthorizedException
from litestar.middleware.session.server_side import ServerSideSessionConfig
from litestar.params import Body, Parameter
from litestar.response import File, Redirect, Stream
from litestar.static_files import create_static_files_router

FILES = Path(os.environ["COMPAT_FILES"])


@dataclass
class Item:
    name: str
    price: float


@get("/see")
async def see(request: Request[Any, Any, Any], q: list[str] | None = None) -> dict[str, Any]:
    return {
        "url": str(request.url),
        "base_url": str(request.base_url),
        "client": request.client.host if request.client else None,
        "q": q,
        "cookies": request.cookies,
        "root_path": request.scope["root_path"],
        "path": request.scope["path"],
    }


@get("/count")
async def count(request: Request[Any, Any, Any]) -> str:
    request.session["count"] = request.session.get("count", 0) + 1
    return str(request.session["count"])


@post("/items")
async def create(data: Item) -> Item:
    return data


@post("/unread")
async def unread() -> None:
    raise NotAuthorizedException("no")


@post("/upload")
async def upload(data: Annotated[UploadFile, Body(media_type=RequestEncodingType.MULTI_PART)]) -> dict[str, Any]:
    return {"name": data.filename, "size": len(await data.read())}


@delete("/items/{number:int}")
async def remove(number: int) -> None: ...


@get("/file")
async def file() -> File:
    return File(FILES / "large.bin", filename="large.bin", content_disposition_type="inline")


@get("/stream")
async def stream() -> Stream:
    async def pieces() -> AsyncIterator[bytes]:
        for number in range(3):
            yield b"%d\n" % number

    return Stream(pieces(), media_type="text/plain")


@get("/cookies")
async def cookies() -> Response[str]:
    return Response(
        "cookies", cookies=[Cookie("first", value="1", httponly=True), Cookie("second", value="2", max_age=60)]
    )


@get("/redirect")
async def redirect() -> Redirect:
    return Redirect("/see", status_code=303)


@get("/large")
async def large() -> str:
    return "compress me " * 1000


@get("/header")
async def header(many: Annotated[str, Parameter(header="x-many")]) -> str:
    return many


app = Litestar(
    [
        *(see, count, create, unread, upload, remove, file, stream, cookies, redirect, large, header),
        create_static_files_router("/static", directories=[FILES], html_mode=True),
    ],
    compression_config=CompressionConfig("gzip", minimum_size=5000),
    cors_config=CORSConfig(allow_origins=["https://example.org"]),
    middleware=[ServerSideSessionConfig().middleware],
)
