"""Server as programs use it: in a thread, in a loop of their own, subclassed, patched, watched."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import support
import uvicorn

import fastserve
from fastserve.server import Server, ServerState

Log = Callable[[], list[str]]

REQUEST = b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"


async def app(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
    await send({"type": "http.response.body", "body": b"hello"})


def config(application: Any = app, **given: Any) -> fastserve.Config:
    return fastserve.Config(application, **{"log_config": None, "port": 0, "lifespan": "off", **given})


async def ask(port: int, request: bytes = REQUEST) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    try:
        return await asyncio.wait_for(reader.read(), support.PATIENCE)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


@pytest.mark.parametrize("application", [app, "test_server:app"])
def test_reload_without_a_parent_is_not_silent(serve: support.Serve, log: Log, application: Any) -> None:
    serve(application, reload=True).stop()
    assert "WARNING Not watching for changes: reload needs fastserve.run() or the command." in log()


class InLoop(Server):
    """A server that tells the tasks of its own loop when it listens."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self.listens.set()

    async def start(self) -> asyncio.Future[None]:
        """Begin to serve, and return the running serve() once the server listens."""
        self.listens = asyncio.Event()
        serving = asyncio.ensure_future(self.serve())
        await asyncio.wait_for(self.listens.wait(), support.PATIENCE)
        return serving


def port_of(server: Server) -> int:
    port: int = server.servers[0].sockets[0].getsockname()[1]
    return port


def test_thread_started_should_exit() -> None:
    """The idiom of test suites: a thread, started to see that it listens, should_exit to stop it."""
    server = Server(config())
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        thread.join(0.01)
        assert thread.is_alive()
    with socket.create_connection(("127.0.0.1", port_of(server)), timeout=60) as client:
        client.sendall(REQUEST)
        assert support.read_all(client).endswith(b"hello")
    server.should_exit = True
    thread.join(60)
    assert not thread.is_alive()


@pytest.mark.parametrize("own_loop", ["uvloop", "asyncio"])
def test_serve_in_an_existing_loop(own_loop: str) -> None:
    """Also where the program names the loop that it runs, as many do."""

    async def main() -> bytes:
        server = InLoop(config(loop=asyncio.get_running_loop()))
        serving = await server.start()
        answer = await ask(port_of(server))
        server.should_exit = True
        await serving
        return answer

    new_loop = pytest.importorskip("uvloop").new_event_loop if own_loop == "uvloop" else asyncio.new_event_loop
    assert fastserve.loops.running.run(main, new_loop).endswith(b"hello")


def test_two_servers_in_one_loop() -> None:
    async def main() -> None:
        servers = [InLoop(config()), InLoop(config())]
        serving = [await server.start() for server in servers]
        for server in servers:
            assert (await ask(port_of(server))).endswith(b"hello")
        servers[0].should_exit = True
        await serving[0]
        assert (await ask(port_of(servers[1]))).endswith(b"hello")
        servers[1].should_exit = True
        await serving[1]

    asyncio.run(main())


def test_cancelled_serve_stops_as_it_should(log: Log) -> None:
    """Cancelling serve() closes the listener and ends the lifespan before the cancellation goes on."""

    async def main() -> None:
        server = InLoop(config())
        serving = await server.start()
        port = port_of(server)
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving
        with pytest.raises(OSError, match="onnect"):
            await ask(port)

    asyncio.run(main())
    assert log()[-2:] == ["INFO Shutting down", f"INFO Finished server process [{os.getpid()}]"]


@pytest.mark.parametrize("package", [fastserve, uvicorn])
def test_without_a_port(package: Any) -> None:
    """None is any port, and for programs that bind elsewhere no port at all."""
    made = package.Config(app, port=None, log_config=None, log_level="critical", lifespan="off")
    assert made.port is None
    server = package.Server(made)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            thread.join(0.01)
            assert thread.is_alive()
        address = server.servers[0].sockets[0].getsockname()
        with socket.create_connection(address, timeout=support.PATIENCE) as client:
            client.sendall(REQUEST)
            assert support.read_all(client).endswith(b"hello")
    finally:
        server.should_exit = True
        thread.join(support.PATIENCE)


