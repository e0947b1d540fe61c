"""WSGIMiddleware on any ASGI server: scopes and messages in, messages out."""

from __future__ import annotations

import asyncio
import contextvars
import gzip
import io
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import support
from core.responses import Client
from fakes.worker import get, post

from fastserve.middleware.wsgi import WSGIMiddleware
from fastserve.wsgi.threads import Threads

SECONDS = support.PATIENCE

Environ = dict[str, Any]


def scope_of(**more: Any) -> dict[str, Any]:
    scope = {"type": "http", "http_version": "1.1", "method": "GET", "path": "/", "raw_path": b"/", "headers": []}
    return {**scope, "scheme": "http", "query_string": b"", "server": ("host", 80), "client": ("peer", 5), **more}


def exchange(app: Any, scope: dict[str, Any], received: Iterable[dict[str, Any]] = ()) -> list[dict[str, Any]]:
    """Return what the application sends, for these messages of the client's."""
    sent: list[dict[str, Any]] = []
    messages = iter(received)

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(0)
        return next(messages)

    async def send(message: dict[str, Any]) -> None:
        await asyncio.sleep(0)
        sent.append(dict(message))

    async def main() -> None:
        await asyncio.wait_for(app(scope, receive, send), SECONDS)

    try:
        asyncio.run(main())
    finally:
        app.close()
    return sent


def threads_of(middleware: WSGIMiddleware) -> Threads:
    assert middleware.threads is not None
    return middleware.threads


def echo(environ: Environ, start_response: Any) -> list[bytes]:
    start_response("200 OK", [("A", "1")])
    return [environ["wsgi.input"].read()]


HEAD = {"type": "http.response.start", "status": 200, "headers": [(b"a", b"1")]}


@pytest.mark.parametrize("workers", [1, 0])
def test_a_request_without_a_body_receives_nothing(workers: int) -> None:
    sent = exchange(WSGIMiddleware(echo, workers), scope_of())
    assert sent == [HEAD, {"type": "http.response.body", "body": b"", "more_body": False}]


@pytest.mark.parametrize("workers", [1, 0])
@pytest.mark.parametrize("header", [(b"content-length", b"4"), (b"transfer-encoding", b"chunked")])
def test_a_body_is_received_in_its_messages(header: tuple[bytes, bytes], workers: int) -> None:
    messages: list[dict[str, Any]] = [
        {"type": "http.request", "body": b"ab", "more_body": True},
        {"type": "http.request", "more_body": True},
        {"type": "http.request", "body": b"cd"},
    ]
    sent = exchange(WSGIMiddleware(echo, workers), scope_of(headers=[header]), messages)
    assert sent == [HEAD, {"type": "http.response.body", "body": b"abcd", "more_body": False}]


def test_lifespan_is_answered() -> None:
    messages = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    sent = exchange(WSGIMiddleware(echo), {"type": "lifespan"}, messages)
    assert sent == [{"type": "lifespan.startup.complete"}, {"type": "lifespan.shutdown.complete"}]


def test_websockets_are_refused() -> None:
    sent = exchange(WSGIMiddleware(echo), {"type": "websocket"}, [{"type": "websocket.connect"}])
    assert sent == [{"type": "websocket.close"}]


def test_uvicorns_arguments() -> None:
    assert threads_of(WSGIMiddleware(echo)).most == 10
    assert threads_of(WSGIMiddleware(echo, workers=3)).most == 3
    assert threads_of(WSGIMiddleware(echo, 4)).most == 4
    assert WSGIMiddleware(echo, 0).threads is None
    with pytest.raises(ValueError, match="the number of threads must be at least 0, not -1"):
        WSGIMiddleware(echo, -1)


def test_each_loop_hears_of_its_own_requests() -> None:
    app = WSGIMiddleware(echo)
    for _ in range(3):
        assert exchange(app, scope_of())[0] == HEAD


@pytest.mark.parametrize("workers", [1, 0])
def test_context_variables_go_along_and_stay_apart(workers: int) -> None:
    user: contextvars.ContextVar[str] = contextvars.ContextVar("user", default="nobody")
    seen = []

    def app(environ: Environ, start_response: Any) -> list[bytes]:
        seen.append(user.get())
        user.set("set by the application")
        return echo(environ, start_response)

    inner = WSGIMiddleware(app, workers)

    class Outer:
        close = inner.close

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            user.set(scope["user"])
            await inner(scope, receive, send)
            seen.append(user.get())

    exchange(Outer(), scope_of(user="alice"))
    exchange(Outer(), scope_of(user="bob"))
    assert seen == ["alice", "alice", "bob", "bob"]


