"""The life of a server: its phases, uvicorn's attributes that follow from them, and that nothing told waits for a tick.

Ticks are 1000 seconds apart here: whatever waits for one does not end.
"""

from __future__ import annotations

import asyncio
import pickle
import signal
import socket
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest
import support
from garbage import assert_nothing_lives

import fastserve
from fastserve.server import Server
from fastserve.serving.life import Life, Phase

Log = Callable[[], list[str]]

REQUEST = b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"

posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")


@pytest.fixture(autouse=True)
def no_ticks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastserve.serving.life.TICK", 1000.0)


async def app(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
    await send({"type": "http.response.body", "body": b"hello"})


async def living(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] != "lifespan":
        await app(scope, receive, send)
        return
    for what in ("startup", "shutdown"):
        await receive()
        await send({"type": f"lifespan.{what}.complete"})


def config(application: Any = living, **given: Any) -> fastserve.Config:
    return fastserve.Config(application, **{"log_config": None, "port": 0, "lifespan": "on", **given})


class TestSignals:
    """To real processes."""

    pytestmark = posix

    @pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
    @pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, -signal.SIGTERM), (signal.SIGINT, 0)])
    def test_to_an_idle_server(self, start: support.StartCommand, loop: str, number: int, code: int) -> None:
        server = start("tickless", "--loop", loop, "--no-access-log")
        server.get()  # once it is answered, the server waits for its next tick
        assert server.stop(number) == code
        assert server.stdout == ["application: startup", "application: shutdown"]

    @pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
    def test_to_an_application_that_does_not_stop(self, start: support.StartCommand, loop: str) -> None:
        server = start("tickless_deaf", "--loop", loop)
        server.get()
        server.send_signal(signal.SIGINT)
        server.wait_line("application: stopping")
        server.send_signal(signal.SIGINT)
        assert server.wait() == 0

    @pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
    def test_to_a_server_that_lingers(self, start: support.StartCommand, loop: str) -> None:
        server = start("tickless", "--loop", loop, "--shutdown-delay", "900")
        server.get()
        server.send_signal(signal.SIGTERM)
        server.wait_line("Serving on for 900 s")
        assert server.stop(signal.SIGTERM) == -signal.SIGTERM


class TestFromAnotherThread:
    def test_force_exit_while_the_application_starts(self) -> None:
        starting = threading.Event()

        async def silent(scope: Any, receive: Any, send: Any) -> None:
            starting.set()
            await asyncio.Event().wait()

        server = Server(config(silent))
        thread = threading.Thread(target=server.run)
        thread.start()
        assert starting.wait(60)
        server.should_exit = True
        server.force_exit = True
        thread.join(60)
        assert not thread.is_alive()
        assert not server.started

    @pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
    def test_should_exit(self, loop: str) -> None:
        support.Running(support.EventServer(config(loop=loop))).start().stop()

    def test_retire_and_hasten(self, log: Log) -> None:
        running = support.Running(support.EventServer(config())).start()
        with running.connect() as client:
            client.sendall(REQUEST.replace(b"close", b"keep-alive"))
            support.read_until(client, b"hello")  # an idle client, that a server which retires waits for
            running.server.retire()
            running.server.hasten(2, False)
            running.join()
        assert "DEBUG Retiring: each response is the last of its connection." in log()


def test_phases(monkeypatch: pytest.MonkeyPatch) -> None:
    """In their order, with what uvicorn's attributes are in each."""
    seen: list[tuple[str, Phase, bool, bool]] = []

    class Noting(support.EventServer):
        def note(self, where: str) -> None:
            seen.append((where, self._life.phase, self.started, self.should_exit))

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            self.note("startup")
            await super().startup(sockets=sockets)

        async def on_tick(self, counter: int) -> bool:
            self.note("tick")
            self.should_exit = True
            return await super().on_tick(counter)

        async def _linger(self) -> None:
            await super()._linger()
            self.note("lingered")

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            await super().shutdown(sockets=sockets)
            self.note("shut down")

    monkeypatch.setattr("fastserve.serving.life.TICK", 0.01)
    server = Noting(config(shutdown_delay=0.01))
    server._captured_signals.append(signal.SIGTERM)  # shutdown_delay is for stops by a signal
    run_in_a_thread(server)
    server.note("end")
    assert seen == [
        ("startup", Phase.STARTING, False, False),
        ("tick", Phase.SERVING, True, False),
        ("lingered", Phase.LINGERING, True, True),
        ("shut down", Phase.DRAINING, True, True),
        ("end", Phase.STOPPED, True, True),
    ]


