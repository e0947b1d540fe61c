"""The rows: what is asked, of which application, over how many connections, and what the response must be.

A row with `kind` "cpu" is put under load: by wrk, with `echo` by wsload, with `streams` by h2load. The other kinds are
measured without load (see measure.py).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal

from bench.load import apps, files

Kind = Literal["cpu", "idle", "unread", "start"]


@dataclass(frozen=True)
class Request:
    """One request as the load generator sends it, `host` left to that; `body` is a number of bytes."""

    method: str = "GET"
    path: str = "/"
    headers: tuple[tuple[str, str], ...] = ()
    body: int = 0


@dataclass(frozen=True)
class Answer:
    """What the response must be: status 200, this body, at least this many headers."""

    body: bytes = b""
    headers: int = 0


@dataclass(frozen=True)
class Echo:
    """WebSocket messages that come back as they are: bytes of payload, text or binary, permessage-deflate or not."""

    size: int
    text: bool = False
    deflate: bool = False


@dataclass(frozen=True)
class Floor:
    """What the bare protocol does: write `answer` for each read, or for each `body` bytes after a head.

    With `file` it sends that one of `files.FILES` after `answer`. For a row with `echo` it answers the handshake and
    then sends the row's echoes without looking at what comes.
    """

    answer: bytes = b""
    body: int = 0
    close: bool = False
    file: str = ""


@dataclass(frozen=True)
class Row:
    """One workload. `goal` is the figure fastserve must reach as a share of uvicorn's in the same run.

    `goals` are more of such shares, by server, and `most` is the figure itself. With `least` it must be below all the
    others'.
    """

    name: str
    title: str
    app: str
    answer: Answer = field(default_factory=Answer)
    request: Request = field(default_factory=Request)
    echo: Echo | None = None
    connections: int = 64
    pipeline: int = 1
    streams: int = 0  # HTTP/2, with this many requests at a time on a connection; 0 for HTTP/1.1
    over_http1: bool = False  # a row of HTTP/2 as it is asked of a server for comparison
    access_log: bool = False
    json_log: bool = False  # of the servers that have such a format; the others write their own
    floor: Floor | None = None
    goal: float | None = None
    goals: tuple[tuple[str, float], ...] = ()
    most: float | None = None
    least: bool = False
    kind: Kind = "cpu"
    wsgi: bool = False  # of the application; servers without a WSGI interface are left out
    tls: bool = False
    alone: bool = False  # its application, a framework's, can be measured without a server as well
    static: bool = False  # a file that the server serves without the application; others are left out

    @property
    def noun(self) -> str:
        """What is counted: requests or messages."""
        return "message" if self.echo else "request"

    @property
    def unit(self) -> str:
        units: dict[Kind, str] = {"cpu": f"us/{self.noun}", "idle": "KB/connection", "unread": "KB", "start": "ms"}
        return units[self.kind]

    @property
    def load(self) -> str:
        """How many connections there are, and streams on each."""
        if self.streams > 1:
            return f"{self.connections} x {self.streams} streams"
        return f"{self.connections} connection{'s' * (self.connections != 1)}"

    def on_http1(self) -> Row:
        """Return the same requests, as many at a time, over HTTP/1.1, each of them on a connection of its own."""
        return replace(self, connections=self.connections * self.streams, streams=1, over_http1=True)


def _fixed(body: bytes, *, headers: bytes = b"") -> bytes:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\n%s\r\n"
    return head % (len(body), headers) + body


def _chunked(piece: bytes, pieces: int) -> bytes:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n"
    return head + (b"%x\r\n%s\r\n" % (len(piece), piece)) * pieces + b"0\r\n\r\n"


# With wrk's own host field these are 18, in the order and the size in which a browser sends them.
BROWSER_HEADERS = (
    ("Connection", "keep-alive"),
    ("Cache-Control", "max-age=0"),
    ("sec-ch-ua", '"Chromium";v="140", "Not=A?Brand";v="24", "Browser";v="140"'),
    ("sec-ch-ua-mobile", "?0"),
    ("sec-ch-ua-platform", '"Linux"'),
    ("DNT", "1"),
    ("Upgrade-Insecure-Requests", "1"),
    ("User-Agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36"),
    ("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8"),
    ("Sec-Fetch-Site", "same-origin"),
    ("Sec-Fetch-Mode", "navigate"),
    ("Sec-Fetch-User", "?1"),
    ("Sec-Fetch-Dest", "document"),
    ("Referer", "http://127.0.0.1/shop/items?page=2&sort=price"),
    ("Accept-Encoding", "gzip, deflate, br, zstd"),
    ("Accept-Language", "en-GB,en;q=0.9,de;q=0.8"),
    ("Cookie", "session=2f9c1e7ab04d4f0c9e3bb2b7a5d0c6e1; theme=dark; consent=necessary; visits=17"),
)

_APPS = "bench.load.apps"
_TEXT = Answer(apps.HELLO)
_JSON = Answer(b'{"message":"Hello, World!"}')
_HELLO = _fixed(apps.HELLO)
_FLOOR = Floor(_HELLO)
_KIB, _MIB = 1024, 1024 * 1024
_WS = f"{_APPS}:websocket"
_CHAT, _CHAT_DEFLATE = Echo(128, text=True), Echo(128, text=True, deflate=True)
_PAGE_DEFLATE = Echo(2 * _KIB, text=True, deflate=True)
_STARLETTE = "bench.load.starlette_app:app"
_FASTAPI = "bench.load.fastapi_app:app"


def _post(size: int) -> Request:
    return Request("POST", headers=(("Content-Type", "application/octet-stream"),), body=size)


def _echoed(size: int) -> tuple[Answer, Floor]:
    body = b"x" * size
    return Answer(body), Floor(_fixed(body), body=size)


_ECHO_1K, _FLOOR_1K = _echoed(_KIB)
_ECHO_64K, _FLOOR_64K = _echoed(64 * _KIB)
_COUNT_10M = b"%d" % (10 * _MIB)
_EXTRA = b"".join(b"%s: %s\r\n" % header for header in apps.EXTRA_HEADERS)

ALONE = "alone"  # what calls the application without any server
OVER_HTTP1 = "fastserve-http1"  # the server that is asked for rows of HTTP/2 over HTTP/1.1


def _h2(name: str, title: str, app: str, connections: int, streams: int, answer: Answer = _TEXT, **others: Any) -> Row:
    app = app if ":" in app else f"{_APPS}:{app}"
    row = Row(name, f"HTTP/2: {title}", app, answer, connections=connections, streams=streams, least=True)
    return replace(row, **others)


def _static(name: str, title: str, file: str, share: float) -> Row:
    goals = (("granian", share), ("peregrine", share))
    answer, request = Answer(files.FILES[file]), Request(path=f"/static/{file}")
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n"
    floor = Floor(head % len(files.FILES[file]), file=file)
    return Row(name, title, f"{_APPS}:hello", answer, request, floor=floor, goals=goals, static=True)


def _upload(share: float) -> dict[str, Any]:
    return {"answer": Answer(_COUNT_10M), "request": _post(10 * _MIB), "goals": ((OVER_HTTP1, share),)}


ROWS: tuple[Row, ...] = (
    Row("hello", "Hello, World (plain ASGI)", f"{_APPS}:hello", _TEXT, floor=_FLOOR, goal=8.0 / 26.0),
    Row("hello-1", "Hello, 1 connection", f"{_APPS}:hello", _TEXT, connections=1, floor=_FLOOR, goal=28 / 61),
    Row("hello-8", "Hello, 8 connections", f"{_APPS}:hello", _TEXT, connections=8, floor=_FLOOR),
    Row("hello-512", "Hello, 512 connections", f"{_APPS}:hello", _TEXT, connections=512, floor=_FLOOR, goal=10 / 40.6),
    Row("hello-access", "Hello, access log on", f"{_APPS}:hello", _TEXT, access_log=True, goal=9.5 / 59.8),
    Row(
        "hello-json-log", "Hello, access log in JSON", f"{_APPS}:hello", _TEXT, access_log=True, json_log=True, goal=0.2
    ),
    Row(
        "browser",
        "Hello, 18 request headers, as a browser's",
        f"{_APPS}:hello",
        _TEXT,
        Request(headers=BROWSER_HEADERS),
        floor=_FLOOR,
        goal=11 / 33.9,
    ),
    Row(
        "pipelined",
        "Hello, 16 pipelined requests a packet",
        f"{_APPS}:hello",
        _TEXT,
        pipeline=16,
        floor=Floor(_HELLO * 16),
        goal=3.5 / 29.9,
    ),
    Row(
        "new-connection",
        "Hello, a new connection each",
        f"{_APPS}:hello",
        _TEXT,
        Request(headers=(("Connection", "close"),)),
        floor=Floor(_fixed(apps.HELLO, headers=b"connection: close\r\n"), close=True),
        goal=36 / 97.7,
    ),
    Row("post-1k", "POST 1 KiB, echoed", f"{_APPS}:echo", _ECHO_1K, _post(_KIB), floor=_FLOOR_1K, goal=11 / 30.2),
    Row(
        "post-64k", "POST 64 KiB, echoed", f"{_APPS}:echo", _ECHO_64K, _post(64 * _KIB), floor=_FLOOR_64K, goal=38 / 93
    ),
    # Few connections: what is under way when wrk stops is CPU spent on requests that are not counted.
    Row(
        "post-10m",
        "POST 10 MiB, counted",
        f"{_APPS}:count",
        Answer(_COUNT_10M),
        _post(10 * _MIB),
        connections=8,
        floor=Floor(_fixed(_COUNT_10M), body=10 * _MIB),
        goal=2000 / 9077,
    ),
    Row(
        "stream",
        "Streamed response, 100 x 1 KiB",
        f"{_APPS}:stream",
        Answer(apps.PIECE * apps.PIECES),
        floor=Floor(_chunked(apps.PIECE, apps.PIECES)),
        goal=90 / 826,
    ),
    Row(
        "big",
        "1 MiB response",
        f"{_APPS}:big",
        Answer(apps.MEGABYTE),
        floor=Floor(_fixed(apps.MEGABYTE)),
        goal=205 / 203,
    ),
    Row(
        "response-headers",
        "Hello, 20 response headers",
        f"{_APPS}:response_headers",
        Answer(apps.HELLO, headers=20),
        floor=Floor(_fixed(apps.HELLO, headers=_EXTRA)),
        goal=12 / 38.6,
    ),
    Row("suspend", "Hello, after asyncio.sleep(0)", f"{_APPS}:suspend", _TEXT, goal=12 / 26.9),
    Row("tls", "Hello, over TLS", f"{_APPS}:hello", _TEXT, floor=_FLOOR, goal=14 / 32.1, tls=True),
    Row("starlette", "Starlette, plain text", _STARLETTE, _TEXT, goal=16.5 / 35.6, alone=True),
    Row("file", "Starlette FileResponse, 1 MiB", _STARLETTE, Answer(apps.MEGABYTE), Request(path="/file"), goal=1.0),
    _static("static-10k", "Static file, 10 KiB", "10k.bin", 0.8),
    _static("static-1m", "Static file, 1 MiB", "1m.bin", 0.8),
    Row("fastapi", "FastAPI, JSON", _FASTAPI, _JSON, goals=((ALONE, 1.15), ("uvicorn", 53 / 94.6)), alone=True),
    Row("fastapi-access", "FastAPI, JSON, access log on", _FASTAPI, _JSON, access_log=True, goal=55 / 146),
    Row("fastapi-512", "FastAPI, JSON, 512 connections", _FASTAPI, _JSON, connections=512, goal=57 / 127),
    Row(
        "fastapi-def",
        "FastAPI, JSON from a thread-pool endpoint",
        _FASTAPI,
        _JSON,
        Request(path="/def"),
        goal=130 / 178,
    ),
    Row("wsgi", "Hello, World (plain WSGI)", f"{_APPS}:wsgi_hello", _TEXT, goal=28 / 80.6, wsgi=True),
    Row(
        "wsgi-1",
        "WSGI hello, 1 connection",
        f"{_APPS}:wsgi_hello",
        _TEXT,
        connections=1,
        wsgi=True,
    ),
    Row(
        "wsgi-post",
        "WSGI POST 1 KiB, echoed",
        f"{_APPS}:wsgi_echo",
        _ECHO_1K,
        _post(_KIB),
        wsgi=True,
    ),
    Row("flask", "Flask, plain text (WSGI)", "bench.load.flask_app:app", _TEXT, wsgi=True, alone=True),
    Row(
        "idle",
        "Memory of an idle connection",
        f"{_APPS}:hello",
        _TEXT,
        connections=2000,
        floor=_FLOOR,
        goal=2.5 / 7.7,
        kind="idle",
    ),
    Row(
        "idle-tls",
        "Memory of an idle connection over TLS",
        f"{_APPS}:hello",
        _TEXT,
        connections=500,
        floor=_FLOOR,
        least=True,
        kind="idle",
        tls=True,
    ),
    Row("ws-128", "WebSocket echo, 128 B of text", _WS, echo=_CHAT, floor=Floor(), goal=0.50),
    Row("ws-16k", "WebSocket echo, 16 KiB", _WS, echo=Echo(16 * _KIB), floor=Floor(), goal=0.60),
    Row("ws-1m", "WebSocket echo, 1 MiB", _WS, echo=Echo(_MIB), floor=Floor(), goal=0.65),
    Row("ws-128-deflate", "WebSocket echo, 128 B of text, compressed", _WS, echo=_CHAT_DEFLATE, least=True),
    Row("ws-2k-deflate", "WebSocket echo, 2 KiB of text, compressed", _WS, echo=_PAGE_DEFLATE, least=True),
    Row(
        "ws-idle",
        "Memory of an idle WebSocket connection",
        _WS,
        echo=_CHAT,
        connections=5000,
        least=True,
        kind="idle",
    ),
    Row(
        "ws-idle-deflate",
        "Memory of an idle WebSocket connection, compressed",
        _WS,
        echo=_CHAT_DEFLATE,
        connections=5000,
        least=True,
        kind="idle",
    ),
    _h2("h2-hello", "hello, 8 x 16 streams", "hello", 8, 16, goals=(("granian", 0.31),)),
    _h2("h2-64x1", "hello, 64 connections", "hello", 64, 1, goals=(("granian", 0.45),)),
    _h2("h2-1x100", "hello, 1 x 100 streams", "hello", 1, 100, goals=(("granian", 0.29),)),
    _h2(
        "h2-browser",
        "hello, a browser's headers, 8 x 16 streams",
        "hello",
        8,
        16,
        request=Request(headers=BROWSER_HEADERS),
        goals=(("granian", 0.27),),
    ),
    _h2(
        "h2-post-1k",
        "POST 1 KiB, echoed, 8 x 16 streams",
        "echo",
        8,
        16,
        _ECHO_1K,
        request=_post(_KIB),
        goals=(("granian", 0.19), ("h2corn", 0.28)),
    ),
    _h2("h2-post-10m", "POST 10 MiB, counted, 4 x 2 streams", "count", 4, 2, **_upload(1.15)),
    _h2("h2-post-10m-1x1", "POST 10 MiB, counted, 1 connection", "count", 1, 1, **_upload(1.25)),
    _h2("h2-post-10m-tls", "POST 10 MiB, counted, over TLS, 4 x 2 streams", "count", 4, 2, tls=True, **_upload(1.15)),
    _h2(
        "h2-stream",
        "streamed response, 100 x 1 KiB, 8 x 4 streams",
        "stream",
        8,
        4,
        Answer(apps.PIECE * apps.PIECES),
        goals=(("granian", 0.17), ("h2corn", 0.5)),
    ),
    _h2("h2-big", "1 MiB response, 4 x 4 streams", "big", 4, 4, Answer(apps.MEGABYTE), goals=(("granian", 0.7),)),
    _h2("h2-fastapi", "FastAPI, JSON, 8 x 16 streams", _FASTAPI, 8, 16, _JSON, goals=((OVER_HTTP1, 1.0),)),
    _h2("h2-tls", "hello, over TLS, 8 x 16 streams", "hello", 8, 16, tls=True, goals=(("granian", 0.35),)),
    _h2("h2-tls-64x1", "hello, over TLS, 64 connections", "hello", 64, 1, tls=True, goals=(("granian", 0.7),)),
    _h2(
        "h2-idle",
        "memory of an idle connection, after a browser's request",
        "hello",
        2000,
        1,
        request=Request(headers=BROWSER_HEADERS),
        most=8,
        kind="idle",
    ),
    _h2(
        "h2-unread",
        "memory for 300 responses of 1 MiB that a client does not take",
        "fresh",
        1,
        300,
        Answer(apps.MEGABYTE),
        most=4096,
        kind="unread",
    ),
    Row("start", "Start to first answer", f"{_APPS}:hello", _TEXT, connections=1, goal=80 / 130, kind="start"),
)
BY_NAME: dict[str, Row] = {row.name: row for row in ROWS}