def test_sockets_of_the_caller(serve: support.Serve) -> None:
    """Bound sockets are listened on, and closed at the end; the running line is left to who bound them."""
    sockets = [config().bind_socket(), config().bind_socket()]
    addresses = [sock.getsockname() for sock in sockets]
    server = Server(config())
    thread = threading.Thread(target=server.run, kwargs={"sockets": sockets})
    thread.start()
    try:
        while not server.started:
            thread.join(0.01)
            assert thread.is_alive()
        for address in addresses:
            with socket.create_connection(address, timeout=60) as client:
                client.sendall(REQUEST)
                assert support.read_all(client).endswith(b"hello")
    finally:
        server.should_exit = True
        thread.join(60)
    assert [sock.fileno() for sock in sockets] == [-1, -1]


def test_sockets_of_the_caller_that_cannot_listen(log: Log) -> None:
    """Those that already listened are closed as well as those that did not."""
    sockets = [config().bind_socket() for _ in range(3)]
    port = sockets[0].getsockname()[1]
    sockets[1].close()
    with pytest.raises(SystemExit) as caught:
        Server(config(loop="asyncio")).run(sockets=sockets)
    assert caught.value.code == 3
    assert [sock.fileno() for sock in sockets] == [-1, -1, -1]
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=60)
    assert log()[-1].startswith("ERROR [Errno ")


def test_running_line_is_left_to_who_bound_the_sockets(log: Log) -> None:
    sock = config().bind_socket()
    server = Server(config())
    server.should_exit = True
    server.run(sockets=[sock])
    assert sum("running on" in line for line in log()) == 1


def test_subclass_that_overrides_startup_and_shutdown() -> None:
    events: list[str] = []

    class Mine(support.EventServer):
        def install_signal_handlers(self) -> None:
            """Of a time when servers had such a method; never called."""
            events.append("signal handlers")

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            events.append("before startup")
            await super().startup(sockets=sockets)
            events.append(f"started {self.started}")

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            events.append("before shutdown")
            await super().shutdown(sockets=sockets)
            events.append("after shutdown")

        async def on_tick(self, counter: int) -> bool:
            if counter == 0:
                events.append("tick")
            return await super().on_tick(counter)

    with support.Running(Mine(config())).start() as running:
        assert running.request(REQUEST).endswith(b"hello")
    assert events == ["before startup", "started True", "tick", "before shutdown", "after shutdown"]


def test_subclass_from_before_signals_were_captured() -> None:
    """Programs of old override install_signal_handlers(), which nobody calls any more."""

    class Old(support.EventServer):
        def install_signal_handlers(self) -> None:
            raise AssertionError("it is not called")

    with support.serve(app, server_class=Old) as server:
        assert server.fetch()[2] == b"hello"


