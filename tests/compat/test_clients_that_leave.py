"""Starlette's streams and files when the client goes away: they stop at once."""

from __future__ import annotations

import socket
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import support
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, Response, StreamingResponse
from starlette.routing import Route

SIZE = 100 << 20


class Served:
    """An application with a stream without an end and a large file, and when each of them ended."""

    def __init__(self, file: Path, offers_pathsend: bool) -> None:
        self.file = file
        self.offers_pathsend = offers_pathsend
        self.ended = threading.Event()
        self.sent = 0
        self.app = Starlette(routes=[Route("/stream", self.stream), Route("/file", self.send_file)])

    async def stream(self, request: Request) -> Response:
        async def pieces() -> AsyncIterator[bytes]:
            while True:
                self.sent += 1
                yield bytes(16384)

        return StreamingResponse(pieces())

    async def send_file(self, request: Request) -> Response:
        return FileResponse(self.file)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Note when the response ends; without the extension Starlette reads the file itself."""
        if not self.offers_pathsend:
            scope["extensions"].pop("http.response.pathsend", None)
        try:
            await self.app(scope, receive, send)
        finally:
            self.ended.set()


def leave(running: support.Running, path: str) -> None:
    """Ask, read the beginning of the response, and go."""
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(60)
        client.connect((running.host, running.port))
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        assert client.recv(1) == b"H"


@pytest.mark.parametrize(("path", "pathsend"), [("/stream", True), ("/file", True), ("/file", False)])
def test_stops_at_once(
    serve: support.Serve, tmp_path: Path, caplog: pytest.LogCaptureFixture, path: str, pathsend: bool
) -> None:
    with (tmp_path / "large").open("wb") as file:
        file.truncate(SIZE)
    served = Served(tmp_path / "large", pathsend)
    leave(serve(served, sendfile=True), path)
    assert served.ended.wait(60)
    assert served.sent * 16384 < SIZE
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


def test_files_go_by_sendfile(serve: support.Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """FileResponse leaves the file to a server that offers http.response.pathsend."""
    (tmp_path / "file").write_bytes(b"content")
    served = Served(tmp_path / "file", True)
    sent: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        async def noting(message: Any) -> None:
            sent.append(message["type"])
            await send(message)

        await served(scope, receive, noting)

    status, headers, body = serve(app, sendfile=True).fetch("/file")
    assert (status, headers["content-length"], body) == (200, "7", b"content")
    assert sent == ["http.response.start", "http.response.pathsend"]