def run_in_a_thread(server: Server) -> None:
    """Run a server where it handles no signals."""
    thread = threading.Thread(target=server.run)
    thread.start()
    thread.join(60)
    assert not thread.is_alive()


def test_a_server_that_cannot_start_has_not_started() -> None:
    async def failing(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no"})

    server = Server(config(failing))
    with pytest.raises(SystemExit):
        server.run()
    assert (server.started, server._life.phase) == (False, Phase.STARTING)


def test_a_server_that_serves_again_starts_again() -> None:
    started: list[bool] = []

    class Noting(Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            started.append(self.started)
            await super().startup(sockets=sockets)
            self.should_exit = True

    server = Noting(config(lifespan="off"))
    server.run()
    server.should_exit = False
    server.run()
    assert started == [False, False]
    assert server._life.phase is Phase.STOPPED


def test_attributes_are_set_and_taken_back_one_by_one() -> None:
    server = Server(config())
    names = ("started", "should_exit", "force_exit")
    assert [getattr(server, name) for name in names] == [False] * 3
    for name in names:
        for value in (True, False):
            setattr(server, name, value)
            assert [getattr(server, each) for each in names] == [value and each == name for each in names]


def test_attributes_survive_being_sent_to_a_process() -> None:
    server = Server(config("a:b", lifespan="auto"))
    server.should_exit = True
    assert pickle.loads(pickle.dumps(server)).should_exit


def test_started_by_a_startup_of_ones_own() -> None:
    """Programs that replace startup() altogether set `started` themselves."""

    class Own(Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            self.started = True
            self.should_exit = True

    server = Own(config(lifespan="off"))
    server.run()
    assert server._life.phase is Phase.STOPPED


def test_force_exit_alone_does_not_stop() -> None:
    """Programs set it beforehand for a stop, whenever it comes, that waits for nothing."""
    server = support.EventServer(config())
    server.force_exit = True
    with support.Running(server).start() as running:
        assert running.request(REQUEST).endswith(b"hello")


def test_a_tick_that_goes_on_all_the_same() -> None:
    """It is called once at once, and then a tick later; the loop runs in between."""
    ticks: list[int] = []

    class Stubborn(Server):
        async def on_tick(self, counter: int) -> bool:
            ticks.append(counter)
            if len(ticks) == 1:
                asyncio.get_running_loop().call_soon(setattr, self, "should_exit", True)
            elif len(ticks) == 2:
                second.set()
            return False

    async def main() -> None:
        serving = asyncio.ensure_future(Stubborn(config()).serve())
        await asyncio.wait_for(second.wait(), 60)
        for _ in range(10):
            await asyncio.sleep(0)
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving

    second = asyncio.Event()
    asyncio.run(main())
    assert ticks == [0, 1]


class TestSleep:
    def test_ends_by_itself(self) -> None:
        asyncio.run(Life().sleep(0.001, lambda: False))

    def test_does_not_begin_where_its_end_has_come(self) -> None:
        asyncio.run(Life().sleep(1000, lambda: True))

    def test_ends_when_told(self) -> None:
        async def main() -> None:
            life = Life()
            with life.within(asyncio.get_running_loop()):
                lingering = asyncio.ensure_future(life.sleep(1000, lambda: Phase.LINGERING in life.told))
                draining = asyncio.ensure_future(life.sleep(1000, lambda: Phase.DRAINING in life.told))
                await asyncio.sleep(0)
                threading.Thread(target=life.tell, args=(Phase.LINGERING,)).start()
                await asyncio.wait_for(lingering, 60)
                assert not draining.done()
                life.tell(Phase.DRAINING)
                await asyncio.wait_for(draining, 60)

        asyncio.run(main())

    def test_is_told_in_vain_after_its_loop(self) -> None:
        life = Life()
        loop = asyncio.new_event_loop()
        with life.within(loop):
            loop.close()
            life.tell(Phase.LINGERING)
        assert life.told == {Phase.LINGERING}
        life.tell(Phase.LINGERING, False)
        assert life.told == set()


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
@pytest.mark.parametrize("http", ["auto", "h11"])
def test_clients_that_wait_to_be_accepted_are_not_reset(loop: str, http: str) -> None:
    """The loop learns of them and of the end at the same time; more of them wait than asyncio accepts at once."""
    if loop == "uvloop":
        pytest.importorskip("uvloop")

    class Told(Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets=sockets)
            address = self.servers[0].sockets[0].getsockname()
            clients.extend(socket.create_connection(address, timeout=support.PATIENCE) for _ in range(20))
            self.should_exit = True

    clients: list[socket.socket] = []
    Told(config(loop=loop, http=http)).run()
    for client in clients:
        with client:
            assert client.recv(1) == b""
    assert_nothing_lives()
