"""Responses to uploads that nobody reads, as seen by real clients, which send on although the response is there."""

from __future__ import annotations

import asyncio
import http.client
import io
import shutil
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

import aiohttp
import httpx
import pytest
import support
from protocol.apps import static
from protocol.wire import Wire
from tls.pki import Pki

BODY = bytes(3 << 20)
TIMES = 4
NODE = """
const [port, library, coding] = process.argv.slice(1);
const agent = new (require(library).Agent)({keepAlive: true, maxSockets: 1, rejectUnauthorized: false});
const body = Buffer.alloc(3 << 20), options = {port, host: "127.0.0.1", method: "POST", agent};
if (coding == "length") options.headers = {"content-length": body.length};
function ask(left) {
  if (!left) return agent.destroy();
  const next = what => { console.log(what); setImmediate(ask, left - 1); };
  const request = require(library).request(options, response => {
    response.resume().on("end", () => next(response.statusCode));
  });
  request.on("error", error => next(error.code));
  request.write(body.subarray(0, 1 << 20));
  request.end(body.subarray(1 << 20));
}
ask(4);
"""

unauthorized = static(b"no", 401, [(b"content-length", b"2")])


def wsgi(environ: Any, start_response: Any) -> list[bytes]:
    start_response("401 Unauthorized", [("Content-Length", "2")])
    return [b"no"]


def pieces() -> Iterator[bytes]:
    for at in range(0, len(BODY), 65536):
        yield BODY[at : at + 65536]


def by_http_client(server: support.Running, tls: bool, coding: str) -> list[Any]:
    if tls:
        context = ssl._create_unverified_context()
        client: Any = http.client.HTTPSConnection(server.host, server.port, timeout=60, context=context)
    else:
        client = http.client.HTTPConnection(server.host, server.port, timeout=60)
    found = []
    for _ in range(TIMES):
        client.request("POST", "/", BODY if coding == "length" else pieces())
        response = client.getresponse()
        response.read()
        found.append(response.status)
    client.close()
    return found


def by_aiohttp(server: support.Running, _tls: bool, coding: str) -> list[Any]:
    async def stream() -> Any:
        for piece in pieces():
            yield piece

    async def ask() -> list[Any]:
        found = []
        async with aiohttp.ClientSession() as session:
            for _ in range(TIMES):
                async with session.post(
                    server.url, data=io.BytesIO(BODY) if coding == "length" else stream()
                ) as response:
                    await response.read()
                    found.append(response.status)
        return found

    return asyncio.run(ask())


def by_httpx(server: support.Running, tls: bool, coding: str) -> list[Any]:
    """Over HTTP/2, where a client that waits for a window overlooks that its stream has been reset."""
    scheme = "https" if tls else "http"
    with httpx.Client(http1=tls, http2=True, verify=False, timeout=60, trust_env=False) as client:
        found = []
        for _ in range(TIMES):
            response = client.post(
                f"{scheme}://127.0.0.1:{server.port}/", content=BODY if coding == "length" else pieces()
            )
            assert response.http_version == "HTTP/2"
            found.append(response.status_code)
    return found


def by_node(server: support.Running, tls: bool, coding: str) -> list[Any]:
    command = ["node", "-e", NODE, str(server.port), "https" if tls else "http", coding]
    lines = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.split()
    return [int(line) if line.isdigit() else line for line in lines]


CLIENTS: list[tuple[Any, bool]] = [(by_http_client, False), (by_http_client, True), (by_aiohttp, False)]
if shutil.which("node"):
    CLIENTS += [(by_node, False), (by_node, True)]
SERVERS: dict[str, dict[str, Any]] = {
    "core": {},
    "h11": {"http": "h11"},
    "asyncio": {"loop": "asyncio"},
    "h11-asyncio": {"http": "h11", "loop": "asyncio"},
    "wsgi": {"interface": "wsgi"},
}


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki"))


@pytest.mark.parametrize(("client", "tls"), CLIENTS)
@pytest.mark.parametrize("coding", ["length", "chunked"])
@pytest.mark.parametrize("kind", SERVERS)
def test_every_request_has_its_answer(
    serve: support.Serve, pki: Pki, client: Callable[..., list[Any]], coding: str, tls: bool, kind: str
) -> None:
    """One connection after another: none is asked again that the server is about to close."""
    options = {**SERVERS[kind], **(pki.options if tls else {})}
    server = serve(wsgi if kind == "wsgi" else unauthorized, **options)
    assert client(server, tls, coding) == [401] * TIMES


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("coding", ["length", "pieces"])
@pytest.mark.parametrize("kind", ["core", "wsgi"])
def test_over_http2_too(serve: support.Serve, pki: Pki, kind: str, coding: str, tls: bool) -> None:
    options = {**SERVERS[kind], **(pki.options if tls else {})}
    server = serve(wsgi if kind == "wsgi" else unauthorized, **options)
    assert by_httpx(server, tls, coding) == [401] * TIMES


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("kind", SERVERS)
@pytest.mark.parametrize("upload", [False, True], ids=["nothing more", "upload"])
def test_a_stop_waits_for_no_client_that_has_its_answer(
    serve: support.Serve, pki: Pki, tls: bool, kind: str, upload: bool
) -> None:
    """The client keeps its side open, and its kernel has acknowledged the response."""
    options = {**SERVERS[kind], **(pki.options if tls else {})}
    server = serve(wsgi if kind == "wsgi" else unauthorized, **options)
    with server.connect() as plain:
        sock = ssl._create_unverified_context().wrap_socket(plain) if tls else plain
        request = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999\r\n\r\n"
        sock.sendall(request if upload else b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        with Wire(sock) as wire:
            found = wire.response()
            assert (found.status, found.closes) == (401, True)
            began = time.monotonic()
            server.server.should_exit = True
            server.join()
            assert time.monotonic() - began < 4.5, "it waits for what the client may still send, 5 s"
