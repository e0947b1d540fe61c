from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from core.responses import read_one
from fakes.worker import FakeWorker, get, hello
from ws import upgrade

from fastserve._core.connection import VERSIONS, Connection

Work = Callable[..., FakeWorker]


def test_a_worker_knows_its_connections(work: Work) -> None:
    wire = work(hello())
    peers = [wire.connect() for _ in range(3)]
    assert wire.worker.connections == {peer.connection for peer in peers}
    peers[0].lose()
    assert len(wire.worker.connections) == 2


def test_it_needs_a_worker() -> None:
    with pytest.raises(TypeError):
        Connection(None)  # type: ignore[arg-type]


def test_abort(work: Work) -> None:
    wire = work(hello())
    peer = wire.connect()
    wire.call(peer.connection.abort)
    assert peer.transport.calls == ["abort"]


def test_an_error_of_the_server_ends_one_connection(work: Work) -> None:
    wire = work(hello())
    bad, good = wire.connect(sockname=("h", "no port")), wire.connect()
    assert bad.feed(get()) == b""
    assert bad.transport.calls == ["abort"]
    assert wire.messages == ["Exception in connection"]
    wire.errors.clear()
    assert read_one(good.feed(get())).status == 200


def test_data_behind_the_end(work: Work) -> None:
    wire = work(hello())
    peer = wire.connect()
    peer.feed(get("/", "Connection: close"))
    wire.call(peer.connection.data_received, get())
    assert peer.take() == b""
    assert wire.worker.total_requests == 1


@pytest.mark.parametrize(
    "name", ["data_received", "eof_received", "pause_writing", "resume_writing", "connection_lost"]
)
def test_it_is_a_protocol_of_asyncio(name: str) -> None:
    assert callable(getattr(Connection, name))
    assert callable(getattr(asyncio.Protocol, name))


@pytest.mark.parametrize(
    ("peername", "client"),
    [
        (("1.2.3.4", 5), ("1.2.3.4", 5)),
        (("::1", 5, 0, 0), ("::1", 5)),
        (("::ffff:1.2.3.4", 5, 0, 0), ("1.2.3.4", 5)),
        (("::ffff:0:1", 5, 0, 0), ("::ffff:0:1", 5)),
        ("", None),
        (None, None),
    ],
)
def test_addresses(work: Work, peername: Any, client: Any) -> None:
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["client"])
        await hello()(scope, receive, send)

    work(app).connect(peername=peername).feed(get())
    assert seen == [client]


def test_scheme(work: Work) -> None:
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["scheme"])
        await hello()(scope, receive, send)

    wire = work(app)
    wire.connect().feed(get())
    wire.connect(sslcontext=object()).feed(get())
    assert seen == ["http", "https"]


class Successor(asyncio.Protocol):
    """Who a connection is left to; keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.told.append("connection_made")

    def pause_writing(self) -> None:
        self.told.append("pause_writing")

    def resume_writing(self) -> None:
        self.told.append("resume_writing")

    def data_received(self, data: bytes) -> None:
        self.told.append("data_received")
        self.received += data


@pytest.mark.parametrize(("queued", "paused"), [(60_000, False), (600_000, True)])
def test_who_gets_a_connection_knows_whether_it_is_paused(work: Work, queued: int, paused: bool) -> None:
    """The transport may ask for more in the very calls that hand it over: its limits are other ones from then on."""
    successor = Successor()
    wire = work(hello(bytes(10_000)), ws_protocol=lambda: successor)
    peer = wire.connect(sslcontext=object())
    peer.transport.stuck = True
    peer.transport.queue = queued
    peer.put(get() + upgrade())
    wire.settle()
    assert successor.told == ["connection_made", *["pause_writing"] * paused, "data_received"]
    assert peer.transport.writing_paused is paused
    assert peer.take().count(b"\0") == 10_000
    wire.call(peer.connection.connection_lost, None)


def test_a_connection_is_left_once_its_client_has_read(work: Work) -> None:
    successor = Successor()
    wire = work(hello(bytes(100_000)), ws_protocol=lambda: successor)
    peer = wire.connect(sslcontext=object())
    peer.transport.stuck = True
    peer.put(get() + upgrade())
    wire.settle()
    assert successor.told == []
    peer.transport.unstick()
    wire.settle()
    assert successor.told == ["connection_made", "data_received"]
    assert peer.take().count(b"\0") == 100_000
    wire.call(peer.connection.connection_lost, None)


@pytest.mark.parametrize(
    ("target", "line"),
    [("http://a:8/b?c", b"GET /b?c"), ("http://a:8", b"GET /"), ("http://a:8?c", b"GET /?c")],
)
def test_who_gets_a_connection_gets_the_origin_form(work: Work, target: str, line: bytes) -> None:
    """Most know no other, and Host says what else the target did (RFC 9112 section 3.2.2)."""
    successor = Successor()
    wire = work(hello(), ws_protocol=lambda: successor)
    peer = wire.connect()
    peer.feed(upgrade(target) + b"more")
    head, _, rest = successor.received.partition(b"\r\n\r\n")
    assert head.startswith(line + b" HTTP/1.1\r\nhost: a:8\r\n")
    assert head.count(b"\r\n") == upgrade().count(b"\r\n") - 2
    assert rest == b"more"
    wire.call(peer.connection.connection_lost, None)


@pytest.mark.tree
def test_the_first_bytes_choose_the_version_of_http(work: Work, other_version: Any) -> None:
    """A preface may come in pieces; what is not one is HTTP/1.1."""
    wire = work(hello(), versions=(other_version, *VERSIONS))
    pieces = wire.connect()
    assert pieces.feed(b"OTH") == b""
    assert pieces.feed(b"ER GET / 0\n") == b"S200\nB5\nhelloE\n"
    options = wire.connect()
    assert options.feed(b"O") == b""
    assert read_one(options.feed(get(method="OPTIONS")[1:])).status == 200
    assert read_one(wire.connect().feed(get())).status == 200


@pytest.mark.tree
@pytest.mark.parametrize(("name", "answer"), [("other", b"S200"), ("http/1.1", b"HTTP"), (None, b"HTTP")])
def test_tls_chooses_the_version_of_http(work: Work, other_version: Any, name: str | None, answer: bytes) -> None:
    wire = work(hello(), versions=(other_version, *VERSIONS))
    encrypted = SimpleNamespace(selected_alpn_protocol=lambda: name, version=lambda: None, cipher=lambda: None)
    peer = wire.connect(sslcontext=object(), ssl_object=encrypted)
    request = b"OTHER GET / 0\n" if name == "other" else get()
    assert peer.feed(request).startswith(answer)


@pytest.mark.tree
@pytest.mark.parametrize("end", ["lose", "eof", "drain", "silence"])
def test_a_client_that_says_too_little_to_choose(work: Work, other_version: Any, end: str) -> None:
    wire = work(hello(), versions=(other_version, *VERSIONS), timeout_request_head=5)
    peer = wire.connect()
    peer.feed(b"OT")
    if end == "drain":
        wire.call(wire.worker.drain)
    elif end == "silence":
        wire.advance(4)
        assert not peer.transport.closed
        wire.advance(2)
        assert read_one(peer.take()).status == 408
        wire.advance(30)
    else:
        getattr(peer, end)()
    assert peer.transport.lost
