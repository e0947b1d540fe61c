"""An application that runs its event loop within a step of its own, as nest_asyncio allows."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import nest_asyncio2

began = asyncio.Event()
opened = asyncio.Event()
heard: asyncio.Queue[str] = asyncio.Queue()


def wait() -> None:
    """Wait as code does that is not asynchronous, and called by some that is."""
    began.set()
    asyncio.get_running_loop().run_until_complete(opened.wait())


async def listen(receive: Any) -> None:
    """Note what the client does next."""
    try:
        heard.put_nowait((await receive())["type"])
    except Exception as error:
        heard.put_nowait(repr(error))
    opened.set()


def headers(text: str) -> Iterator[tuple[bytes, bytes]]:
    yield b"x-text", text.encode()
    if text == "/listen":
        wait()


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        await receive()
        nest_asyncio2.apply(asyncio.get_running_loop())
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
    elif scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            if message["text"] == "wait":
                wait()
            await send({"type": "websocket.send", "text": message["text"]})
    else:
        if scope["path"] == "/wait":
            wait()
        elif scope["path"] == "/began":
            await began.wait()
        elif scope["path"] == "/open":
            opened.set()
        text = scope["path"]
        if text == "/heard":
            text = await heard.get()
        listener = None
        if text == "/listen":
            await receive()
            listener = asyncio.ensure_future(listen(receive))
            await asyncio.sleep(0)
        await send({"type": "http.response.start", "status": 200, "headers": headers(text)})
        await send({"type": "http.response.body", "body": text.encode()})
        if listener is not None:
            await listener