def test_an_application_that_ends_while_its_first_piece_is_sent() -> None:
    def app(environ: Environ, start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", [])
        yield b"first"
        assert sending.wait(SECONDS)
        yield b"second"

    middleware = WSGIMiddleware(app, workers=1)
    sending = threading.Event()
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sending.set()
        after = threading.Event()
        threads_of(middleware).submit(after.set, asyncio.get_running_loop())
        assert after.wait(SECONDS)  # the one thread has come to the end of its call
        sent.append(message.get("body"))

    async def main() -> None:
        async def receive() -> Any:
            raise AssertionError("there is nothing to receive")

        await asyncio.wait_for(middleware(scope_of(), receive, send), SECONDS)

    asyncio.run(main())
    middleware.close()
    assert sent == [None, b"first", b"second", b""]


def test_an_application_that_goes_on_after_its_task_was_cancelled() -> None:
    """What waits for the event loop fails; the end is told to nobody, and the thread takes the next request."""
    began, go, done = threading.Event(), threading.Event(), threading.Event()
    raised: list[str] = []

    def app(environ: Environ, start_response: Any) -> list[bytes]:
        began.set()
        assert go.wait(SECONDS)
        try:
            environ["wsgi.input"].read()
        except OSError as exc:
            raised.append(type(exc).__name__)
        done.set()
        return []

    middleware = WSGIMiddleware(app)

    async def main() -> None:
        async def never() -> Any:
            await asyncio.Event().wait()

        scope = scope_of(headers=[(b"content-length", b"4")])
        task = asyncio.ensure_future(middleware(scope, never, lambda message: never()))
        assert await asyncio.get_running_loop().run_in_executor(None, began.wait, SECONDS)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    go.set()
    assert done.wait(SECONDS)
    assert raised == ["ClientDisconnected"]
    middleware.close()


class TestFileWrapper:
    CONTENT = bytes(range(256)) * 2000

    def app(self, made: list[Any], headers: list[tuple[str, str]], skip: int = 0) -> Callable[..., Any]:
        def app(environ: Environ, start_response: Any) -> Any:
            start_response("200 OK", list(headers))
            file = made[0]
            file.seek(skip)
            return environ["wsgi.file_wrapper"](file, 8192)

        return app

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        path = tmp_path / "file"
        path.write_bytes(self.CONTENT)
        return path

    @pytest.mark.parametrize("threads", [1, 0])
    @pytest.mark.parametrize("skip", [0, 1000, 256 * 2000])
    def test_over_a_connection(self, serve: support.Serve, path: Path, skip: int, threads: int) -> None:
        with path.open("rb") as file:
            server = serve(self.app([file], [], skip), interface="wsgi", wsgi_threads=threads)
            assert Client(server.connect()).ask(get()).body == self.CONTENT[skip:]
            server.stop()
            assert file.closed

    @pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="this system has no /proc")
    def test_a_file_that_has_no_size(self, serve: support.Serve) -> None:
        with Path("/proc/self/status").open("rb") as file:
            server = serve(self.app([file], []), interface="wsgi")
            assert b"Threads:" in Client(server.connect()).ask(get()).body

    def test_what_is_no_file(self, serve: support.Serve) -> None:
        server = serve(self.app([io.BytesIO(self.CONTENT)], []), interface="wsgi")
        assert Client(server.connect()).ask(get()).body == self.CONTENT

    @pytest.mark.parametrize("workers", [1, 0])
    @pytest.mark.parametrize(("length", "count"), [(None, 512000 - 7), (1000, 1000)])
    def test_the_server_sends_it_where_it_can(self, path: Path, length: int | None, count: int, workers: int) -> None:
        file = path.open("rb")
        headers = [] if length is None else [("Content-Length", str(length))]
        scope = scope_of(extensions={"http.response.zerocopysend": {}})
        sent = exchange(WSGIMiddleware(self.app([file], headers, 7), workers, outermost=True), scope)
        assert sent == [
            {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % count)]},
            {"type": "http.response.zerocopysend", "file": file, "offset": 7, "count": count, "more_body": False},
        ]
        assert file.closed

    @pytest.mark.parametrize(
        ("wrapped", "sendfile", "read"), [(False, False, False), (True, False, True), (True, True, False)]
    )
    def test_a_file_is_read_where_middleware_sees_bodies(
        self, serve: support.Serve, path: Path, wrapped: bool, sendfile: bool, read: bool
    ) -> None:
        file = path.open("rb")
        shared = os.dup(file.fileno())  # it has the file's position
        inner = WSGIMiddleware(self.app([file], []))

        async def app(scope: Any, receive: Any, send: Any) -> None:
            async def passing_on(message: Any) -> None:
                await send(message)

            await inner(scope, receive, passing_on if wrapped else send)

        assert Client(serve(app, sendfile=sendfile).connect()).ask(get()).body == self.CONTENT
        assert (os.lseek(shared, 0, os.SEEK_CUR) > 0) is read
        os.close(shared)
        inner.close()

    @pytest.mark.parametrize("workers", [1, 0])
    def test_a_file_shorter_than_its_length_is_an_error_of_the_servers_to_find(self, path: Path, workers: int) -> None:
        file = path.open("rb")
        sent = exchange(
            WSGIMiddleware(self.app([file], [("Content-Length", "600000")]), workers, outermost=True),
            scope_of(extensions={"http.response.zerocopysend": {}}),
        )
        assert [message.get("more_body") for message in sent] == [None, True, False]
        assert sent[1]["count"] == 512000
        assert sent[2]["body"] == b""

    @pytest.mark.parametrize("buffered", [False, True])
    def test_what_reads_otherwise_than_its_descriptor_goes_in_pieces(self, tmp_path: Path, buffered: bool) -> None:
        """The descriptor of an unpacked file is that of the packed one."""
        path = tmp_path / "packed"
        path.write_bytes(gzip.compress(self.CONTENT))
        file: Any = gzip.GzipFile(path)  # the response closes it
        scope = scope_of(extensions={"http.response.zerocopysend": {}})
        app = self.app([io.BufferedReader(file) if buffered else file], [])
        sent = exchange(WSGIMiddleware(app, outermost=True), scope)
        assert b"".join(message.get("body", b"") for message in sent) == self.CONTENT
        assert file.closed

    def test_what_has_no_descriptor_goes_in_pieces(self) -> None:
        scope = scope_of(extensions={"http.response.zerocopysend": {}})
        sent = exchange(WSGIMiddleware(self.app([io.BytesIO(self.CONTENT)], []), outermost=True), scope)
        assert b"".join(message.get("body", b"") for message in sent) == self.CONTENT

    def test_an_empty_file(self, tmp_path: Path) -> None:
        (tmp_path / "empty").touch()
        with (tmp_path / "empty").open("rb") as file:
            scope = scope_of(extensions={"http.response.zerocopysend": {}})
            sent = exchange(WSGIMiddleware(self.app([file], []), outermost=True), scope)
        assert sent[1:] == [{"type": "http.response.body", "body": b"", "more_body": False}]


