"""The items of the ASGI checklist on files as responses (66 and 67)."""

from __future__ import annotations

import asyncio
import errno
import os
import queue
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import support
from asgi.gates import Gate
from asgi.messages import START, Raised, body, pathsend, raised_by, sends, start, zerocopysend
from core.responses import Client
from fakes.worker import get, respond

from fastserve._core.errors import ClientDisconnected

Connect = Callable[..., Client]
Log = Callable[[], list[str]]
CONTENT = bytes(range(256)) * 2000  # more than a block of the fallback, and than a socket takes at once


@pytest.fixture(params=["auto", "http2"])
def http(request: pytest.FixtureRequest) -> str:
    wire: str = request.param
    return wire


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "content"
    path.write_bytes(CONTENT)
    return path


class TestPathsend:
    def test_item_67_the_whole_file(self, client: Connect, file: Path) -> None:
        connected = client(sends(start((b"content-type", b"x/y")), pathsend(str(file))))
        for _ in range(2):
            response = connected.ask(get())
            assert response.body == CONTENT
            assert response.get(b"content-length") == b"%d" % len(CONTENT)
            assert response.get(b"content-type") == b"x/y"

    def test_item_67_no_byte_passes_through_python(
        self, client: Connect, file: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def read(*args: Any) -> bytes:
            raise AssertionError("bytes of a file were read")

        monkeypatch.setattr(os, "pread", read)
        assert client(sends(START, pathsend(str(file)))).ask(get()).body == CONTENT

    @pytest.mark.parametrize("size", [0, 1])
    def test_item_67_small_files(self, client: Connect, tmp_path: Path, size: int) -> None:
        (tmp_path / "small").write_bytes(b"x" * size)
        connected = client(sends(START, pathsend(str(tmp_path / "small"))))
        for _ in range(3):
            response = connected.ask(get())
            assert (response.body, response.get(b"content-length")) == (b"x" * size, b"%d" % size)

    def test_item_67_head(self, client: Connect, file: Path) -> None:
        connected = client(sends(START, pathsend(str(file))))
        for _ in range(2):
            connected.send(get(method="HEAD"))
            assert connected.read("HEAD").get(b"content-length") == b"%d" % len(CONTENT)

    def test_item_67_http_1_0(self, client: Connect, file: Path) -> None:
        assert client(sends(START, pathsend(str(file)))).ask(b"GET / HTTP/1.0\r\n\r\n").body == CONTENT

    def test_item_67_pipelined(self, client: Connect, file: Path) -> None:
        connected = client(sends(START, pathsend(str(file))))
        connected.send(get() * 5)
        assert [connected.read().body == CONTENT for _ in range(5)] == [True] * 5

    def test_item_67_relative_to_the_working_directory(
        self, client: Connect, file: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(file.parent)
        assert client(sends(START, pathsend(file.name))).ask(get()).body == CONTENT

    @pytest.mark.parametrize(
        ("path", "error"),
        [
            ("nowhere", FileNotFoundError),
            (b"/content", TypeError),
            ("/nowhere/at/all", FileNotFoundError),
            ("/", ValueError),
            ("a\0b", ValueError),
        ],
    )
    def test_item_67_no_such_file_is_500(self, client: Connect, log: Log, path: Any, error: type) -> None:
        app, errors = raised_by(START, pathsend(path))
        assert client(app).ask(get()).status == 500
        assert errors[0].kind is error
        log()

    def test_item_67_a_pipe_is_not_waited_for(self, client: Connect, log: Log, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe")
        app, errors = raised_by(START, pathsend(str(tmp_path / "pipe")))
        assert client(app).ask(get()).status == 500
        assert errors[0].text == "only regular files can be sent"
        log()

    @pytest.mark.parametrize("length", [len(CONTENT) - 1, len(CONTENT) + 1])
    def test_item_39_length_that_is_not_the_files(self, client: Connect, log: Log, file: Path, length: int) -> None:
        app, errors = raised_by(start((b"content-length", b"%d" % length)), pathsend(str(file)))
        assert client(app).ask(get()).status == 500
        assert errors[0].kind is RuntimeError
        log()

    def test_item_67_not_after_a_body(self, client: Connect, log: Log, file: Path) -> None:
        app, errors = raised_by(START, body(b"x", True), pathsend(str(file)))
        connected = client(app)
        connected.send(get())
        assert connected.rest().endswith(b"1\r\nx\r\n")
        assert "after a part of the body" in errors[0].text
        log()

    def test_item_67_nothing_behind_it(self, client: Connect, log: Log, file: Path) -> None:
        app, errors = raised_by(START, pathsend(str(file)), body(b"x"))
        connected = client(app)
        assert connected.ask(get()).body == CONTENT
        assert connected.ask(get()).body == CONTENT
        assert all("after response already completed" in error.text for error in errors)
        log()


class TestZerocopysend:
    def test_item_66_parts_mixed_with_body(self, client: Connect, file: Path) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            with file.open("rb") as opened:
                await send(START)
                await send(body(b"<", True))
                await send(zerocopysend(opened, offset=5, count=10, more_body=True))
                await send(body(b"|", True))
                await send(zerocopysend(opened, offset=len(CONTENT) - 3, more_body=True))
                await send(zerocopysend(opened.fileno(), offset=0, count=0, more_body=True))
                await send(zerocopysend(opened, offset=1, count=2))

        connected = client(app)
        for _ in range(2):
            response = connected.ask(get())
            assert response.body == b"<" + CONTENT[5:15] + b"|" + CONTENT[-3:] + CONTENT[1:3]

    def test_item_66_from_where_the_file_stands(self, client: Connect, file: Path) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            with file.open("rb") as opened:
                opened.seek(100)
                await send(START)
                await send(zerocopysend(opened, count=50, more_body=True))
                await send(zerocopysend(opened))

        assert client(app).ask(get()).body == CONTENT[100:]

    def test_item_66_returns_when_all_is_sent(self, client: Connect, file: Path) -> None:
        """The application closes its file after send(): it must not be needed any more."""

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await send(START)
            with file.open("rb") as opened:
                await send(zerocopysend(opened))
            os.truncate(file, 0)

        connected = client(app)
        connected.send(get())
        assert connected.read().body == CONTENT

    @pytest.mark.parametrize(
        "fields", [{"offset": -1}, {"offset": 1 << 40}, {"count": len(CONTENT) + 1}, {"count": -1}]
    )
    def test_item_66_what_is_not_there_is_500(
        self, client: Connect, log: Log, file: Path, fields: dict[str, int]
    ) -> None:
        with file.open("rb") as opened:
            app, errors = raised_by(START, zerocopysend(opened, **fields))
            response = client(app).ask(get())
        assert response.status == 500
        assert errors[0].kind is ValueError
        log()

    def test_item_66_a_file_without_descriptor(self, client: Connect, log: Log) -> None:
        app, errors = raised_by(START, zerocopysend(object()))
        assert client(app).ask(get()).status == 500
        assert errors[0].kind is AttributeError
        log()


class Slow:
    """A client that takes nothing until it is told to."""

    def __init__(self, running: support.Running) -> None:
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.settimeout(60)
        self.socket.connect((running.host, running.port))

    def read(self) -> bytes:
        parts = []
        while data := self.socket.recv(1 << 20):
            parts.append(data)
        return b"".join(parts)


duplicate = os.dup


def too_many(fd: int) -> int:
    """Fail where there is no descriptor for a connection; a server that has none to accept with pauses, at any time."""
    sock = socket.socket(fileno=fd)
    listens = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    sock.detach()
    if listens:
        return duplicate(fd)
    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


class TestSlowClients:
    SIZE = 50 << 20

    @pytest.fixture
    def large(self, tmp_path: Path) -> Path:
        path = tmp_path / "large"
        with path.open("wb") as file:
            file.truncate(self.SIZE)
            file.seek(self.SIZE - 3)
            file.write(b"end")
        return path

    def test_waits_for_the_client(self, serve: support.Serve, large: Path) -> None:
        """While one client takes nothing, others are served; then it gets all of its file."""

        async def app(scope: Any, receive: Any, send: Any) -> None:
            if scope["path"] == "/file":
                await send(START)
                await send(pathsend(str(large)))
            else:
                await respond(send, b"here")

        running = serve(app)
        slow = Slow(running)
        slow.socket.sendall(get("/file", "Connection: close"))
        assert running.fetch("/other")[2] == b"here"
        answer = slow.read()
        head, _, content = answer.partition(b"\r\n\r\n")
        assert b"content-length: %d" % self.SIZE in head
        assert (len(content), content[-3:]) == (self.SIZE, b"end")
        slow.socket.close()

    def test_client_that_goes_away(self, serve: support.Serve, large: Path) -> None:
        done = threading.Event()
        errors: list[Raised] = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await send(START)
            try:
                await send(pathsend(str(large)))
            except OSError as error:
                errors.append(Raised(type(error), str(error)))
            finally:
                done.set()

        slow = Slow(serve(app, disconnect="raise"))
        slow.socket.sendall(get())
        slow.socket.recv(100)
        slow.socket.close()
        assert done.wait(60)
        assert errors[0].kind.__name__ == "ClientDisconnected"

    def test_cancelled(self, serve: support.Serve, large: Path) -> None:
        """An application that gives up leaves a response that is broken off, and nothing may be sent after it."""
        sent: list[str] = []
        gate = Gate()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await send(START)
            task = asyncio.ensure_future(send(pathsend(str(large))))
            await gate.wait()
            with pytest.raises(RuntimeError, match="while a file is being sent"):
                await send(body(b"x"))
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            try:
                await send(body(b"x"))
            except RuntimeError as error:
                sent.append(str(error))

        slow = Slow(serve(app))
        slow.socket.sendall(get())
        slow.socket.recv(100)
        gate.open()
        assert len(slow.read()) < self.SIZE
        assert "while a file is being sent" in sent[0]
        slow.socket.close()

    def test_no_progress_is_given_up(self, serve: support.Serve, large: Path) -> None:
        gone = threading.Event()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await send(START)
            try:
                await send(pathsend(str(large)))
            except OSError:
                gone.set()

        slow = Slow(serve(app, timeout_write=0.1, disconnect="raise"))
        slow.socket.sendall(get())
        assert gone.wait(60)
        slow.socket.close()

    def test_no_descriptor_is_left_to_wait_with(
        self, serve: support.Serve, large: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        size = 5 << 20  # more than is sent in one go
        os.truncate(large, size)
        running = serve(sends(START, pathsend(str(large))))
        monkeypatch.setattr(os, "dup", too_many)
        content = running.request(get("/", "Connection: close")).partition(b"\r\n\r\n")[2]
        assert content == bytes(size)

    def test_no_progress_without_a_descriptor_is_given_up(
        self, serve: support.Serve, large: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        raised: queue.Queue[OSError] = queue.Queue()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await send(START)
            try:
                await send(pathsend(str(large)))
            except OSError as error:
                raised.put(error)

        slow = Slow(serve(app, timeout_write=0.1, disconnect="raise"))
        monkeypatch.setattr(os, "dup", too_many)
        slow.socket.sendall(get())
        assert type(raised.get(timeout=60)) is ClientDisconnected
        slow.socket.close()

    def test_file_that_shrinks(self, serve: support.Serve, log: Log, large: Path) -> None:
        slow = Slow(serve(sends(START, pathsend(str(large)))))
        slow.socket.sendall(get())
        slow.socket.recv(100)
        os.truncate(large, 1000)
        assert len(slow.read()) < self.SIZE
        slow.socket.close()
        assert any("Exception in ASGI application" in line for line in log())


def test_files_are_closed(client: Connect, file: Path) -> None:
    connected = client(sends(START, pathsend(str(file))))
    for _ in range(5):
        connected.ask(get())
    connected.ask(b"GET / HTTP/1.0\r\n\r\n")
    assert connected.at_end()
    descriptors = Path("/proc/self/fd").iterdir()
    assert not [fd for fd in descriptors if fd.is_symlink() and fd.resolve() == file.resolve()]
