from __future__ import annotations

from collections.abc import AsyncIterator

from quart import Quart, request

app = Quart(__name__)
started: list[str] = []


@app.before_serving
async def start() -> None:
    started.append("started")


@app.get("/")
async def index() -> dict[str, list[str]]:
    return {"seen": started}


@app.post("/upper")
async def upper() -> str:
    return str(await request.get_data(as_text=True)).upper()


@app.get("/stream")
async def stream() -> AsyncIterator[bytes]:
    async def pieces() -> AsyncIterator[bytes]:
        for number in range(3):
            yield b"%d\n" % number

    return pieces()
