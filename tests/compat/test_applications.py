"""What applications do that other servers than uvicorn might not put up with, with uvicorn as the control."""

from __future__ import annotations

import array
import asyncio
import contextlib
import http.client
import mmap
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import uvicorn
from support import PATIENCE, set_once_listening

import fastserve

Ask = Callable[..., http.client.HTTPResponse]
Served = Callable[..., Ask]

HANDSHAKE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
}


def mmapped(data: bytes) -> mmap.mmap:
    found = mmap.mmap(-1, len(data))
    found.write(data)
    return found


@pytest.fixture(params=[uvicorn, fastserve], ids=lambda package: package.__name__)
def served(request: pytest.FixtureRequest) -> Iterator[Served]:
    """Serve an application in a thread; return what asks for "/" with these headers, on a connection of its own."""
    stack = contextlib.ExitStack()

    def serve(app: Any, **options: Any) -> Ask:
        config = request.param.Config(app, **{"port": 0, "lifespan": "off", "log_config": None, **options})
        server = request.param.Server(config)
        listens = threading.Event()
        set_once_listening(server, listens)
        thread = threading.Thread(target=server.run)
        thread.start()
        stack.callback(thread.join, PATIENCE)
        stack.callback(setattr, server, "should_exit", True)
        assert listens.wait(PATIENCE)
        port = server.servers[0].sockets[0].getsockname()[1]

        def ask(headers: dict[str, str] | None = None) -> http.client.HTTPResponse:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
            stack.callback(connection.close)
            connection.request("GET", "/", headers=headers or {})
            response = connection.getresponse()
            stack.callback(response.close)
            return response

        return ask

    with stack:
        yield serve


def test_headers_of_an_upstream(served: Served) -> None:
    """A proxy accepts with what its upstream has accepted with. (uvicorn sends some of these twice.)"""
    upstream = [
        (b"connection", b"Upgrade"),
        (b"upgrade", b"websocket"),
        (b"sec-websocket-protocol", b"a"),
        (b"x", b"1"),
    ]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept", "headers": upstream})
        await receive()

    response = served(app)(HANDSHAKE | {"Sec-WebSocket-Protocol": "a"})
    assert response.status == 101
    assert [response.headers[name] for name in ("upgrade", "sec-websocket-protocol", "x")] == ["websocket", "a", "1"]


def test_close_without_a_code(served: Served) -> None:
    """Consumers pass on the code that they have, or None."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.close", "code": None})

    assert served(app)(HANDSHAKE).fp.read(2) == b"\x88\x00"


@pytest.mark.parametrize("offered", [{}, {"Sec-WebSocket-Protocol": "ocpp2.0, other"}], ids=["nothing", "others"])
def test_subprotocol_that_was_not_offered(served: Served, offered: dict[str, str]) -> None:
    """Ariadne, and servers of charging stations, accept with theirs whatever the client says."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept", "subprotocol": "ocpp1.6"})
        await receive()

    response = served(app)(HANDSHAKE | offered)
    assert response.status == 101
    assert response.headers["sec-websocket-protocol"] == "ocpp1.6"


def test_messages_without_a_limit(served: Served) -> None:
    """Servers of images and sound set ws_max_size=None, which uvicorn passes on to the package websockets."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})
        await receive()
        size = len((await receive())["bytes"])
        await send({"type": "websocket.send", "text": str(size)})
        await receive()

    size = 2**24 + 1  # beyond the default limit
    response = served(app, ws_max_size=None)(HANDSHAKE)
    sock = response.fp.raw._sock  # type: ignore[attr-defined]  # http.client has no name for it
    sock.sendall(b"\x82\xff" + size.to_bytes(8, "big") + bytes(4) + bytes(size))
    assert response.fp.read(2 + len(str(size)))[2:] == str(size).encode()


def test_messages_that_wait_without_a_limit(served: Served) -> None:
    """With ws_max_queue=None a ping behind more messages than the default lets wait is answered before any is taken."""
    answered = threading.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await asyncio.to_thread(answered.wait, PATIENCE)
        taken = "".join([(await receive())["text"] for _ in range(100)])
        await send({"type": "websocket.send", "text": taken})
        await receive()

    response = served(app, ws_max_queue=None)(HANDSHAKE)
    sock = response.fp.raw._sock  # type: ignore[attr-defined]  # http.client has no name for it
    # In one piece: uvicorn reads no more once it has a message that nobody has taken.
    sock.sendall((b"\x81\x81" + bytes(4) + b"x") * 100 + b"\x89\x80" + bytes(4))
    assert response.fp.read(2) == b"\x8a\0"
    answered.set()
    assert response.fp.read(102)[2:] == b"x" * 100


@pytest.mark.parametrize("http", ["auto", "h11"])
@pytest.mark.parametrize("made", [array.array, mmapped, bytearray, memoryview], ids=lambda made: made.__name__)
def test_bodies_with_a_buffer(served: Served, made: Any, http: str) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})
        for piece in (b"one ", b"two "):
            body = made("B", piece) if made is array.array else made(piece)
            await send({"type": "http.response.body", "body": body, "more_body": True})
        await send({"type": "http.response.body"})

    assert served(app, http=http)().read() == b"one two "


@pytest.mark.parametrize("http", ["auto", "h11"])
@pytest.mark.parametrize("nothing", ["", None, 0, False, [], {}], ids=repr)
def test_bodies_that_are_empty(served: Served, nothing: Any, http: str) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": nothing, "more_body": True})
        await send({"type": "http.response.body", "body": b"more"})

    assert served(app, http=http)().read() == b"more"


@pytest.mark.parametrize("made", [array.array, mmapped, bytearray, memoryview], ids=lambda made: made.__name__)
def test_messages_with_a_buffer(served: Served, made: Any) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "bytes": made("B", b"one") if made is array.array else made(b"one")})
        await receive()

    assert served(app)(HANDSHAKE).fp.read(5) == b"\x82\x03one"


@pytest.mark.parametrize("made", [array.array, mmapped, bytearray, memoryview], ids=lambda made: made.__name__)
@pytest.mark.filterwarnings("ignore:.*WSGI")
def test_pieces_of_wsgi_with_a_buffer(served: Served, made: Any) -> None:
    """A generator of Flask's may yield them: werkzeug passes them on."""

    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [("Content-Type", "text/plain")])
        for piece in (b"one ", b"two"):
            yield made("B", piece) if made is array.array else made(piece)

    assert served(app, interface="wsgi")().read() == b"one two"


@pytest.mark.parametrize(
    "options",
    [
        {"port": None},
        {"ssl_version": None, "ssl_cert_reqs": None},
        {"reload_delay": None, "limit_max_requests_jitter": None},
        {"timeout_notify": None, "timeout_worker_healthcheck": None},
        {"ws_max_size": 1e6, "limit_concurrency": 1e3, "limit_max_requests": 1e4},
    ],
    ids=str,
)
def test_values_that_programs_pass_on(served: Served, options: dict[str, Any]) -> None:
    """None for what they were not given, and numbers that they have calculated."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"served"})

    assert served(app, **options)().read() == b"served"
