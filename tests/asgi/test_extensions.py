"""The items of the ASGI checklist on extensions of HTTP responses (9, 35, 66 to 70)."""

from __future__ import annotations

import asyncio
import http.client
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
import support
from asgi.gates import Gate
from core.fakes import get, respond
from core.responses import Client

Connect = Callable[..., Client]
Log = Callable[[], list[str]]
START = {"type": "http.response.start", "status": 200}
CONTENT = bytes(range(256)) * 2000  # more than a block of the fallback, and than a socket takes at once


def body(data: bytes, more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, "more_body": more}


def start(*headers: tuple[bytes, bytes], status: int = 200, trailers: bool = False) -> dict[str, Any]:
    return {"type": "http.response.start", "status": status, "headers": headers, "trailers": trailers}


def pathsend(path: Any) -> dict[str, Any]:
    return {"type": "http.response.pathsend", "path": path}


def zerocopysend(file: Any, **fields: Any) -> dict[str, Any]:
    return {"type": "http.response.zerocopysend", "file": file, **fields}


def trailers(*headers: tuple[bytes, bytes], more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.trailers", "headers": headers, "more_trailers": more}


def hint(*links: Any) -> dict[str, Any]:
    return {"type": "http.response.early_hint", "links": links}


def sends(*messages: Any) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        for message in messages:
            await send(message)

    return app


class Raised(NamedTuple):
    """An exception, without the frames that its traceback would keep alive."""

    kind: type
    text: str


def raised_by(*messages: Any) -> tuple[Any, list[Raised]]:
    """An application that sends these, and keeps what the one that is refused raises."""
    errors: list[Raised] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            for message in messages:
                await send(message)
        except Exception as error:
            errors.append(Raised(type(error), str(error)))
            raise

    return app, errors


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "content"
    path.write_bytes(CONTENT)
    return path


def test_item_9_what_is_offered(client: Connect) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert all(value == {} for value in scope["extensions"].values())
        scope["extensions"]["of.the.application"] = {}
        await respond(send, " ".join(scope["extensions"]).encode())

    connected = client(app)
    always = b"http.response.early_hint http.response.pathsend http.response.zerocopysend"
    assert connected.ask(get()).body == always + b" of.the.application"
    asked = connected.ask(get("/", "TE: gzip;q=0.5, Trailers")).body
    assert asked == always + b" http.response.trailers of.the.application"
    assert connected.ask(b"GET / HTTP/1.0\r\nTE: trailers\r\n\r\n").body == (
        b"http.response.pathsend http.response.zerocopysend of.the.application"
    )


@pytest.mark.parametrize("kind", ["http.response.push", "http.response.debug", "http.response.trailers"])
def test_items_65_and_70_not_offered(client: Connect, log: Log, kind: str) -> None:
    app, errors = raised_by(START, {"type": kind, "path": "/", "headers": []})
    assert client(app).ask(get()).status == 500
    assert errors[0].text == f"Expected ASGI message 'http.response.body', but got '{kind}'."
    log()


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

    @pytest.mark.parametrize(
        ("path", "error"),
        [("content", ValueError), (b"/content", ValueError), ("/nowhere/at/all", FileNotFoundError), ("/", ValueError)],
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
        """The application closes its file behind send(): it must not be needed any more."""

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
        self.socket.settimeout(10)
        self.socket.connect((running.host, running.port))

    def read(self) -> bytes:
        parts = []
        while data := self.socket.recv(1 << 20):
            parts.append(data)
        return b"".join(parts)


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

        slow = Slow(serve(app))
        slow.socket.sendall(get())
        slow.socket.recv(100)
        slow.socket.close()
        assert done.wait(10)
        assert errors[0].kind.__name__ == "ClientDisconnected"

    def test_cancelled(self, serve: support.Serve, large: Path) -> None:
        """An application that gives up leaves a response that is broken off, and nothing may be sent behind it."""
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

        slow = Slow(serve(app, timeout_write=0.1))
        slow.socket.sendall(get())
        assert gone.wait(10)
        slow.socket.close()

    def test_file_that_shrinks(self, serve: support.Serve, log: Log, large: Path) -> None:
        slow = Slow(serve(sends(START, pathsend(str(large)))))
        slow.socket.sendall(get())
        slow.socket.recv(100)
        os.truncate(large, 1000)
        assert len(slow.read()) < self.SIZE
        slow.socket.close()
        assert any("Exception in ASGI application" in line for line in log())


class TestEarlyHint:
    def raw(self, connected: Client) -> bytes:
        connected.send(get("/", "Connection: close"))
        return connected.rest()

    def test_item_68_before_the_final_head(self, client: Connect) -> None:
        messages = (
            START,
            hint(b"</a.css>; rel=preload", bytearray(b"</b.js>; rel=preload")),
            hint(b"</c>"),
            body(b"x"),
        )
        interim, more, head, content = self.raw(client(sends(*messages))).split(b"\r\n\r\n")
        assert interim == b"HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\nlink: </b.js>; rel=preload"
        assert more == b"HTTP/1.1 103 Early Hints\r\nlink: </c>"
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        assert content == b"x"

    def test_item_68_before_the_start(self, client: Connect) -> None:
        parts = self.raw(client(sends(hint(b"</a>"), START, body(b"x")))).split(b"\r\n\r\n")
        assert parts[0] == b"HTTP/1.1 103 Early Hints\r\nlink: </a>"
        assert len(parts) == 3

    def test_item_68_leaves_at_once(self, client: Connect) -> None:
        gate = Gate()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await send(hint(b"</a>"))
            await gate.wait()
            await respond(send, b"x")

        connected = client(app)
        connected.send(get())
        assert connected.read_until(b"\r\n\r\n") == b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"
        gate.open()
        assert connected.read().body == b"x"

    def test_item_68_not_behind_the_head(self, client: Connect) -> None:
        assert b"103" not in self.raw(client(sends(START, body(b"x", True), hint(b"</a>"), body(b"y"))))

    def test_item_68_not_to_http_1_0(self, client: Connect) -> None:
        connected = client(sends(START, hint(b"</a>"), body(b"x")))
        assert connected.ask(b"GET / HTTP/1.0\r\n\r\n").body == b"x"

    def test_item_68_real_client(self, serve: support.Serve) -> None:
        response = httpx.get(serve(sends(START, hint(b"</a>"), body(b"x"))).url)
        assert (response.status_code, response.content) == (200, b"x")

    @pytest.mark.parametrize("link", [b"</a>\r\nx: y", b"a\n", b"\0", "</a>"])
    def test_item_68_wrong_links_are_500(self, client: Connect, log: Log, link: Any) -> None:
        app, errors = raised_by(START, hint(link))
        connected = client(app)
        assert connected.ask(get()).status == 500
        assert errors[0].kind in (ValueError, TypeError)
        log()


TE = "TE: trailers"


class TestTrailers:
    def raw(self, connected: Client, *fields: str, method: str = "GET") -> bytes:
        connected.send(get("/", "Connection: close", *fields, method=method))
        return connected.rest()

    @pytest.mark.parametrize(
        "bodies", [[body(b"hello")], [body(b"he", True), body(b"llo")], [body(b"hello", True), body(b"")]]
    )
    def test_items_35_and_69(self, client: Connect, bodies: list[Any]) -> None:
        app = sends(start((b"trailer", b"digest"), trailers=True), *bodies, trailers((b"Digest", b"abc")))
        answer = self.raw(client(app), TE)
        assert b"transfer-encoding: chunked\r\n" in answer
        assert answer.endswith(b"\r\n0\r\ndigest: abc\r\n\r\n")

    def test_item_69_in_several_messages(self, client: Connect) -> None:
        messages = (trailers((b"a", b"1"), more=True), trailers((b"b", b"2"), (b"b", b"3"), more=True), trailers())
        answer = self.raw(client(sends(start(trailers=True), body(b"x"), *messages)), TE)
        assert answer.endswith(b"\r\n0\r\na: 1\r\nb: 2\r\nb: 3\r\n\r\n")

    def test_item_69_real_client_goes_on(self, serve: support.Serve) -> None:
        """http.client reads a trailer section and keeps the connection."""
        running = serve(sends(start(trailers=True), body(b"x"), trailers((b"a", b"1"))))
        connection = http.client.HTTPConnection(running.host, running.port, timeout=5)
        for _ in range(3):
            connection.request("GET", "/", headers={"TE": "trailers"})
            assert connection.getresponse().read() == b"x"
        connection.close()

    def test_item_69_not_asked_for(self, client: Connect) -> None:
        answer = self.raw(client(sends(start(trailers=True), body(b"x"), trailers((b"a", b"1")))))
        assert answer.endswith(b"\r\n\r\n1\r\nx\r\n0\r\n\r\n")

    def test_item_69_with_content_length(self, client: Connect) -> None:
        """There is no place for trailers behind a body of known length."""
        app = sends(start((b"content-length", b"1"), trailers=True), body(b"x"), trailers((b"a", b"1")))
        connected = client(app)
        for _ in range(2):
            assert connected.ask(get("/", TE)).body == b"x"

    def test_item_69_head_and_http_1_0(self, client: Connect) -> None:
        app = sends(start(trailers=True), body(b"x"), trailers((b"a", b"1")))
        assert self.raw(client(app), TE, method="HEAD").endswith(b"\r\n\r\n")
        assert client(app).ask(b"GET / HTTP/1.0\r\nTE: trailers\r\n\r\n").body == b"x"

    def test_item_35_the_response_waits_for_them(self, client: Connect) -> None:
        gate = Gate()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await send(start(trailers=True))
            await send(body(b"x"))
            await gate.wait()
            await send(trailers((b"a", b"1")))

        connected = client(app)
        connected.send(get("/", TE))
        connected.read_until(b"\r\n\r\n1\r\nx\r\n")
        gate.open()
        assert connected.read_until(b"a: 1\r\n\r\n") == b"0\r\na: 1\r\n\r\n"
        connected.send(get("/", TE))
        assert connected.read_until(b"a: 1\r\n\r\n").startswith(b"HTTP/1.1 200 OK\r\n")

    def test_item_35_never_sent(self, client: Connect, log: Log) -> None:
        answer = self.raw(client(sends(start(trailers=True), body(b"x"))), TE)
        assert answer.endswith(b"1\r\nx\r\n")
        assert log() == ["ERROR ASGI callable returned without completing response."]

    def test_item_69_behind_a_file(self, client: Connect, file: Path) -> None:
        app = sends(start(trailers=True), pathsend(str(file)), trailers((b"a", b"1")))
        assert self.raw(client(app), TE).endswith(CONTENT + b"\r\n0\r\na: 1\r\n\r\n")

    @pytest.mark.parametrize(
        "field",
        [
            (b"content-length", b"1"),
            (b"Transfer-Encoding", b"x"),
            (b"a b", b""),
            (b"", b""),
            (b"a", b"1\r\nb: 2"),
            (b":a", b""),
        ],
    )
    def test_item_69_wrong_fields_break_off(self, client: Connect, log: Log, field: Any) -> None:
        app, errors = raised_by(start(trailers=True), body(b"x"), trailers((b"good", b"1"), field))
        assert self.raw(client(app), TE).endswith(b"1\r\nx\r\n")
        assert errors[0].kind is ValueError
        log()

    def test_item_35_not_a_body_again(self, client: Connect, log: Log) -> None:
        app, errors = raised_by(start(trailers=True), body(b"x"), body(b"y"))
        self.raw(client(app), TE)
        assert errors[0].text == "Expected ASGI message 'http.response.trailers', but got 'http.response.body'."
        log()


def test_files_are_closed(client: Connect, file: Path) -> None:
    connected = client(sends(START, pathsend(str(file))))
    for _ in range(5):
        connected.ask(get())
    connected.ask(b"GET / HTTP/1.0\r\n\r\n")
    assert connected.at_end()
    descriptors = Path("/proc/self/fd").iterdir()
    assert not [fd for fd in descriptors if fd.is_symlink() and fd.resolve() == file.resolve()]
