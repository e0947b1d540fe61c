"""A client that resets at any point of an exchange leaves nothing behind."""

from __future__ import annotations

import gc
import socket
from collections.abc import Iterator
from typing import Any

import load_app
import pytest
import support
from fakes.net import Client, Net, Transport
from garbage import assert_nothing_lives
from load import reset, until

from fastserve._core import counters

REQUEST = (
    b"POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5;a=b\r\nhello\r\n1\r\n!\r\n0\r\nX-Trailer: y\r\n\r\nGET /bytewise HTTP/1.1\r\nHost: a\r\n\r\n"
)
GET = "GET {} HTTP/1.1\r\nHost: a\r\n\r\n"


def assert_clean(net: Net) -> None:
    assert not net.worker.connections and not net.worker.tasks and not net.worker.active
    assert [line for line in net.errors if line != "Exception in ASGI application\n"] == []
    assert net.loop.errors == []


@pytest.mark.parametrize("exception", [None, ConnectionResetError(104, "reset")], ids=["end", "reset"])
def test_behind_each_byte_of_a_request(exception: Exception | None) -> None:
    net = Net(load_app.app)
    for size in range(len(REQUEST) + 1):
        net.connect().feed(REQUEST[:size]).lose(exception)
        assert_clean(net)
    net.close()
    del net
    assert_nothing_lives()


class Breaking(Transport):
    """Loses its connection after the first `size` bytes that are written."""

    size = 0

    def write(self, data: Any) -> None:
        super().write(data)
        if len(self.written) >= self.size and not self.closed:
            self.closed = True
            self.loop.call_soon(self.lose, ConnectionResetError(104, "reset"))


class NoSleep:
    """asyncio.sleep() that lets the loop run once."""

    def __init__(self, seconds: float) -> None:
        pass

    def __await__(self) -> Iterator[None]:
        yield


@pytest.mark.parametrize("path", ["/bytewise", "/echo", "/large", "/failing", "/failing-late", "/stream", "/slow"])
def test_behind_each_byte_of_a_response(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fakes.net.Transport", Breaking)
    monkeypatch.setattr("load_app.asyncio.sleep", NoSleep)
    net = Net(load_app.app, raise_disconnect=True)
    for size in range(1, 400):
        monkeypatch.setattr(Breaking, "size", size)
        client = Client(net).feed(GET.format(path).encode())
        if not client.gone:
            client.lose()
        assert_clean(net)
    net.close()
    del net, client
    assert_nothing_lives()


@pytest.fixture(params=["asyncio", "uvloop"])
def server(request: pytest.FixtureRequest, serve: support.Serve) -> support.Running:
    pytest.importorskip(request.param)
    return serve(load_app.app, loop=request.param, access_log=False, disconnect="raise")


def assert_all_gone(server: support.Running, caplog: pytest.LogCaptureFixture) -> None:
    """A leaked connection would be closed when the server stops: look before."""
    worker = server.server.server_state.worker
    assert worker is not None
    until(lambda: not worker.connections and not worker.tasks, "connections and tasks are gone")

    def nothing_lives() -> bool:
        for record in caplog.records:
            record.exc_info = None  # its frames hold the arguments of the application
        gc.collect()
        return not any(counters.live().values())

    until(nothing_lives, "nothing lives")


def receive(sock: socket.socket, size: int) -> None:
    while size > 0:
        data = sock.recv(size)
        assert data, "the server closed"
        size -= len(data)


def test_socket_behind_each_byte_of_a_request(server: support.Running, caplog: pytest.LogCaptureFixture) -> None:
    for size in range(len(REQUEST) + 1):
        sock = server.connect()
        sock.sendall(REQUEST[:size])
        reset(sock)
    assert_all_gone(server, caplog)


@pytest.mark.parametrize("path", ["/bytewise", "/stream", "/large"])
def test_socket_behind_each_byte_of_a_response(
    server: support.Running, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    for size in range(200):
        sock = server.connect()
        sock.sendall(GET.format(path).encode())
        receive(sock, size)
        reset(sock)
    assert_all_gone(server, caplog)


def test_socket_of_every_application(server: support.Running, caplog: pytest.LogCaptureFixture) -> None:
    for path in ("/endless", "/unread", "/failing", "/failing-late", "/slow"):
        for size in (0, 1, 30):
            sock = server.connect()
            sock.sendall(GET.format(path).encode())
            receive(sock, size)
            reset(sock)
    sock = server.connect()
    sock.sendall(GET.format("/waiting").encode())
    reset(sock)
    assert_all_gone(server, caplog)
