"""A worker whose connections have no sockets: bytes in, recorded writes out, one turn of a loop at a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Any

from fakes.settings import make_settings
from fakes.transport import MemoryTransport

from fastserve._core import testing
from fastserve._core.connection import Connection
from fastserve._core.loop.give_way import PUT_OFF
from fastserve._core.worker import Worker

CLIENT = ("10.0.0.1", 1234)
SERVER = ("10.0.0.2", 80)


class Time:
    """What the core's clock reads in these tests: nothing goes by but what a test has go by."""

    def __init__(self) -> None:
        self.when = self.cpu = 0.0
        self.waits = 0

    def stop(self) -> None:
        self.when = max(self.when, time.monotonic())  # it never goes back
        self._show()

    def go_on(self) -> None:
        testing.measure_again()

    def spin(self, seconds: float) -> None:
        """The thread uses so much processor time."""
        self.cpu += seconds
        self._pass(seconds)

    def wait(self, seconds: float) -> None:
        """The thread waits for something."""
        self.waits += 1
        self._pass(seconds)

    def preempt(self, seconds: float) -> None:
        """Others have the processor."""
        self._pass(seconds)

    def _pass(self, seconds: float) -> None:
        self.when += seconds
        self._show()

    def _show(self) -> None:
        testing.simulate(self.when, self.cpu, self.waits)


TIME = Time()


class FakeTransport(MemoryTransport):
    """Records what is written; `stuck` is a client that does not read, so that what is written queues up."""

    def __init__(self, loop: asyncio.AbstractEventLoop, **extra: Any) -> None:
        super().__init__(loop, {"peername": CLIENT, "sockname": SERVER, **extra})
        self.writes: list[bytes] = []
        self.calls: list[str] = []  # of everything but write(), in order
        self.stuck = False
        self.queue = 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.closed
        assert "write_eof" not in self.calls
        self.writes.append(bytes(data))
        if self.stuck:
            self.queue += len(data)
            self.pause_writing_over_high()

    def unstick(self) -> None:
        """The client reads all there is."""
        self.stuck = False
        self.queue = 0
        if self.writing_paused:
            self.writing_paused = False
            self.loop.call_soon(self.protocol.resume_writing)

    def get_write_buffer_size(self) -> int:
        return self.queue

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        super().set_write_buffer_limits(high, low)
        if self.writing_paused and self.queue <= self.high // 4:
            self.writing_paused = False
            self.protocol.resume_writing()

    def write_eof(self) -> None:
        self.calls.append("write_eof")

    def pause_reading(self) -> None:
        assert self.reading
        super().pause_reading()
        self.calls.append("pause_reading")

    def resume_reading(self) -> None:
        assert not self.reading
        super().resume_reading()
        self.calls.append("resume_reading")

    def close(self) -> None:
        self.calls.append("close")
        self._close()

    def abort(self) -> None:
        self.calls.append("abort")
        self._close()

    def _close(self) -> None:
        if not self.closed:
            self.closed = True
            self.loop.call_soon(self._lost)

    def _lost(self) -> None:
        self.lost = True
        self.protocol.connection_lost(None)


class Peer:
    """One client of a FakeWorker."""

    def __init__(self, wire: FakeWorker, extra: dict[str, Any]) -> None:
        self.wire = wire
        self.transport = FakeTransport(wire.loop, **extra)
        self.connection = Connection(wire.worker, *wire.versions)
        self.transport.protocol = self.connection
        self.connection.connection_made(self.transport)

    def put(self, data: bytes) -> None:
        """Have `data` arrive in the loop's next turn."""
        self.wire.loop.call_soon(self._arrive, data)

    def _arrive(self, data: bytes) -> None:
        if not self.transport.closed:
            self.connection.data_received(data)

    def feed(self, data: bytes) -> bytes:
        """Have `data` arrive, let the loop settle, and return what was written since the last call."""
        self.put(data)
        self.wire.settle()
        return self.take()

    def eof(self) -> bytes:
        """The client ends its side."""

        def arrive() -> None:
            if not self.connection.eof_received():
                self.transport.close()

        self.wire.loop.call_soon(arrive)
        self.wire.settle()
        return self.take()

    @property
    def ended(self) -> bool:
        """Whether the server has ended its side: it closes when the client has done so too, or after a while."""
        return self.transport.closed or "write_eof" in self.transport.calls

    def lose(self) -> None:
        """The connection breaks."""
        self.transport.closed = True
        self.wire.loop.call_soon(self.transport._lost)
        self.wire.settle()

    def react(self) -> bool:
        """Do what its client does by itself; return whether that was anything."""
        return False

    def take(self) -> bytes:
        """Return what was written since the last call."""
        data = b"".join(self.transport.writes)
        self.transport.writes.clear()
        return data


