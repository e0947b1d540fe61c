"""What the general log says of connections: the lines of uvicorn, at the level trace and at info."""

from __future__ import annotations

import re
import signal
import sys
from pathlib import Path

import pytest
import support

APP = """
async def app(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})
    elif scope["path"] == "/no":
        await send({"type": "websocket.close"})
    elif scope["path"] == "/payment":
        await send({"type": "websocket.http.response.start", "status": 402, "headers": []})
        await send({"type": "websocket.http.response.body", "body": b"pay"})
    else:
        await receive()
        await send({"type": "websocket.accept"})
        while (await receive())["type"] != "websocket.disconnect":
            pass
"""
UPGRADE = (
    b"GET %s HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
CLOSE = b"\x88\x80\0\0\0\0"
LOST = r"(HTTP|WebSocket) connection lost"


def lines(module: str, level: str, args: list[str], folder: Path, *paths: bytes | None) -> list[str]:
    """Serve one client after the other, each with the handshake for a path of `paths` or a plain request.

    Return the lines about their connections, with their numbers as addresses.
    """
    (folder / "one_app.py").write_text(APP)
    options = ["one_app:app", "--port", "0", "--lifespan", "off", "--log-level", level, *args]
    server = support.Command([sys.executable, "-m", module, *options], cwd=folder)
    addresses = []
    try:
        for path in paths:
            with server.connect() as client:
                addresses.append("{}:{}".format(*client.getsockname()))
                client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" if path is None else UPGRADE % path)
                if path in (None, b"/yes"):
                    client.recv(4096)
                if path == b"/yes":
                    client.sendall(CLOSE)
                if path is not None:
                    support.read_all(client)
            if level == "trace":
                server.wait_line(LOST, count=len(addresses))
        server.stop(signal.SIGINT)
    finally:
        server.close()
    assert len(server.stdout) == paths.count(None)  # the access log
    found = [re.sub("|".join(addresses), lambda each: str(addresses.index(each[0])), line) for line in server.stderr]
    return [line for line in found if re.match(r"(TRACE|INFO): +(\d - (HTTP|Web|Upg|\"Web)|connection)", line)]


@pytest.mark.parametrize("level", ["trace", "info"])
@pytest.mark.parametrize("http", ["auto", "h11"])
@pytest.mark.parametrize("ws", ["auto", "wsproto"])
def test_lines_are_uvicorns(ws: str, http: str, level: str, tmp_path: Path) -> None:
    """But for `connection closed`, which older uvicorns have as well."""
    given = (level, ["--http", http, "--ws", ws], tmp_path, None, b"/no", b"/payment", b"/yes")
    theirs, ours = (lines(module, *given) for module in ("uvicorn", "fastserve"))
    assert [line for line in ours if line != "INFO:     connection closed"] == theirs
    count = 6 if ws == "auto" else 3  # `wsproto` says nothing of its own
    assert len(theirs) == (14 + count if level == "trace" else count)


def test_a_protocol_that_cannot_be_made(tmp_path: Path) -> None:
    """Its connection is told of as others are."""
    methods = ("connection_made", "data_received", "eof_received", "connection_lost", "shutdown")
    (tmp_path / "broken_ws.py").write_text(
        "class Broken:\n    def __init__(self, *args, **more):\n        raise OSError\n"
        + "".join(f"    def {name}(self, *args): pass\n" for name in methods)
    )
    found = lines("fastserve", "trace", ["--ws", "broken_ws:Broken"], tmp_path, b"/no", None)
    told = [line.split(" - ")[-1] for line in found if " - HTTP" in line]
    assert told == ["HTTP connection made", "HTTP connection lost"] * 2


@pytest.mark.parametrize("http", ["auto", "h11"])
@pytest.mark.parametrize("ws", ["auto", "wsproto"])
def test_a_client_that_answers_no_ping(http: str, ws: str, tmp_path: Path) -> None:
    given = ["--http", http, "--ws", ws, "--ws-ping-interval", "0.1", "--ws-ping-timeout", "0.1"]
    theirs, ours = (lines(module, "trace", given, tmp_path, b"/silent") for module in ("uvicorn", "fastserve"))
    traced = [line for line in ours if line.startswith("TRACE")]
    assert traced == [line for line in theirs if line.startswith("TRACE")]
    assert traced[-2:] == ["TRACE:    0 - WebSocket keepalive ping timeout", "TRACE:    0 - WebSocket connection lost"]
