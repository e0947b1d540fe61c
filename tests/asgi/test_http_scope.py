"""The items of the ASGI checklist on the scope of a request (10 to 23)."""

from __future__ import annotations

import json
import socket
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import support
from core.responses import Client, read_one
from fakes.worker import get, respond
from protocols import WIRES, protocol_of

Connect = Callable[..., Client]


@pytest.fixture(params=WIRES)
def http(request: pytest.FixtureRequest) -> str:
    return protocol_of(request)


class Scopes:
    """An application that keeps the scopes that it was called with."""

    def __init__(self) -> None:
        self.scopes: list[Any] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scopes.append(scope)
        await respond(send)


def scope_of(client: Connect, request: bytes, **config: Any) -> Any:
    app = Scopes()
    connected = client(app, **config)
    assert connected.ask(request).status == 200
    connected.close()
    return app.scopes[0]


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_item_10_type_and_version(client: Connect, version: str) -> None:
    scope = scope_of(client, get(version=version))
    assert (scope["type"], scope["http_version"]) == ("http", version)


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "QUERY"])
def test_item_11_method(client: Connect, method: str) -> None:
    assert scope_of(client, get(method=method))["method"] == method


def test_item_11_method_in_lower_case_is_another_method(serve: support.Serve) -> None:
    app = Scopes()
    assert read_one(serve(app).request(get(method="get"))).status == 501
    assert app.scopes == []


def test_item_12_scheme(client: Connect) -> None:
    assert scope_of(client, get())["scheme"] == "http"


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/a%20b", "/a b"),
        ("/%C3%A4%E2%82%AC", "/ä€"),
        ("/a%2Fb", "/a/b"),
        ("/a%3Fb?c", "/a?b"),
        ("/%ff", "/\ufffd"),
        ("/%zz%4", "/%zz%4"),
        ("/a//b/../c", "/a//b/../c"),
    ],
)
def test_item_13_path_is_decoded(client: Connect, target: str, path: str) -> None:
    assert scope_of(client, get(target))["path"] == path


def test_item_13_raw_bytes_outside_of_ascii_are_refused(serve: support.Serve) -> None:
    app = Scopes()
    assert read_one(serve(app).request("GET /ä HTTP/1.1\r\nHost: x\r\n\r\n".encode())).status == 400
    assert app.scopes == []


@pytest.mark.parametrize(
    ("target", "raw"),
    [("/a%20b%c3?c", b"/a%20b%c3"), ("http://x/%61?b", b"/%61"), ("http://x", b"/"), ("http://x?q", b"/")],
)
def test_item_14_raw_path_is_as_received(client: Connect, target: str, raw: bytes) -> None:
    assert scope_of(client, get(target))["raw_path"] == raw


@pytest.mark.parametrize(("target", "query"), [("/?a=%20&b=+", b"a=%20&b=+"), ("/", b""), ("/?", b""), ("/??", b"?")])
def test_item_15_query_string_is_as_received(client: Connect, target: str, query: bytes) -> None:
    assert scope_of(client, get(target))["query_string"] == query


def test_item_16_path_includes_root_path(client: Connect) -> None:
    scope = scope_of(client, get("/x%20y"), root_path="/mount")
    assert (scope["root_path"], scope["path"], scope["raw_path"]) == ("/mount", "/mount/x y", b"/mount/x%20y")


def test_item_16_no_root_path(client: Connect) -> None:
    assert scope_of(client, get())["root_path"] == ""


def test_item_17_headers_keep_order_and_duplicates(client: Connect) -> None:
    headers = scope_of(client, get("/", "B: 1", "A: 2", "B: 3", "Accept: x", "Accept: y, z", "V:  \xe4 "))["headers"]
    assert [tuple(pair) for pair in headers] == [
        (b"host", b"x"), (b"b", b"1"), (b"a", b"2"), (b"b", b"3"), (b"accept", b"x"), (b"accept", b"y, z"),
        (b"v", b"\xe4"),
    ]  # fmt: skip
    assert {type(part) for pair in headers for part in pair} == {bytes}


def test_item_18_names_in_lower_case(client: Connect) -> None:
    headers = scope_of(client, get("/", "USER-Agent: A", "X-OWN-Field: B", "X_Under: C"))["headers"]
    assert [name for name, _ in headers] == [b"host", b"user-agent", b"x-own-field", b"x_under"]


