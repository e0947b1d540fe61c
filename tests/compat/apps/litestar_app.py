# Without `from __future__ import annotations`: Litestar reads the annotations of handlers.
from collections.abc import AsyncIterator

from litestar import Litestar, Request, get, post
from litestar.response import Stream

started: list[str] = []


@get("/")
async def index() -> dict[str, list[str]]:
    return {"seen": started}


@post("/upper", status_code=200)
async def upper(request: Request) -> str:  # type: ignore[type-arg]
    return (await request.body()).decode().upper()


@get("/stream")
async def stream() -> Stream:
    async def pieces() -> AsyncIterator[bytes]:
        for number in range(3):
            yield b"%d\n" % number

    return Stream(pieces())


async def start() -> None:
    started.append("started")


app = Litestar([index, upper, stream], on_startup=[start])
