"""The access log from outside: the same text by both ways, no line lost, no raw control bytes."""

from __future__ import annotations

import io
import logging
import re
import signal
from typing import Any

import pytest
import support

import fastserve
from fastserve.logging import access_log

PATHS = {
    "/plain": "/plain",
    "/a%20b": "/a%20b",
    "/%1b[31m%0a": "/%1B%5B31m%0A",
    "/%C3%A9?q=%C3%A9&x=a%20b": "/%C3%A9?q=%C3%A9&x=a%20b",
    "/?a=b": "/?a=b",
}


async def app(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 404})
    await send({"type": "http.response.body"})


class RecordsOnly(logging.StreamHandler):  # type: ignore[type-arg]  # not generic at run time before 3.11
    """Not the very class of the default handler: the core must make records for it."""


@pytest.fixture(params=["lines", "records"])
def stream(request: pytest.FixtureRequest) -> io.StringIO:
    """Return where access lines go, be they made in the core or by way of log records."""
    fastserve.Config("a:b", use_colors=False)
    logger = logging.getLogger("fastserve.access")
    stream = io.StringIO()
    handler: Any = logging.StreamHandler(stream) if request.param == "lines" else RecordsOnly(stream)
    handler.setFormatter(logger.handlers[0].formatter)
    logger.handlers = [handler]
    return stream


@pytest.mark.parametrize(("path", "logged"), PATHS.items())
def test_line(serve: support.Serve, stream: io.StringIO, path: str, logged: str) -> None:
    server = serve(app)
    server.request(f"GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n".encode())
    server.stop()
    line = rf'INFO:     127\.0\.0\.1:\d+ - "GET {re.escape(logged)} HTTP/1\.1" 404 Not Found\n'
    assert re.fullmatch(line, stream.getvalue())


def test_no_line_is_lost_at_the_end(serve: support.Serve, stream: io.StringIO) -> None:
    server = serve(app)
    with server.connect() as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n" * 50)
        client.sendall(b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
        support.read_all(client)
    server.stop()
    assert stream.getvalue().count("\n") == 51


def test_no_line_is_lost_when_the_process_is_told_to_stop(start: support.StartCommand) -> None:
    server = start("app")
    for number in range(20):
        server.get(f"/{number}")
    assert server.stop(signal.SIGTERM) == -signal.SIGTERM
    assert [line.split()[4] for line in server.stdout] == [f"/{number}" for number in range(20)]


def test_switched_off() -> None:
    assert access_log.access_log(fastserve.Config("a:b", log_config=None, access_log=False)) is None
    assert access_log.access_log(fastserve.Config("a:b", log_config=None)) is not None
