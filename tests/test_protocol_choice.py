"""--http with a class: on uvicorn's protocol contract, uvicorn's own, and those that cannot be served."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import pytest
import support

import fastserve
from fastserve._core.connection import Connection
from fastserve.protocols.choice import CORE_MODULE
from fastserve.protocols.http.auto import AutoHTTPProtocol
from fastserve.protocols.http.h11_impl import H11Protocol
from fastserve.protocols.http.httptools_impl import HttpToolsProtocol
from fastserve.server import ServerState

REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


async def hello(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
    await send({"type": "http.response.body", "body": b"hello"})


class Shout(asyncio.Protocol):
    """The least that the contract asks for: it keeps the state that it was made with."""

    made: list[dict[str, Any]] = []  # noqa: RUF012

    def __init__(self, config: Any, server_state: Any, app_state: Any, _loop: Any = None) -> None:
        self.made.append({"config": config, "state": server_state, "app_state": app_state, "loop": _loop})
        self.state = server_state
        self.transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.state.connections.add(self)

    def data_received(self, data: bytes) -> None:
        self.state.total_requests += 1
        headers = b"".join(b"%s: %s\r\n" % pair for pair in self.state.default_headers)
        self.transport.write(b"HTTP/1.1 200 OK\r\n" + headers + b"content-length: 0\r\n\r\n")

    def connection_lost(self, exc: BaseException | None) -> None:
        self.state.connections.discard(self)

    def shutdown(self) -> None:
        self.transport.close()


UVICORNS = "uvicorn.protocols.http.h11_impl:H11Protocol", "uvicorn.protocols.http.httptools_impl:HttpToolsProtocol"


@pytest.mark.parametrize("http", UVICORNS)
def test_what_uvicorns_classes_log(start: support.StartCommand, http: str) -> None:
    server = start("app", "--http", http)
    server.get("/a")
    server.request(b"nonsense\r\n\r\n")
    server.stop()
    assert [line.partition('"')[2] for line in server.stdout[:1]] == ['GET /a HTTP/1.1" 200 OK']
    assert "WARNING:  Invalid HTTP request received." in server.stderr


@pytest.mark.parametrize("http", [Shout, f"{__name__}:Shout"], ids=["class", "import string"])
def test_a_class_on_the_contract(serve: support.Serve, monkeypatch: pytest.MonkeyPatch, http: Any) -> None:
    monkeypatch.setitem(sys.modules, __name__, sys.modules[Shout.__module__])
    Shout.made.clear()
    server = serve(hello, http=http, headers=[("X-Own", "1")])
    with server.connect() as client:
        client.sendall(REQUEST)
        answer = support.read_until(client)
        state = server.server.server_state
        assert len(state.connections) == 1
        assert state.total_requests == 1
    assert b"\r\nserver: fastserve\r\nx-own: 1\r\n" in answer and b"\r\ndate: " in answer
    (made,) = Shout.made
    assert made["config"] is server.server.config
    assert made["state"] is state
    assert made["app_state"] == {}
    assert isinstance(made["loop"], asyncio.AbstractEventLoop)


def test_shutdown_is_called_at_the_end(serve: support.Serve) -> None:
    server = serve(hello, http=Shout)
    with server.connect() as client:
        client.sendall(REQUEST)
        support.read_until(client)
        server.server.should_exit = True
        assert client.recv(1000) == b""  # closed by shutdown(), while the client was connected


@pytest.mark.parametrize("name", ["h11_impl:H11Protocol", "httptools_impl:HttpToolsProtocol"])
def test_uvicorns_own_classes(serve: support.Serve, name: str) -> None:
    server = serve(hello, http=f"uvicorn.protocols.http.{name}", limit_max_requests=2)
    answer = server.request(REQUEST)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n") and answer.endswith(b"\r\n\r\nhello")
    assert b"server: fastserve\r\n" in answer
    assert server.server.server_state.total_requests == 1


def test_a_subclass_of_the_reference_implementation(serve: support.Serve) -> None:
    class Counting(H11Protocol):
        seen = 0

        def data_received(self, data: bytes) -> None:
            type(self).seen += len(data)
            super().data_received(data)

    assert serve(hello, http=Counting).request(REQUEST).endswith(b"hello")
    assert Counting.seen == len(REQUEST)


@pytest.mark.parametrize("http", [HttpToolsProtocol, AutoHTTPProtocol, Connection, "httptools", "auto"])
def test_what_means_the_core(http: Any) -> None:
    config = fastserve.Config(hello, http=http, log_config=None)
    config.load()
    assert config.uses_core
    assert config.http_protocol_class.__module__ == CORE_MODULE


def refusal(http: Any, caplog: pytest.LogCaptureFixture) -> str:
    """Return the one line that says why this cannot be served."""
    with pytest.raises(SystemExit) as caught:
        fastserve.Config(hello, http=http, log_config=None).load()
    assert caught.value.code == 3
    (record,) = caplog.records
    return record.getMessage()


def test_a_subclass_of_httptools_protocol(caplog: pytest.LogCaptureFixture) -> None:
    class Own(HttpToolsProtocol):
        pass

    line = refusal(Own, caplog)
    assert "Own is a subclass of HttpToolsProtocol, whose internals the compiled core does not have" in line
    assert "fastserve.protocols.http.h11_impl.H11Protocol" in line


@pytest.mark.parametrize(
    ("http", "complaint"),
    [
        ("no_such:Class", 'Could not import module "no_such".'),
        ("asyncio:NoSuch", 'Attribute "NoSuch" not found in module "asyncio".'),
        ("sys:maxsize", '"sys:maxsize" is not a protocol class;'),
        ("shell_broken_protocol:Class", 'Importing "shell_broken_protocol:Class" raised ZeroDivisionError'),
    ],
)
def test_the_choices_are_named(
    caplog: pytest.LogCaptureFixture, tmp_path: Any, monkeypatch: pytest.MonkeyPatch, http: str, complaint: str
) -> None:
    (tmp_path / "shell_broken_protocol.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    line = refusal(http, caplog)
    assert complaint in line
    assert "auto, llhttp, httptools, h11 or module:Class" in line


def test_h11_without_its_package(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "fastserve.protocols.http.h11_impl")
    monkeypatch.setitem(sys.modules, "h11", None)
    line = refusal("h11", caplog)
    assert line == 'Error loading HTTP protocol. http "h11" needs the package h11: install it, or fastserve[h11].'


def test_state_can_be_changed_by_hand() -> None:
    state = ServerState()
    state.total_requests += 2
    state.connections.add("x")
    state.tasks.add("y")
    assert (state.total_requests, state.connections, state.tasks) == (2, {"x"}, {"y"})


def test_limits_and_deadlines_of_the_reference_implementation(serve: support.Serve) -> None:
    server = serve(hello, http="h11", limit_concurrency=1)
    assert server.request(REQUEST).startswith(b"HTTP/1.1 503 ")
    server = serve(hello, http="h11", timeout_keep_alive=0)
    with server.connect() as client:
        client.sendall(REQUEST.replace(b"close", b"keep-alive"))
        assert support.read_all(client).endswith(b"hello")  # closed at once
