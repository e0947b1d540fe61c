"""The fake network of tests/protocol, stricter and with more to go wrong."""

from __future__ import annotations

import asyncio
import fcntl
import io
import logging
import socket
import sys
import termios
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Any

from fakes.net import Client, Loop, Net, Transport, running
from fuzz.applications import Planned

from fastserve._core import testing
from fastserve._core.connection import Connection
from fastserve._core.http.access_log import AccessLog
from fastserve.logging.formatters import ACCESS_FORMAT, AccessFormatter

# What the server may say when its client or its application does what these do.
EXPECTED_ERRORS = (
    "ASGI callable returned without starting response.",
    "ASGI callable returned without completing response.",
)
APPLICATION_ERROR = "Exception in ASGI application\n"
SMALL = 4608  # the least send buffer that Linux gives


class FuzzedLoop(Loop):
    """Also waits for room in sockets, which is there as soon as nothing else is left to do and the client reads."""

    def __init__(self) -> None:
        super().__init__()
        self.writers: dict[int, Callable[[], None]] = {}
        self.transports: list[SocketTransport] = []

    def add_writer(self, fd: int, callback: Callable[[], None]) -> None:
        assert fd not in self.writers
        self.writers[fd] = callback

    def remove_writer(self, fd: int) -> bool:
        return self.writers.pop(fd, None) is not None

    def run_in_executor(self, executor: None, function: Callable[..., Any], *args: Any) -> Any:
        future = self.create_future()
        self.call_soon(self.settle, future, function, *args)
        return future

    @staticmethod
    def settle(future: Any, function: Callable[..., Any], *args: Any) -> None:
        if not future.done():
            try:
                future.set_result(function(*args))
            except BaseException as error:  # as executors do: it is the waiting task's, not the loop's
                future.set_exception(error)

    def run_ready(self) -> None:
        super().run_ready()
        while self.writers and any(not transport.blocked for transport in self.transports):
            for transport in self.transports:
                if not transport.blocked:
                    transport.read_peer()
            with running(self):
                for callback in list(self.writers.values()):
                    callback()
            super().run_ready()


class StrictTransport(Transport):
    """Fails where the core writes to a transport that it has closed, or closes a lost one in an odd order."""

    def write(self, data: Any) -> None:
        assert not self.closed, "written after close()"
        super().write(data)

    def on_its_way(self) -> int:
        """What the kernel holds of what the core has written."""
        return 0

    def lose(self, exception: BaseException | None = None) -> None:
        super().lose(exception)
        self.protocol = None  # as loops do; else every connection would be a cycle of references


class SocketTransport(StrictTransport):
    """A transport of a real socket, so that the core writes to it directly; `blocked`: the peer does not read."""

    def __init__(self, loop: FuzzedLoop) -> None:
        super().__init__(loop)
        loop.transports.append(self)
        self.sock, self.peer = socket.socketpair()
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)
        self.sock.setblocking(False)
        self.peer.setblocking(False)
        self._extra["socket"] = self.sock  # type: ignore[attr-defined]

    def read_peer(self) -> None:
        try:
            while data := self.peer.recv(1 << 20):
                self.written += data
            self.ended = True  # by shutdown(2), which no transport is asked for
        except BlockingIOError:
            pass
        except OSError:
            pass

    def on_its_way(self) -> int:
        if self.lost:
            return 0
        return int.from_bytes(fcntl.ioctl(self.peer, termios.FIONREAD, bytes(4)), sys.byteorder)

    def pump(self) -> None:
        """Bring to the peer what waits here, as far as the kernel takes it."""
        while self.queue:
            try:
                sent = self.sock.send(self.queue)
            except BlockingIOError:
                if self.blocked:
                    return
                self.read_peer()
                continue
            except OSError:
                self.queue.clear()
                return
            del self.queue[:sent]
        if not self.blocked:
            self.read_peer()

    def write(self, data: Any) -> None:
        assert not self.closed, "written after close()"
        assert not self.ended, "written after write_eof()"
        self.queue += data
        self.pump()
        self.pause_writing_over_high()

    def unblock(self) -> None:
        self.blocked = False
        if not self.lost:
            self.pump()
        if self.writing_paused and not self.lost:
            self.writing_paused = False
            with running(self.loop):
                self.protocol.resume_writing()
            self.pump()
        if self.closed and not self.lost:
            self.loop.call_soon(self.lose)

    def lose(self, exception: BaseException | None = None) -> None:
        if not self.lost:
            self.read_peer()
            super().lose(exception)
            self.sock.close()
            self.peer.close()


class FuzzedNet(Net):
    """One worker for one run; closed at the end, with all that it holds."""

    loop: FuzzedLoop
    loop_class = FuzzedLoop

    def __init__(self, application: Any, settings: dict[str, Any], direct: bool) -> None:
        self.lines = io.StringIO()
        self.handler = logging.StreamHandler(self.lines)
        self.handler.setFormatter(AccessFormatter(ACCESS_FORMAT, use_colors=False))
        logger = logging.Logger("access")  # noqa: LOG001
        logger.addHandler(self.handler)
        self.unexpected: list[Any] = []
        self.cancelling = False  # tasks have been cancelled, and not by the server
        access = AccessLog(logger, AccessFormatter, ACCESS_FORMAT)
        super().__init__(application, access=access, **settings)
        self.direct = direct
        self.clients: list[FuzzedClient] = []

    def add_line(self, level: int, message: str, *args: Any, exc_info: Any = None) -> None:
        super().add_line(level, message, *args)
        if level < logging.ERROR or message in EXPECTED_ERRORS:
            return
        ours = isinstance(exc_info, (Planned, RuntimeError, TypeError, ValueError, KeyError))
        ours |= self.cancelling and isinstance(exc_info, asyncio.CancelledError)
        if message != APPLICATION_ERROR or not ours:
            self.unexpected.append((message, repr(exc_info)))

    def join(self) -> FuzzedClient:
        self.clients.append(FuzzedClient(self))
        return self.clients[-1]

    def check_quiet(self) -> None:
        """Assert that nothing was logged that says that the server is at fault, and nothing that could break a log."""
        assert self.unexpected == []
        assert self.loop.errors == []
        assert self.loop.writers == {}, "a socket is still waited for"
        assert not self.worker.tasks and not self.worker.active, "an application still runs"
        assert not self.worker.connections
        self.worker.close()
        text = self.lines.getvalue()
        assert text.isprintable() or all(each.isprintable() for each in text.split("\n")), text

    def __enter__(self) -> FuzzedNet:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        for client in self.clients:
            with running(self.loop):
                client.transport.lose()
        self.loop.run_ready()
        self.worker.close()
        self.loop.transports.clear()
        self.clients.clear()  # else they live on in a cycle: client, network, worker, its log, network


