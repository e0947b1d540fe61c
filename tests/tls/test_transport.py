"""The core's own TLS over real sockets: what only a kernel does."""

from __future__ import annotations

import random
import socket
from collections.abc import Callable
from typing import Any

import support
from core.responses import read_one
from fakes.worker import get
from tls.pki import TlsRunning

MANY = 12_000_000  # bytes, more than the kernel takes for a client that does not read


def test_records_stay_in_order_while_the_client_reads_slowly(serve: Callable[..., TlsRunning]) -> None:
    """They go to the socket, or to the queue of the loop's transport while the kernel takes no more."""
    body = random.Random(3).randbytes(MANY)
    sizes = [1, 100, 16384, 65536, 70_000, 300_000]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"content-length", str(MANY).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        at = turn = 0
        while at < MANY:
            piece = body[at : at + sizes[turn % len(sizes)]]
            at += len(piece)
            turn += 1
            await send({"type": "http.response.body", "body": piece, "more_body": at < MANY})

    server = serve(app)
    with socket.socket() as plain:
        plain.settimeout(support.PATIENCE)
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        plain.connect((server.host, server.port))
        secure = server.secure(plain)
        secure.sendall(get("/", "Connection: close"))
        assert read_one(support.read_all(secure)).body == body
