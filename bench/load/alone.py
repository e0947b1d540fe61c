"""An application alone, called without a server: what no server can be below.

`python -m bench.load.alone ROW SECONDS` prints [calls, seconds]: CPU time of calls one after the other. What
a server makes for a call, the scope or environ, receive() and send() or start_response(), is made before and not timed.
"""

from __future__ import annotations

import io
import json
import sys
import time
from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Any

import uvloop

from bench.load.rows import BY_NAME, Row

_MADE = 64  # calls that things are made for at a time
_WARM = 30  # times that many calls before any is timed

Fields = dict[str, Any]


class Wrong(Exception):
    """The application's response is not the row's."""


def scope_of(row: Row) -> Fields:
    """Return the scope of a request of this row, as fastserve makes it."""
    headers = [("Host", "127.0.0.1:8000"), *row.request.headers]
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": row.request.method,
        "scheme": "http",
        "path": row.request.path,
        "raw_path": row.request.path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers],
        "client": ("127.0.0.1", 50000),
        "server": ("127.0.0.1", 8000),
        "state": {},
        "extensions": {},
    }


def environ_of(row: Row) -> Fields:
    """Return the environ of a request of this row."""
    return {
        "REQUEST_METHOD": row.request.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": row.request.path,
        "QUERY_STRING": "",
        "REMOTE_ADDR": "127.0.0.1",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "8000",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": "127.0.0.1:8000",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": False,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }


async def receive() -> Fields:
    return {"type": "http.request", "body": b"", "more_body": False}


async def drop(message: Fields) -> None: ...


async def time_asgi(app: Callable[..., Any], row: Row, seconds: float) -> tuple[int, float]:
    """Return the number of calls that took this much CPU time or a little more, and their time. Raises Wrong."""
    sent: list[Fields] = []

    async def keep(message: Fields) -> None:
        sent.append(message)

    await app(scope_of(row), receive, keep)
    check(row, sent[0]["status"], b"".join(message["body"] for message in sent[1:]))
    calls, used, warm = 0, 0.0, _WARM
    while used < seconds:
        scopes = [scope_of(row) for _ in range(_MADE)]
        begin = time.process_time()
        for scope in scopes:
            await app(scope, receive, drop)
        if warm:
            warm -= 1
            continue
        used += time.process_time() - begin
        calls += _MADE
    return calls, used


def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Callable[[bytes], object]:
    return len


def time_wsgi(app: Callable[..., Iterable[bytes]], row: Row, seconds: float) -> tuple[int, float]:
    """Do the same with a WSGI application. Raises Wrong."""
    statuses: list[str] = []

    def keep(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Callable[[bytes], object]:
        statuses.append(status)
        return len

    def call(environ: Fields, start_response: Callable[..., Any]) -> bytes:
        pieces = app(environ, start_response)
        try:
            return b"".join(pieces)
        finally:
            close = getattr(pieces, "close", None)
            if close is not None:
                close()

    body = call(environ_of(row), keep)
    check(row, int(statuses[0][:3]), body)
    calls, used, warm = 0, 0.0, _WARM
    while used < seconds:
        environs = [environ_of(row) for _ in range(_MADE)]
        begin = time.process_time()
        for environ in environs:
            call(environ, start_response)
        if warm:
            warm -= 1
            continue
        used += time.process_time() - begin
        calls += _MADE
    return calls, used


def check(row: Row, status: int, body: bytes) -> None:
    if status != 200 or body != row.answer.body:
        raise Wrong(f"wrong response: {status}, {body[:100]!r}")


def measure(row: Row, seconds: float) -> tuple[int, float]:
    """Return the number of calls of the row's application, and their CPU time. Raises Wrong."""
    module, _, name = row.app.partition(":")
    app = getattr(import_module(module), name)
    return time_wsgi(app, row, seconds) if row.wsgi else uvloop.run(time_asgi(app, row, seconds))


if __name__ == "__main__":
    try:
        print(json.dumps(measure(BY_NAME[sys.argv[1]], float(sys.argv[2]))))
    except Wrong as error:
        sys.exit(str(error))
