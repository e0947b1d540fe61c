"""Fast uploads over HTTP/2 that stop at any point: what has come reaches the application at once all the same."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import Iterator
from typing import Any

import pytest
import support
from fakes.http2 import POST, PREFACE, WINDOW_UPDATE, data, headers, parse, settings
from fakes.worker import respond
from garbage import assert_nothing_lives
from tls.pki import Pki
from tls.pki import serve as serve_tls

FRAME = 16384
BURSTS = 12
SIZE = BURSTS << 20


class Counting:
    """Counts the body of stream 1; a request for a number is answered once as many bytes have come."""

    def __init__(self) -> None:
        self.count = 0
        self.more = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["method"] == "POST":
            more = True
            while more:
                message = await receive()
                self.count += len(message.get("body", b""))
                self.more.set()
                more = message.get("more_body", False)
        else:
            while self.count < int(scope["path"][1:]):
                self.more.clear()
                await self.more.wait()
        await respond(send, b"%d" % self.count)


class Uploading:
    """A client that uploads as fast as the windows let it, and asks between whiles."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.rest = b""
        self.windows = {0: 65535, 1: 65535}
        self.ended: set[int] = set()
        self.sent = 0
        sock.sendall(PREFACE + settings() + headers(1, [*POST, ("content-length", str(SIZE))], end=False))

    def hear(self) -> None:
        octets = self.sock.recv(65536)
        assert octets, "the server has closed the connection"
        frames, self.rest = parse(self.rest + octets)
        for each in frames:
            if each.type == WINDOW_UPDATE and each.stream in self.windows:
                self.windows[each.stream] += each.number
            if each.ends:
                self.ended.add(each.stream)

    def send(self, size: int) -> None:
        last = self.sent + size
        while self.sent < last:
            part = min(FRAME, last - self.sent, *self.windows.values())
            if part == 0:
                self.hear()
                continue
            self.sent += part
            self.windows = {stream: window - part for stream, window in self.windows.items()}
            self.sock.sendall(data(1, bytes(part), end=self.sent == SIZE))

    def ask(self, stream: int) -> None:
        fields = [(":method", "GET"), (":scheme", "http"), (":path", f"/{self.sent}"), (":authority", "a")]
        self.sock.sendall(headers(stream, fields))
        while stream not in self.ended:
            self.hear()


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture(params=[("uvloop", False), ("uvloop", True), ("asyncio", False), ("asyncio", True)], ids=str)
def server(request: pytest.FixtureRequest, pki: Pki) -> Iterator[support.Running]:
    loop, tls = request.param
    running: support.Running
    if tls:
        secure = serve_tls(pki, Counting(), loop=loop, access_log=False)
        secure.context.set_alpn_protocols(["h2"])
        running = secure
    else:
        running = support.serve(Counting(), loop=loop, access_log=False)
    yield running
    running.stop()
    assert_nothing_lives()


def test_uploads_that_stop_anywhere(server: support.Running) -> None:
    """A question in the middle of an upload is answered, once the application has all that was sent before it."""
    numbers = random.Random(1)
    with server.connect() as sock:
        client = Uploading(sock)
        for burst in range(1, BURSTS):
            client.send(min((burst << 20) - numbers.randrange(1 << 17), SIZE) - client.sent)
            client.ask(2 * burst + 1)
        client.send(SIZE - client.sent)
        while 1 not in client.ended:
            client.hear()