@pytest.mark.parametrize("threads", [2, 0])
def test_below_an_asgi_application(serve: support.Serve, threads: int) -> None:
    """Mounted, behind a receive() that is not the server's own."""
    inner = WSGIMiddleware(echo, threads)

    async def outer(scope: Any, receive: Any, send: Any) -> None:
        async def observed() -> Any:
            return await receive()

        await inner({**scope, "root_path": "/inner"}, observed, send)

    connected = Client(serve(outer).connect())
    assert connected.ask(post(b"body", path="/inner/x")).body == b"body"
    assert connected.ask(get("/inner")).body == b""
    inner.close()


@pytest.mark.parametrize("http", ["auto", "h11"])
@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize(("reads", "threads"), [(True, 2), (False, 2), (False, 0)])
def test_clients_that_leave_a_mounted_application(
    serve: support.Serve, caplog: pytest.LogCaptureFixture, http: str, how: str, reads: bool, threads: int
) -> None:
    """More of them than threads: each thread comes free, and nothing around the application hears of an error."""
    raised: list[str] = []
    closed = threading.Semaphore(0)

    class Pieces:
        def __iter__(self) -> Pieces:
            return self

        def __next__(self) -> bytes:
            return b"x" * 1000

        def close(self) -> None:
            closed.release()

    def application(environ: Environ, start_response: Any) -> Any:
        write = start_response("200 OK", [])
        if environ["PATH_INFO"] == "/last":
            return [b"last"]
        if reads:
            write(b"begun")
            try:
                environ["wsgi.input"].read()
            finally:
                closed.release()
        return Pieces()

    mounted = WSGIMiddleware(application, threads)

    async def around(scope: Any, receive: Any, send: Any) -> None:
        try:
            await mounted(scope, receive, send)
        except BaseException as error:
            raised.append(type(error).__name__)
            raise

    running = serve(around, http=http)
    for _ in range(4):
        connected = Client(running.connect())
        connected.send(post(b"all of it")[:-1] if reads else get())
        connected.read_until(b"begun" if reads else b"xxx")
        if how == "reset":
            connected.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connected.close()
        assert closed.acquire(timeout=SECONDS)
    assert Client(running.connect()).ask(get("/last")).body == b"last"
    running.stop()
    mounted.close()
    assert raised == []
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []
