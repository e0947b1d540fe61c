"""The exchanges that are timed and counted without sockets: what arrives, and which application answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bench.load import apps
from bench.load.rows import BROWSER_HEADERS


@dataclass(frozen=True)
class Exchange:
    """One kind of exchange. Each of `reads` arrives in a loop turn of its own; `answers` is how many come back.

    `fresh` gives each exchange a connection of its own, which the server closes; `access_log` writes the plain log;
    `wsgi` is of the application, which is then called in the loop's thread.
    """

    name: str
    app: Callable[..., Any]
    reads: tuple[bytes, ...]
    answers: int = 1
    fresh: bool = False
    access_log: bool = False
    wsgi: bool = False


def head(method: str = "GET", headers: tuple[tuple[str, str], ...] = ()) -> bytes:
    """The bytes of a request head."""
    lines = [f"{method} / HTTP/1.1", "Host: 127.0.0.1:8000", *(f"{name}: {value}" for name, value in headers)]
    return "\r\n".join([*lines, "", ""]).encode()


def _pieces(body: bytes, size: int) -> tuple[bytes, ...]:
    return tuple(body[start : start + size] for start in range(0, len(body), size))


def _sized(length: int) -> bytes:
    return head("POST", (("Content-Length", str(length)),))


GET = head()
BROWSER = head(headers=BROWSER_HEADERS)
_KIB = b"x" * 1024
_BODY = b"x" * 65536
_CHUNKED = head("POST", (("Transfer-Encoding", "chunked"),))

EXCHANGES: tuple[Exchange, ...] = (
    Exchange("hello", apps.hello, (GET,)),
    Exchange("browser", apps.hello, (BROWSER,)),
    Exchange("response-headers", apps.response_headers, (GET,)),
    Exchange("access-log", apps.hello, (GET,), access_log=True),
    Exchange("pipelined", apps.hello, (GET * 16,), answers=16),
    Exchange("new-connection", apps.hello, (head(headers=(("Connection", "close"),)),), fresh=True),
    Exchange("split-head", apps.hello, (BROWSER[:300], BROWSER[300:])),
    Exchange("suspend", apps.suspend, (GET,)),
    Exchange("post-1k", apps.echo, (_sized(1024) + _KIB,)),
    Exchange("post-late", apps.echo, (_sized(1024), _KIB)),
    Exchange("post-64k", apps.echo, (_sized(65536) + _BODY[:16384], *_pieces(_BODY[16384:], 16384))),
    Exchange("post-chunked", apps.echo, (_CHUNKED + b"400\r\n" + _KIB + b"\r\n" + b"0\r\n\r\n",)),
    Exchange("stream", apps.stream, (GET,)),
    Exchange("wsgi", apps.wsgi_hello, (GET,), wsgi=True),
)
BY_NAME: dict[str, Exchange] = {exchange.name: exchange for exchange in EXCHANGES}
