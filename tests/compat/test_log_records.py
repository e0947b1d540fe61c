"""Where log records say that they come from, with uvicorn as the control.

Formats with %(module)s, rich's handler and what passes records on to loguru show that: it must not be the application's
line that happens to be running.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from pathlib import Path
from typing import Any

import pytest
import uvicorn
import websockets
from support import PATIENCE, set_once_listening

import fastserve

PACKAGES: list[Any] = [uvicorn, fastserve]
HANDSHAKE = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n"
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
REQUESTS = {
    '"GET /': "GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n",
    "Exception in ASGI application": "GET /fails HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n",
    "[accepted]": f"GET /chat HTTP/1.1\r\nHost: test\r\n{HANDSHAKE % KEY}\r\n",
    "Invalid HTTP request received.": "FAIL\r\n\r\n",
}


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.close"})
        return
    if scope["path"] == "/fails":
        raise RuntimeError("as it should")
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})


class Callers(logging.Handler):
    """Notes each message, with the file that its record names and that of the frame which called logging."""

    def __init__(self) -> None:
        super().__init__()
        self.files: dict[str, set[str]] = {}

    def emit(self, record: logging.LogRecord) -> None:
        frame: Any = sys._getframe()
        while frame.f_code.co_filename in (__file__, logging.__file__):
            frame = frame.f_back
        self.files[record.getMessage()] = {record.pathname, frame.f_code.co_filename}


async def serve_requests(package: Any, more: dict[str, Any]) -> None:
    server = package.Server(package.Config(app, port=0, log_config=None, lifespan="off", **more))
    listens = asyncio.Event()
    set_once_listening(server, listens)
    task = asyncio.ensure_future(server.serve())
    await asyncio.wait_for(listens.wait(), PATIENCE)
    port = server.servers[0].sockets[0].getsockname()[1]
    for request in REQUESTS.values():
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request.encode())
        await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE)
        writer.close()
    server.should_exit = True
    await asyncio.wait_for(task, PATIENCE)


@pytest.mark.parametrize("http", ["auto", "h11"])
@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_records_come_from_the_server(package: Any, http: str) -> None:
    handler = Callers()
    loggers = [logging.getLogger(f"{package.__name__}.{name}") for name in ("access", "error")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
    try:
        asyncio.run(serve_requests(package, {"http": http}))
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.removeHandler(handler)
            logger.setLevel(level)
    places = tuple(str(Path(str(module.__file__)).parent) for module in (package, websockets))
    for message, files in handler.files.items():
        assert all(file.startswith(places) for file in files), (message, files)
    for wanted in REQUESTS:
        assert any(wanted in message for message in handler.files), (wanted, list(handler.files))