class FuzzedClient(Client):
    """A client that does what an input says."""

    transport: StrictTransport
    net: FuzzedNet

    def __init__(self, net: FuzzedNet) -> None:
        self.net = net
        self.transport = SocketTransport(net.loop) if net.direct else StrictTransport(net.loop)
        self.connection = Connection(net.worker)
        self.transport.protocol = self.connection
        self.incoming = deque()
        self.ended = False
        self.lazy = False  # the loop runs one callback after a packet, in place of all
        self.silence: tuple[int, int] | None = None
        with running(net.loop):
            self.connection.connection_made(self.transport)
        net.loop.run_ready()

    def take(self) -> None:
        """Read what has come, unless this client does not read."""
        if isinstance(self.transport, SocketTransport) and not self.transport.lost and not self.transport.blocked:
            self.transport.pump()

    @property
    def output(self) -> bytes:
        self.take()
        return super().output

    @property
    def server_closed(self) -> bool:
        self.take()
        return super().server_closed

    def run(self) -> None:
        """Let the loop run, as far as the input wants that now."""
        if not self.lazy:
            self.net.loop.run_ready()
        elif self.net.loop.ready:
            with running(self.net.loop):
                self.net.loop.ready.popleft().run()

    def offer(self, data: bytes) -> None:
        """Send this, or let it wait where the server does not read."""
        if data and not self.ended and not self.transport.lost:
            self.incoming.append(data)
        self.deliver()

    def deliver(self) -> None:
        while self.incoming and self.transport.reading and not self.transport.closed:
            with running(self.net.loop):
                self.connection.data_received(self.incoming.popleft())
            self.run()

    def end(self) -> None:
        if not self.ended and not self.incoming:
            self.ended = True
            if not self.transport.closed:
                with running(self.net.loop):
                    if not self.connection.eof_received():
                        self.transport.close()
                self.run()

    def event(self, number: int) -> None:
        events = self.EVENTS
        events[number % len(events)](self)
        self.run()
        self.deliver()

    def block(self) -> None:
        self.transport.blocked = True

    def unblock(self) -> None:
        self.transport.unblock()

    def break_off(self) -> None:
        with running(self.net.loop):
            self.transport.lose()

    def reset(self) -> None:
        with running(self.net.loop):
            self.transport.lose(ConnectionResetError(104, "Connection reset by peer"))

    def drain(self) -> None:
        with running(self.net.loop):
            self.net.worker.drain()

    def abort(self) -> None:
        with running(self.net.loop):
            self.net.worker.abort()

    def be_lazy(self) -> None:
        self.lazy = True

    def be_eager(self) -> None:
        self.lazy = False

    def run_all(self) -> None:
        self.net.loop.run_ready()

    def wait(self, seconds: float) -> None:
        with running(self.net.loop):
            testing.advance(self.net.worker.clock, seconds)

    def wait_keep_alive(self) -> None:
        self.wait(5.5)

    def wait_head(self) -> None:
        self.wait(30.5)

    def wait_longest(self) -> None:
        self.wait(61)

    def cancel_tasks(self) -> None:
        self.net.cancelling = True
        for task in list(self.net.worker.tasks):
            task.cancel()

    def end_streams(self) -> None:
        with running(self.net.loop):
            self.net.worker.end_streams()

    EVENTS: tuple[Callable[[FuzzedClient], None], ...] = (
        end, break_off, reset, block, unblock, drain, abort, be_lazy, be_eager, run_all,
        wait_keep_alive, wait_head, wait_longest, cancel_tasks,
        end_streams,
    )  # fmt: skip

    def check_silence(self) -> None:
        """Assert that nothing is executed or written after the server's close."""
        if self.transport.closed or self.transport.ended:
            handed_over = len(self.transport.written) + len(self.transport.queue) + self.transport.on_its_way()
            now = (self.net.worker.total_requests, handed_over)
            if self.silence is None:
                self.silence = now
            assert now <= self.silence, f"{now} behind the close, where it was {self.silence}"

    def finish(self) -> None:
        """Take all that comes, end this side, and give the server the time that it may take."""
        self.lazy = False
        self.net.loop.run_ready()
        for _ in range(100):
            self.transport.unblock() if not self.transport.lost else None
            self.net.loop.run_ready()
            self.deliver()
            if not self.incoming or self.transport.closed:
                break
        self.incoming.clear()
        self.end()
        self.net.loop.run_ready()
        for _ in range(4):
            if not self.transport.lost:
                self.transport.unblock()
            self.net.loop.run_ready()
            self.wait(61)
            self.net.loop.run_ready()
