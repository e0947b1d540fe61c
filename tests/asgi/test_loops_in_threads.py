"""Servers in several threads of one process: each response is that of its own request, whatever else runs meanwhile.

Without the global interpreter lock (python3.14t) they run at the same moment.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import httpx
import pytest
import support
from protocol.wire import response
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.sync.client import connect

NAMES = ("one", "two", "three")
CLIENTS = 2  # of each server
ROUNDS = 12
PIPELINED = 8
BODY = 100_000  # more than comes with a request's head, and than a response may be ahead of its client

Client = Callable[[support.Running, str, int], None]


def expected(name: str, method: str, target: str, body: bytes) -> bytes:
    """What the server of this name says to a request."""
    return f"{name} {method} {target} {len(body)} {hash(body)};".encode() * (1 + hash(target) % 3)


def asgi(name: str) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            await echo(name, receive, send)
            return
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        if len(body) % 2:
            await asyncio.sleep(0)
        target = scope["raw_path"].decode() + "?" + scope["query_string"].decode()
        text = expected(name, scope["method"], target, body)
        given = dict(scope["headers"])
        head = [
            (b"x-server", name.encode()),
            (b"x-token", given[b"x-token"]),
            (b"x-client", b"%d" % scope["client"][1]),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        if len(body) % 3:
            await send({"type": "http.response.body", "body": text[:5], "more_body": True})
            text = text[5:]
        await send({"type": "http.response.body", "body": text})

    return app


async def echo(name: str, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": f"{name} {message['text']}"})


def wsgi(name: str) -> Any:
    def app(environ: Any, start_response: Any) -> Iterable[bytes]:
        body = environ["wsgi.input"].read()
        target = environ["PATH_INFO"] + "?" + environ["QUERY_STRING"]
        text = expected(name, environ["REQUEST_METHOD"], target, body)
        head = [("X-Server", name), ("X-Token", environ["HTTP_X_TOKEN"]), ("X-Client", environ["REMOTE_PORT"])]
        start_response("200 OK", head)
        if len(body) % 3 == 0:
            return [text]
        return pieces(text, body)

    def pieces(text: bytes, body: bytes) -> Iterator[bytes]:
        yield text
        for at in range(0, len(body), 10_000):
            yield body[at : at + 10_000]

    return app


def requests(name: str, number: int, large: bool) -> Iterator[tuple[str, str, dict[str, str], bytes]]:
    for turn in range(ROUNDS * PIPELINED):
        size = BODY + turn if large and turn % PIPELINED == 0 else turn
        body = (f"{name}{number}" * size)[:size].encode()
        token = f"{name}-{number}-{turn}"
        yield "POST" if size else "GET", f"/{name}/{number}?{turn}", {"x-token": token, f"x-{token}": token}, body


def over_http1(server: support.Running, name: str, number: int, large: bool = False) -> None:
    """Requests in batches, each pipelined on a connection of its own."""
    sent = list(requests(name, number, large))
    for start in range(0, len(sent), PIPELINED):
        with server.connect() as sock, sock.makefile("rb") as file:
            own = sock.getsockname()[1]
            batch = sent[start : start + PIPELINED]
            for method, target, fields, body in batch:
                lines = [f"{method} {target} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}"]
                lines += [f"{field}: {value}" for field, value in fields.items()]
                sock.sendall("\r\n".join([*lines, "", ""]).encode() + body)
            for method, target, fields, body in batch:
                found = response(file)
                text = expected(name, method, target, body)
                if large and len(body) % 3:
                    text += body
                assert (found.status, found.body) == (200, text)
                assert found.get(b"x-server") == name.encode()
                assert found.get(b"x-token") == fields["x-token"].encode()
                assert found.get(b"x-client") == b"%d" % own


def over_wsgi(server: support.Running, name: str, number: int) -> None:
    over_http1(server, name, number, large=True)


def over_http2(server: support.Running, name: str, number: int) -> None:
    with httpx.Client(http1=False, http2=True, base_url=server.url, timeout=support.PATIENCE) as client:
        for method, target, fields, body in requests(name, number, large=False):
            found = client.request(method, target, headers=fields, content=body)
            assert (found.status_code, found.http_version) == (200, "HTTP/2")
            assert found.content == expected(name, method, target, body)
            assert found.headers["x-server"] == name
            assert found.headers["x-token"] == fields["x-token"]


def over_websockets(server: support.Running, name: str, number: int) -> None:
    """A few echoes a connection; compressed, with no context kept between messages."""
    compression = ClientPerMessageDeflateFactory(server_no_context_takeover=True, client_max_window_bits=True)
    url = f"ws://{server.host}:{server.port}/"
    for turn in range(ROUNDS):
        with connect(url, extensions=[compression], compression=None, close_timeout=support.PATIENCE) as socket:
            for each in range(PIPELINED):
                text = f"{name} {number} {turn} {each} " * (1 + 40 * each)
                socket.send(text)
                assert socket.recv(support.PATIENCE) == f"{name} {text}"


@pytest.mark.parametrize("client", [over_http1, over_http2, over_websockets, over_wsgi])
def test_each_response_is_of_its_own_request(serve: support.Serve, client: Client) -> None:
    app, interface = (wsgi, "wsgi") if client is over_wsgi else (asgi, "asgi3")
    servers = [serve(app(name), interface=interface, log_level="info") for name in NAMES]
    faults: list[BaseException] = []

    def run(server: support.Running, name: str, number: int) -> None:
        try:
            client(server, name, number)
        except BaseException as fault:
            faults.append(fault)

    threads = [
        threading.Thread(target=run, args=(server, name, number))
        for server, name in zip(servers, NAMES, strict=True)
        for number in range(CLIENTS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if faults:
        raise faults[0]


def test_no_module_asks_for_the_global_lock() -> None:
    """A Python without it would take it again, with a warning, for one that does not declare that it needs none."""
    program = """
import importlib, pkgutil, sys
import fastserve._core, fastserve.middleware.wsgi, fastserve.server
for module in pkgutil.walk_packages(fastserve._core.__path__, "fastserve._core."):
    importlib.import_module(module.name)
print(getattr(sys, "_is_gil_enabled", lambda: True)())
"""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHON_GIL"}
    command = [sys.executable, "-W", "error", "-c", program]
    printed = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout.strip()
    assert printed == str(not sysconfig.get_config_var("Py_GIL_DISABLED"))
