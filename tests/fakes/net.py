"""Connection without a network: a loop that runs until nothing is left to do, and a transport that is a buffer."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, cast

from fakes.settings import make_settings
from fakes.transport import MemoryTransport

from fastserve._core import testing
from fastserve._core.connection import Connection
from fastserve._core.worker import Worker

CLIENT, SERVER = ("192.0.2.1", 50000), ("192.0.2.2", 80)


class Handle:
    def __init__(
        self, callback: Callable[..., Any], args: tuple[Any, ...], context: contextvars.Context | None
    ) -> None:
        self.callback = callback
        self.args = args
        self.context = context
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True

    def run(self) -> None:
        if self.cancelled:
            return
        if self.context is None:
            self.callback(*self.args)
        else:
            self.context.run(self.callback, *self.args)


class Loop:
    """What the core and asyncio.Future need of an event loop; timers are kept and never fire by themselves."""

    def __init__(self) -> None:
        self.ready: deque[Handle] = deque()
        self.errors: list[dict[str, Any]] = []
        self.now = 0.0

    def call_soon(self, callback: Any, *args: Any, context: contextvars.Context | None = None) -> Any:
        handle = Handle(callback, args, context)
        self.ready.append(handle)
        return handle

    def call_later(self, delay: float, callback: Any, *args: Any, context: contextvars.Context | None = None) -> Any:
        return Handle(callback, args, context)

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=cast(asyncio.AbstractEventLoop, self))

    def create_task(self, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
        return asyncio.Task(coroutine, loop=cast(asyncio.AbstractEventLoop, self), **options)

    def time(self) -> float:
        return self.now

    def call_exception_handler(self, context: Any) -> None:
        self.errors.append(context)

    def get_debug(self) -> bool:
        return False

    def get_task_factory(self) -> None:
        return None

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False

    def run_ready(self) -> None:
        """Run until no callback is left."""
        with running(self):
            while self.ready:
                self.ready.popleft().run()


@contextmanager
def running(loop: Loop) -> Iterator[None]:
    """Make `loop` the running one, as it is while it calls a protocol."""
    before = asyncio._get_running_loop()
    asyncio._set_running_loop(cast(asyncio.AbstractEventLoop, loop))
    try:
        yield
    finally:
        asyncio._set_running_loop(before)


class Transport(MemoryTransport):
    """A socket whose other side is the test: `written` is what it has been sent, `blocked` that it does not read."""

    def __init__(self, loop: Loop, high: int = 65536) -> None:
        super().__init__(loop, {"peername": CLIENT, "sockname": SERVER})
        self.high = high
        self.written = bytearray()
        self.queue = bytearray()
        self.blocked = False
        self.ended = False

    def write(self, data: Any) -> None:
        assert not self.ended, "written after write_eof()"
        if self.closed:
            return
        (self.queue if self.blocked else self.written).extend(data)
        self.pause_writing_over_high()

    def unblock(self) -> None:
        """Let the client take everything."""
        self.blocked = False
        self.written += self.queue
        self.queue.clear()
        if self.writing_paused:
            self.writing_paused = False
            with running(self.loop):
                self.protocol.resume_writing()
        if self.closed:
            self.loop.call_soon(self.lose)

    def write_eof(self) -> None:
        self.ended = True

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            if not self.queue:
                self.loop.call_soon(self.lose)

    def abort(self) -> None:
        self.queue.clear()
        self.closed = True
        self.loop.call_soon(self.lose)

    def lose(self, exception: BaseException | None = None) -> None:
        if not self.lost:
            self.closed = self.lost = True
            self.protocol.connection_lost(exception)

    def get_write_buffer_size(self) -> int:
        return len(self.queue)


class Net:
    """A worker on a fake loop, and the connections that a test makes to it."""

    loop_class = Loop

    def __init__(
        self, app: Any, *, date: bool = False, access: Any = None, framing: Any = None, **settings: Any
    ) -> None:
        self.loop = self.loop_class()
        self.log: list[tuple[int, str]] = []
        made = make_settings(date=date, **settings)
        self.worker = Worker(
            cast(asyncio.AbstractEventLoop, self.loop),
            app,
            made,
            state={},
            log=self.add_line,
            access=access,
            ws_framing=framing,
        )

    def add_line(self, level: int, message: str, *args: Any, exc_info: Any = None) -> None:
        self.log.append((level, message % args if args else message))

    @property
    def errors(self) -> list[str]:
        return [line for level, line in self.log if level >= logging.ERROR]

    def connect(self) -> Client:
        return Client(self)

    def make_connection(self) -> Any:
        """Return a protocol for a connection of a client."""
        return Connection(self.worker)

    def close(self) -> None:
        """Break all connections and end the worker."""
        with running(self.loop):
            self.worker.abort()
        self.loop.run_ready()
        self.worker.close()

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        with running(self.loop):
            testing.advance(self.worker.clock, seconds)
        self.loop.run_ready()


class Client:
    """The client's side of one connection."""

    def __init__(self, net: Net) -> None:
        self.net = net
        self.transport = Transport(net.loop)
        self.connection = net.make_connection()
        self.transport.protocol = self.connection
        self.incoming: deque[bytes] = deque()
        with running(net.loop):
            self.connection.connection_made(self.transport)
        net.loop.run_ready()

    @property
    def output(self) -> bytes:
        """All that the server has sent so far."""
        return bytes(self.transport.written)

    @property
    def server_closed(self) -> bool:
        """Whether the server has ended its side."""
        return self.transport.ended or self.transport.closed

    @property
    def gone(self) -> bool:
        """Whether the connection does not exist any more."""
        return self.transport.lost

    def feed(self, *pieces: bytes) -> Client:
        """Send each piece as a packet of its own; the server does all it can between two of them."""
        for piece in pieces:
            self.incoming.append(piece)
            while self.incoming and self.transport.reading and not self.transport.closed:
                with running(self.net.loop):
                    self.connection.data_received(self.incoming.popleft())
                self.net.loop.run_ready()
        return self

    def eof(self) -> Client:
        """End the client's side."""
        self.feed(b"") if self.incoming else None
        if not self.transport.closed:
            with running(self.net.loop):
                if not self.connection.eof_received():
                    self.transport.close()
            self.net.loop.run_ready()
        return self

    def lose(self, exception: BaseException | None = None) -> Client:
        """Break the connection."""
        with running(self.net.loop):
            self.transport.lose(exception)
        self.net.loop.run_ready()
        return self


def every_split(data: bytes, most: int = 3000) -> Iterable[tuple[bytes, ...]]:
    """Return `data` cut in two at each position, or at `most` evenly spread ones of a longer text."""
    step = 1 + len(data) // most
    return ((data[:at], data[at:]) for at in range(1, len(data), step))