class FakeWorker:
    """A Worker in a loop that runs only in turn() and settle()."""

    def __init__(
        self,
        app: Callable[..., Any],
        *,
        access: Any = None,
        slow: Any = None,
        state: Any = None,
        framing: Any = None,
        ws_protocol: Any = None,
        direct: Any = None,
        versions: tuple[Any, ...] | None = None,
        **settings: Any,
    ) -> None:
        self.loop = asyncio.new_event_loop()
        self.logged: list[tuple[int, str]] = []
        self.errors: list[BaseException] = []
        self.unhandled: list[dict[str, Any]] = []
        self.loop.set_exception_handler(lambda loop, context: self.unhandled.append(context))
        self.peers: list[Peer] = []
        self.versions = () if versions is None else (versions,)
        self.make_peer: Callable[[FakeWorker, dict[str, Any]], Peer] = Peer
        self.speech: Any = None  # what writes requests and reads responses, for tests with several versions of HTTP
        self.worker = Worker(
            self.loop,
            app,
            make_settings(**settings),
            state=state or {},
            log=self._log,
            access=access,
            slow=slow,
            ws_framing=framing,
            ws_protocol=ws_protocol,
            direct=direct,
        )

    def _log(self, level: int, message: str, *args: Any, exc_info: Any = None) -> None:
        self.logged.append((level, message % args if args else message))
        if exc_info is not None:
            self.errors.append(exc_info[1] if isinstance(exc_info, tuple) else exc_info)

    @property
    def messages(self) -> list[str]:
        """What was logged, debug lines apart."""
        return [message for level, message in self.logged if level > 10]

    def connect(self, **extra: Any) -> Peer:
        self.peers.append(self.make_peer(self, extra))
        return self.peers[-1]

    def turn(self, count: int = 1) -> None:
        """Run that many iterations of the loop."""
        for _ in range(count):
            self.loop.stop()
            self.loop.run_forever()

    def settle(self) -> None:
        """Run until nothing is left that can go on by itself."""
        self.turn(12)
        while [peer for peer in self.peers if peer.react()]:
            self.turn(12)

    def advance(self, seconds: float) -> None:
        """Let that much time pass for the deadlines."""
        self.loop.call_soon(testing.advance, self.worker.clock, seconds)
        self.settle()

    def call(self, function: Callable[..., Any], *args: Any) -> None:
        """Call something in the loop, and let it settle."""
        self.loop.call_soon(function, *args)
        self.settle()

    def close(self) -> None:
        self.worker.abort()
        for task in list(self.worker.tasks):
            task.cancel()
        self.turn(PUT_OFF)  # what does nothing but send to nobody is cancelled only then
        self.settle()
        self.worker.close()
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        # A thread that is about to say that it has read may hold what waits for it.
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()
        for peer in self.peers:
            peer.transport.protocol = None  # as event loops do, so that nothing of it waits for a collection
        self.peers.clear()
        assert self.unhandled == []
        assert not self.worker.connections
        assert not self.worker.tasks
        assert self.worker.active == 0


def warm(wire: FakeWorker, peers: list[Peer]) -> None:
    """Let the worker see that several connections are busy: batching begins."""
    for _ in range(20):
        for peer in peers:
            peer.put(get("/warm"))
        wire.settle()


def get(path: str = "/", *fields: str, method: str = "GET", version: str = "1.1") -> bytes:
    """A request without a body."""
    lines = [f"{method} {path} HTTP/{version}", "Host: x", *fields]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def post(body: bytes, *fields: str, path: str = "/") -> bytes:
    return get(path, f"Content-Length: {len(body)}", *fields, method="POST") + body


def chunked(pieces: Iterable[bytes], *fields: str) -> bytes:
    body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return get("/", "Transfer-Encoding: chunked", *fields, method="POST") + body + b"0\r\n\r\n"


def hello(body: bytes = b"hello", status: int = 200, headers: Iterable[tuple[bytes, bytes]] = ()) -> Any:
    """An application that answers each request with this."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": status, "headers": list(headers)})
        await send({"type": "http.response.body", "body": body})

    return app


async def respond(
    send: Any, body: bytes = b"ok", status: int = 200, headers: Iterable[tuple[bytes, bytes]] = ()
) -> None:
    await send({"type": "http.response.start", "status": status, "headers": list(headers)})
    await send({"type": "http.response.body", "body": body})


async def read_body(receive: Any) -> bytes:
    """The whole body of a request whose client stays."""
    pieces = []
    while True:
        message = await receive()
        assert message["type"] == "http.request", message
        pieces.append(message["body"])
        if not message["more_body"]:
            return b"".join(pieces)
