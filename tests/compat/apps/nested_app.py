"""An application that runs its event loop within a step of its own, as nest_asyncio allows."""

from __future__ import annotations

import asyncio
from typing import Any

import nest_asyncio2

began = asyncio.Event()
opened = asyncio.Event()


def wait() -> None:
    """Wait as code does that is not asynchronous, and called by some that is."""
    began.set()
    asyncio.get_running_loop().run_until_complete(opened.wait())


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
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": scope["path"].encode()})
