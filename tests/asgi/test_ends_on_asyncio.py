"""Connections that end while asyncio's transport writes what the client has been slow to take: the end is told once."""

from __future__ import annotations

import signal
import socket
import sys
from pathlib import Path

import pytest
import support

APP = """
async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"16000000")]})
    await send({"type": "http.response.body", "body": bytes(16000000)})
"""
GET = b"GET %s HTTP/1.1\r\nHost: a\r\n%s\r\n"


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize(
    ("requests", "ends"),
    [
        (GET % (b"/", b"") + GET % (b"/health", b"Connection: close\r\n"), False),
        (GET % (b"/", b"") + GET % (b"/health", b""), True),
        (GET % (b"/", b"") * 2, True),
        (GET % (b"/", b"") + b"BAD\r\n\r\n", True),
        (GET % (b"/", b"Connection: close\r\n"), False),
    ],
    ids=["health, close", "health, end", "two, end", "bad, end", "close"],
)
def test_the_end_is_told_once(loop: str, requests: bytes, ends: bool, tmp_path: Path) -> None:
    (tmp_path / "large_app.py").write_text(APP)
    options = ["large_app:app", "--port", "0", "--loop", loop, "--lifespan", "off", "--health", "/health"]
    server = support.Command([sys.executable, "-m", "fastserve", *options], cwd=tmp_path)
    try:
        with server.connect() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            client.sendall(requests)
            if ends:
                client.shutdown(socket.SHUT_WR)
            first = client.recv(1)  # what the kernel has no room for waits in the transport by now
            assert len(first + support.read_all(client)) > 16000000
        server.stop(signal.SIGINT)
    finally:
        server.close()
    assert "Exception" not in server.output
    assert "Traceback" not in server.output