def test_item_19_host_of_an_absolute_target(client: Connect) -> None:
    """HTTP/1 has no pseudo-headers; Host has what the target's authority is, whatever the client says in it."""
    scope = scope_of(client, b"GET http://h:80/p HTTP/1.1\r\nA: b\r\nHost: i\r\n\r\n")
    assert scope["headers"] == [(b"a", b"b"), (b"host", b"h:80")]
    assert not any(name.startswith(b":") for name, _ in scope["headers"])


def test_item_20_client_and_server(serve: support.Serve) -> None:
    app = Scopes()
    server = serve(app)
    connected = Client(server.connect())
    connected.ask(get())
    assert tuple(app.scopes[0]["client"]) == connected.sock.getsockname()
    assert tuple(app.scopes[0]["server"]) == (server.host, server.port)
    assert {type(app.scopes[0][end][1]) for end in ("client", "server")} == {int}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux has all of 127.0.0.0/8")
def test_item_20_each_connection_has_its_own_address_of_the_server(serve: support.Serve) -> None:
    app = Scopes()
    server = serve(app, host="0.0.0.0")
    hosts = ["127.0.0.1", "127.0.0.2", "127.0.0.2", "127.0.0.1"]
    for host in hosts:
        with socket.create_connection((host, server.port), support.PATIENCE) as sock:
            assert Client(sock).ask(get()).status == 200
    assert [scope["server"][0] for scope in app.scopes] == hosts


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux has all of 127.0.0.0/8")
@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.10.99", "127.100.109.255", "127.250.0.205"])
def test_item_20_addresses_of_every_length(serve: support.Serve, host: str) -> None:
    app = Scopes()
    server = serve(app, host="0.0.0.0")
    with socket.create_connection((host, server.port), timeout=60, source_address=(host, 0)) as sock:
        Client(sock).ask(get())
        assert tuple(app.scopes[0]["client"]) == sock.getsockname()
        assert tuple(app.scopes[0]["server"]) == sock.getpeername()


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6")
def test_item_20_ipv6(serve: support.Serve) -> None:
    app = Scopes()
    try:
        server = serve(app, host="::1")
    except RuntimeError:
        pytest.skip("no IPv6 address")
    connected = Client(server.connect())
    connected.ask(get())
    assert tuple(app.scopes[0]["client"]) == connected.sock.getsockname()[:2]
    assert app.scopes[0]["server"][0] == "::1"


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no UNIX sockets")
def test_item_20_unix_socket(serve: support.Serve) -> None:
    app = Scopes()
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:  # a short path: the kernel allows 107 bytes
        path = str(Path(folder) / "s")
        server = serve(app, uds=path)
        connected = Client(server.connect())
        connected.ask(get())
        assert (app.scopes[0]["client"], tuple(app.scopes[0]["server"])) == (None, (path, None))
        server.stop()


def test_item_21_state_is_a_shallow_copy(client: Connect) -> None:
    shared: list[int] = []
    states: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await receive()
            scope["state"]["shared"] = shared
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        states.append(dict(scope["state"]))
        scope["state"]["mine"] = True
        scope["state"]["shared"].append(1)
        await respond(send)

    connected = client(app, lifespan="on")
    connected.ask(get())
    connected.ask(get())
    assert [list(state) for state in states] == [["shared"], ["shared"]]
    assert all(state["shared"] is shared for state in states)
    assert shared == [1, 1]


def test_item_21_no_lifespan(client: Connect) -> None:
    assert scope_of(client, get())["state"] == {}


def test_item_22_each_request_has_its_own_scope_and_response(client: Connect) -> None:
    """HTTP/1 has no streams; pipelined requests are the nearest thing to them."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        marks = [scope.get("mark"), scope["state"].get("mark"), len(scope["headers"])]
        scope["mark"] = scope["state"]["mark"] = True
        scope["headers"].append((b"mark", b""))
        await respond(send, json.dumps([scope["path"], *marks]).encode())

    connected = client(app)
    connected.send(b"".join(get(f"/{number}") for number in range(20)))
    assert [json.loads(connected.read().body) for _ in range(20)] == [
        [f"/{number}", None, None, 1] for number in range(20)
    ]


def test_item_23_cookie_headers_are_kept_as_received(client: Connect) -> None:
    headers = scope_of(client, get("/", "Cookie: a=1; b=2", "Cookie: c=3"))["headers"]
    assert [value for name, value in headers if name == b"cookie"] == [b"a=1; b=2", b"c=3"]
