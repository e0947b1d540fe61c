"""More requests than an application can work on: --limit-requests, --queue, --queue-timeout, seen from outside."""

from __future__ import annotations

import asyncio
import http.client
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import support
from fakes.worker import TIME, FakeWorker, get
from load import until
from support import Serve
from ws import upgrade

GET = b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n"
HTTP = ["auto", "h11"]


class Desk:
    """An application that works on a request until the test lets it end, or for `seconds`."""

    def __init__(self, seconds: float | None = None) -> None:
        self.seconds = seconds
        self.calls: list[str] = []
        self.working = self.most = 0
        self.gate = threading.Semaphore(0)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.calls.append(scope["path"])
        self.working += 1
        self.most = max(self.most, self.working)
        if self.seconds is None:
            await asyncio.get_running_loop().run_in_executor(None, self.gate.acquire)
        else:
            await asyncio.sleep(self.seconds)
        self.working -= 1
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": scope["path"].encode()})

    def end(self, count: int = 1) -> None:
        self.gate.release(count)


@pytest.fixture
def desk() -> Iterator[Desk]:
    made = Desk()
    yield made
    made.end(1000)


def ask(server: support.Running, path: str) -> http.client.HTTPConnection:
    """Ask on a connection of its own, whose response is for the caller to read."""
    connection = http.client.HTTPConnection(server.host, server.port, timeout=support.PATIENCE)
    connection.request("GET", path)
    return connection


def answer(connection: http.client.HTTPConnection) -> tuple[int, bytes, str | None]:
    response = connection.getresponse()
    return response.status, response.read(), response.headers["Retry-After"]


def waiting(server: support.Running) -> int:
    worker = server.server.server_state.worker
    assert worker is not None
    return worker.admission.length


@pytest.mark.parametrize("implementation", HTTP)
def test_limit_requests(serve: Serve, implementation: str) -> None:
    """A burst is served in full, and never more of it at a time than the application can work on."""
    desk = Desk(seconds=0.01)
    server = serve(desk, http=implementation, limit_requests=5, queue_timeout=60)
    idle = [server.connect() for _ in range(10)]  # which take nobody's place
    for client in idle:
        client.sendall(GET % b"/idle")
        assert support.read_until(client).startswith(b"HTTP/1.1 200 ")
    asked = [(f"/{number}", ask(server, f"/{number}")) for number in range(60)]
    for path, connection in asked:
        assert answer(connection) == (200, path.encode(), None)
        connection.close()
    assert desk.most <= 5
    assert sorted(desk.calls[10:]) == sorted(path for path, _ in asked)


@pytest.mark.parametrize("implementation", HTTP)
def test_queue(serve: Serve, desk: Desk, implementation: str) -> None:
    """It is first in, first out; what finds it full gets a 503 on a connection that goes on."""
    server = serve(desk, http=implementation, limit_requests=1, queue=2, queue_timeout=60, health="/healthz")
    served = []
    for number in range(3):
        served.append(ask(server, f"/{number}"))
        until(lambda: len(desk.calls) + waiting(server) == len(served), "the request has come")
    refused = ask(server, "/refused")
    assert answer(refused) == (503, b"Service Unavailable", "1")
    refused.request("GET", "/healthz")
    assert answer(refused) == (200, b"ok", None)
    for number, connection in enumerate(served):
        desk.end()
        assert answer(connection) == (200, f"/{number}".encode(), None)
    refused.request("GET", "/again")
    desk.end()
    assert answer(refused)[:2] == (200, b"/again")
    assert desk.calls == ["/0", "/1", "/2", "/again"]
    for connection in (*served, refused):
        connection.close()


@pytest.mark.parametrize("implementation", HTTP)
def test_queue_timeout(serve: Serve, desk: Desk, implementation: str) -> None:
    server = serve(desk, http=implementation, limit_requests=1, queue_timeout=0.05)
    first = ask(server, "/first")
    until(lambda: desk.calls == ["/first"], "the application is called")
    late = ask(server, "/late")
    assert answer(late) == (503, b"Service Unavailable", "1")
    desk.end()
    assert answer(first)[0] == 200
    late.request("GET", "/again")
    desk.end()
    assert answer(late)[:2] == (200, b"/again")
    assert desk.calls == ["/first", "/again"]
    first.close()
    late.close()