def test_patched_on_the_class(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    original = Server.startup

    async def startup(self: Server, sockets: list[socket.socket] | None = None) -> None:
        calls.append("startup")
        await original(self, sockets=sockets)

    monkeypatch.setattr(fastserve.Server, "startup", startup)
    server = Server(config())
    server.should_exit = True
    server.run()
    assert calls == ["startup"]


def test_startup_of_a_subclass_that_fails_after_listening() -> None:
    """What was started is stopped, and the error goes on."""

    class Failing(Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets=sockets)
            raise ZeroDivisionError

    server = Failing(config())
    with pytest.raises(ZeroDivisionError):
        server.run()
    assert not server.servers[0].is_serving()


def test_error_in_a_tick_stops_the_server(log: Log) -> None:
    class Failing(Server):
        async def on_tick(self, counter: int) -> bool:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Failing(config()).run()
    assert "INFO Shutting down" in log()


def test_unloaded_and_loaded_configuration() -> None:
    """Either is served; load() is for once."""
    loaded = config()
    loaded.load()
    for each in (loaded, config()):
        with support.Running(support.EventServer(each)).start() as running:
            assert running.request(REQUEST).endswith(b"hello")
        with pytest.raises(AssertionError):
            each.load()


def test_server_state_shows_what_goes_on() -> None:
    """Counts and sets are live, and there before the server has started."""
    gate = threading.Event()
    inside = threading.Event()

    async def waiting(scope: Any, receive: Any, send: Any) -> None:
        loop = asyncio.get_running_loop()
        loop.call_soon(inside.set)
        await loop.run_in_executor(None, gate.wait, support.PATIENCE)
        await app(scope, receive, send)

    server = support.EventServer(config(waiting, headers=[("X-Own", "1")]))
    state = server.server_state
    assert (state.total_requests, len(state.connections), len(state.tasks), state.default_headers) == (0, 0, 0, [])
    with support.Running(server).start() as running, running.connect() as client:
        client.sendall(REQUEST)
        assert inside.wait(60)
        assert (state.total_requests, len(state.connections), len(state.tasks)) == (1, 1, 1)
        date, *others = state.default_headers
        assert date[0] == b"date"
        assert re.fullmatch(rb"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", date[1])
        assert others == [(b"server", b"fastserve"), (b"x-own", b"1")]
        gate.set()
        assert support.read_all(client).endswith(b"hello")
    assert (state.total_requests, len(state.connections), len(state.tasks)) == (1, 0, 0)


def test_server_state_by_itself() -> None:
    state = ServerState()
    assert (state.total_requests, set(state.connections), set(state.tasks), state.default_headers) == (
        0,
        set(),
        set(),
        [],
    )


def test_callback_notify() -> None:
    """Called at once, then every timeout_notify seconds; an error in it stops the server."""
    calls: list[float] = []

    async def notify() -> None:
        calls.append(server.last_notified)
        server.should_exit = len(calls) == 2

    server = Server(config(callback_notify=notify, timeout_notify=0))
    server.run()
    assert len(calls) == 2
    assert 0 < calls[0] <= calls[1]


def test_callback_notify_waits_its_time() -> None:
    async def notify() -> None:
        raise AssertionError("too early")

    async def main() -> None:
        server = Server(config(callback_notify=notify, timeout_notify=1000))
        server.last_notified = time.time()
        assert not await server.on_tick(0)

    asyncio.run(main())


def test_limit_max_requests(log: Log) -> None:
    with support.Running(support.EventServer(config(limit_max_requests=1))).start() as running:
        running.request(REQUEST)
        running._thread.join(60)
        assert not running._thread.is_alive()
    assert "INFO Maximum request limit of 1 exceeded. Terminating process." in log()


def test_log_config_none_leaves_lines_to_the_program(capsys: pytest.CaptureFixture[str]) -> None:
    """Config(log_config=None): the root logger's handlers get the lines, access lines with uvicorn's five arguments."""
    records: list[logging.LogRecord] = []

    class Keeping(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record)

    handler = Keeping()
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    with support.Running(support.EventServer(config())).start() as running:
        running.request(b"GET /a?b HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
    access = [record for record in records if record.name == "fastserve.access"]
    assert [record.msg for record in access] == ['%s - "%s %s HTTP/%s" %d']
    assert isinstance(access[0].args, tuple)
    assert access[0].args[1:] == ("GET", "/a?b", "1.1", 200)
    assert "Shutting down" in [record.getMessage() for record in records]
    assert capsys.readouterr() == ("", "")


def test_lifecycle_lines_of_a_drained_connection(log: Log) -> None:
    """A response that is under way when the server is told to stop is finished, and the connection closed."""
    inside, gate = threading.Event(), threading.Event()

    async def waiting(scope: Any, receive: Any, send: Any) -> None:
        inside.set()
        await asyncio.get_running_loop().run_in_executor(None, gate.wait, support.PATIENCE)
        await app(scope, receive, send)

    class Watching(support.EventServer):
        async def _wait_tasks_to_complete(self) -> None:
            gate.set()
            await super()._wait_tasks_to_complete()

    running = support.Running(Watching(config(waiting))).start()
    with running.connect() as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
        assert inside.wait(60)
        running.server.should_exit = True
        answer = support.read_all(client)
    running.stop()
    assert answer.endswith(b"hello")
    assert b"\r\nconnection: close\r\n" in answer.lower()
    lines = [line for line in log() if "GET" not in line]
    assert lines[-3:] == [
        "INFO Shutting down",
        "INFO Waiting for connections to close. (CTRL+C to force quit)",
        f"INFO Finished server process [{os.getpid()}]",
    ]


def test_idle_connections_are_closed_without_a_word(log: Log) -> None:
    running = support.Running(support.EventServer(config())).start()
    with running.connect() as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
        assert client.recv(1) == b"H"
        running.server.should_exit = True
        assert support.read_all(client).endswith(b"hello")
    running.stop()
    assert not [line for line in log() if "Waiting" in line]


@pytest.mark.parametrize("timeout", [0, 0.05])
def test_timeout_graceful_shutdown(log: Log, timeout: float) -> None:
    """What is cancelled is counted, and shown where it stood; the lifespan's shutdown comes after it."""
    events: list[str] = []
    inside = threading.Event()

    async def stuck() -> None:
        await asyncio.Event().wait()

    async def application(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            events.append("shutdown")
            await send({"type": "lifespan.shutdown.complete"})
            return
        inside.set()
        try:
            await stuck()
        finally:
            for _ in range(1000):
                await asyncio.sleep(0)
            events.append("request ended")

    server = support.EventServer(config(application, timeout_graceful_shutdown=timeout, lifespan="on"))
    running = support.Running(server).start()
    with running.connect() as client:
        client.sendall(REQUEST)
        assert inside.wait(60)
        server.should_exit = True
        support.read_all(client)
    running.stop()
    assert events == ["request ended", "shutdown"]
    lines = log()
    at = lines.index("ERROR Cancel 1 running task(s), timeout graceful shutdown exceeded")
    assert re.fullmatch(
        r'ERROR Cancelled task \S+ was at:\n  File ".*test_server\.py", line \d+, in application\n    await stuck\(\)\n'
        r'(?s:.*)  File ".*test_server\.py", line \d+, in stuck\n(?s:.*)',
        lines[at + 1],
    )


def test_timeout_with_nothing_to_wait_for(log: Log) -> None:
    server = Server(config(timeout_graceful_shutdown=0))
    server.should_exit = True
    server.run()
    assert [line for line in log() if line.startswith("ERROR")] == []


def test_many_cancelled_tasks_are_not_all_shown(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastserve.serving.drain.SHOWN_TASKS", 1)
    arrived = threading.Semaphore(0)

    async def stuck(scope: Any, receive: Any, send: Any) -> None:
        arrived.release()
        await asyncio.Event().wait()

    running = support.Running(support.EventServer(config(stuck, timeout_graceful_shutdown=0.05))).start()
    with running.connect() as one, running.connect() as two:
        for client in (one, two):
            client.sendall(REQUEST)
            assert arrived.acquire(timeout=60)
        running.server.should_exit = True
        support.read_all(one)
    running.stop()
    lines = log()
    assert "ERROR Cancel 2 running task(s), timeout graceful shutdown exceeded" in lines
    assert sum(line.startswith("ERROR Cancelled task ") for line in lines) == 1


def test_forced_exit_from_another_thread() -> None:
    """force_exit ends the wait for a response that does not end, and skips the application's shutdown."""
    inside = threading.Event()
    events: list[str] = []

    async def stuck(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            events.append("shutdown")
            return
        inside.set()
        await asyncio.Event().wait()

    running = support.Running(support.EventServer(config(stuck, lifespan="on"))).start()
    with running.connect() as client:
        client.sendall(REQUEST)
        assert inside.wait(60)
        running.server.should_exit = True
        running.server.force_exit = True
        assert support.read_all(client) == b""
    running.stop()
    assert events == []