@pytest.mark.parametrize("body", [b"", b"Content-Length: 5\r\n\r\n12"], ids=["head", "body"])
@pytest.mark.parametrize("implementation", HTTP)
def test_client_that_leaves(serve: Serve, desk: Desk, implementation: str, body: bytes) -> None:
    """Its application is not called, not even where its body was not read to the end."""
    server = serve(desk, http=implementation, limit_requests=1, queue_timeout=60)
    first = ask(server, "/first")
    until(lambda: desk.calls == ["/first"], "the application is called")
    leaving = server.connect()
    leaving.sendall((GET % b"/left").removesuffix(b"\r\n") + (body or b"\r\n"))
    until(lambda: waiting(server) == 1, "it waits")
    staying = ask(server, "/staying")
    until(lambda: waiting(server) == 2, "the next waits")
    leaving.close()
    if not body:
        until(lambda: waiting(server) == 1, "the client is found to have left")
    desk.end(2)
    assert answer(first)[0] == answer(staying)[0] == 200
    assert desk.calls == ["/first", "/staying"]
    first.close()
    staying.close()


def test_wsgi(serve: Serve) -> None:
    """Calls in threads are calls of an application."""
    gate, lock = threading.Semaphore(0), threading.Lock()
    working, most = 0, 0

    def app(environ: Any, start_response: Any) -> list[bytes]:
        nonlocal working, most
        with lock:
            working += 1
            most = max(most, working)
        gate.acquire()
        with lock:
            working -= 1
        start_response("200 OK", [])
        return [b"ok"]

    server = serve(app, interface="wsgi", wsgi_threads=8, limit_requests=2, queue_timeout=60)
    asked = [ask(server, "/") for _ in range(6)]
    until(lambda: working == 2 and waiting(server) == 4, "two are called and four wait")
    gate.release(6)
    for connection in asked:
        assert answer(connection) == (200, b"ok", None)
        connection.close()
    assert most == 2


class Pool:
    """An application that needs one of ten connections for 50 ms of a clock that the test moves."""

    SIZE, TICKS = 10, 10

    def __init__(self) -> None:
        self.now = 0
        self.free = self.SIZE
        self.waiting: list[asyncio.Future[None]] = []
        self.working: list[tuple[int, asyncio.Future[None]]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        loop = asyncio.get_running_loop()
        if not self.free:
            turn: asyncio.Future[None] = loop.create_future()
            self.waiting.append(turn)
            await turn
        self.free -= 1
        done: asyncio.Future[None] = loop.create_future()
        self.working.append((self.now + self.TICKS, done))
        await done
        self.free += 1
        if self.waiting:
            self.waiting.pop(0).set_result(None)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})

    def tick(self) -> None:
        self.now += 1
        due = [each for each in self.working if each[0] <= self.now]
        self.working = [each for each in self.working if each[0] > self.now]
        for _, done in due:
            done.set_result(None)


def share_in_time(wire: FakeWorker, pool: Pool) -> float:
    """Return which share of what the pool can do is done for clients that wait, with two of them a tick of 5 ms.

    Each gives up after a second. The first one and a half seconds are left out.
    """
    ticks, begin, patience = 600, 300, 200
    waiting: dict[Any, int] = {}
    served = 0
    for tick in range(ticks):
        for _ in range(2):
            peer = wire.connect()
            peer.put(get())
            waiting[peer] = tick
        wire.loop.call_soon(pool.tick)
        wire.advance(0.005)
        for peer, since in list(waiting.items()):
            output = peer.take()
            if output:
                served += output.startswith(b"HTTP/1.1 200 ") and tick >= begin
            elif tick - since < patience:
                continue
            waiting.pop(peer)
            wire.peers.remove(peer)
            peer.lose()
    return served / (ticks - begin)


@pytest.mark.parametrize(
    ("settings", "least", "most"),
    [
        ({"limit_requests": 10}, 0.9, 1.0),
        ({}, 0.0, 0.5),
    ],
    ids=["queue", "no limit"],
)
def test_twice_the_load(settings: dict[str, Any], least: float, most: float) -> None:
    """At twice what the application can do, nearly all of that is done for clients that still wait; without a queue it
    is mostly done for clients that have given up."""
    TIME.stop()
    pool = Pool()
    wire = FakeWorker(pool, **settings)
    try:
        share = share_in_time(wire, pool)
    finally:
        wire.worker.abort()
        for task in list(wire.worker.tasks):
            task.cancel()
        wire.close()
        TIME.go_on()
    assert least <= share <= most


UVICORNS_HTTP = "uvicorn.protocols.http.h11_impl:H11Protocol"
UVICORNS_WS = "uvicorn.protocols.websockets."
WEBSOCKETS = ["websockets_sansio_impl:WebSocketsSansIOProtocol", "wsproto_impl:WSProtocol"]


def test_classes_of_others(serve: Serve, desk: Desk) -> None:
    """Their requests wait with those that the core serves, and get the same 503."""
    server = serve(desk, http=UVICORNS_HTTP, limit_requests=1, queue=1, queue_timeout=60)
    first = ask(server, "/first")
    until(lambda: desk.calls == ["/first"], "the application is called")
    second = ask(server, "/second")
    until(lambda: waiting(server) == 1, "the next one waits")
    refused = ask(server, "/refused")
    assert answer(refused) == (503, b"Service Unavailable", "1")
    desk.end(2)
    assert [answer(each)[:2] for each in (first, second)] == [(200, b"/first"), (200, b"/second")]
    for each in (first, second, refused):
        each.close()


@pytest.mark.parametrize("http", [*HTTP, UVICORNS_HTTP])
@pytest.mark.parametrize("name", WEBSOCKETS)
def test_websockets_of_classes_of_others(serve: Serve, name: str, http: str) -> None:
    """A handshake counts until it has its response: a WebSocket that is open does not."""
    gate = threading.Semaphore(0)
    calls: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        calls.append(scope["path"])
        await receive()
        await asyncio.get_running_loop().run_in_executor(None, gate.acquire)
        await send({"type": "websocket.accept"})
        await receive()

    server = serve(app, http=http, ws=UVICORNS_WS + name, limit_requests=1, queue=1, queue_timeout=60, lifespan="off")
    clients = []
    for path in ("/first", "/second", "/refused"):
        client = server.connect()
        client.sendall(upgrade(path))
        clients.append(client)
        if path == "/refused":
            assert support.read_until(client).startswith(b"HTTP/1.1 503 ")
        else:
            until(lambda: len(calls) + waiting(server) == len(clients), "it is called or waits")
    for client in clients[:2]:
        gate.release()
        assert support.read_until(client).startswith(b"HTTP/1.1 101 ")
    assert calls == ["/first", "/second"]
    for client in clients:
        client.close()


def test_static_files_do_not_count(serve: Serve, desk: Desk, tmp_path: Path) -> None:
    """Nobody waits for clients that take files slowly; what is no file waits as any request does."""
    (tmp_path / "large.bin").write_bytes(bytes(32 << 20))  # more than sockets take
    server = serve(desk, static=f"/={tmp_path}", limit_requests=1, queue_timeout=support.PATIENCE)
    slow = [ask(server, "/large.bin") for _ in range(3)]
    heads = [connection.getresponse() for connection in slow]
    first = ask(server, "/first")
    until(lambda: desk.calls == ["/first"], "the application is called")
    second = ask(server, "/second")
    file = ask(server, "/large.bin")
    with file.getresponse() as response:
        assert response.status == 200
    assert desk.calls == ["/first"]
    desk.end(2)
    assert [answer(connection)[:2] for connection in (first, second)] == [(200, b"/first"), (200, b"/second")]
    assert desk.most == 1
    for connection, head in zip(slow, heads, strict=True):
        assert len(head.read()) == 32 << 20
        connection.close()
    for connection in (first, second, file):
        connection.close()
