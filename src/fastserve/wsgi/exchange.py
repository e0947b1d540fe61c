"""One request and its response, between the thread that runs the application and the event loop that serves it.

The thread puts messages of ASGI into `outbox` and reports; the loop sends them. A response that is complete at once, as
most are, costs one report. The thread waits while more than HIGH_WATER bytes are unsent, and for the request's body.

    thread    start_response, write, the pieces of the iterable --> outbox --> send()        event loop
              wsgi.input <-- BodyReader <-- receive()

Whatever happens, the iterable is closed and `ended` reported. `gone` says that nobody reads the response: the next
piece is then the last that the application is asked for.
"""

from __future__ import annotations

import asyncio
import contextvars
import io
from collections import deque
from collections.abc import Callable, Iterable
from types import TracebackType

from fastserve._core.errors import ClientDisconnected
from fastserve._types import Message, Receive, Scope, Send
from fastserve.wsgi.body import BodyReader
from fastserve.wsgi.environ import Environs
from fastserve.wsgi.files import FileWrapper
from fastserve.wsgi.headers import checked_headers, status_of
from fastserve.wsgi.threads import Gate

ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]
WSGIApplication = Callable[..., Iterable[bytes]]

HIGH_WATER = 65536  # bytes that the application may be ahead of the client
JOINED = 65536  # bytes of a list's items that are sent as one


class Reports:
    """What the threads tell one event loop, which is woken once for all that is told meanwhile."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._exchanges: deque[Exchange] = deque()
        self._scheduled = False

    def put(self, exchange: Exchange) -> None:
        """Have `exchange.noticed()` called in the event loop, unless that is closed."""
        self._exchanges.append(exchange)
        if not self._scheduled:
            self._scheduled = True
            try:
                self.loop.call_soon_threadsafe(self._deliver)
            except RuntimeError:
                self._exchanges.clear()  # the server has stopped without waiting for this thread

    def _deliver(self) -> None:
        self._scheduled = False  # first: who puts from here on wakes the loop again
        for _ in range(len(self._exchanges)):
            self._exchanges.popleft().noticed()


def check(piece: object) -> None:
    """Raises TypeError for what cannot be a piece of a body."""
    if not isinstance(piece, bytes):
        raise TypeError(f"a piece of a response has to be bytes, not {type(piece).__name__}")


class Exchange:
    """A call of a WSGI application: run() in a thread, serve() in the event loop."""

    # Of the thread; the event loop reads.
    head: Message | None = None  # from start_response()
    length = -1  # Content-Length of the response
    head_sent = False
    complete = False  # the last message is in the outbox
    produced = 0  # bytes put into the outbox
    error: BaseException | None = None
    ended = False
    # Of the event loop; the thread reads.
    gone = False
    consumed = 0  # bytes sent
    news = False  # the thread has reported
    waiter: asyncio.Future[None] | None = None  # of serve(), for news
    # Of both, where it is needed.
    body: BodyReader | None = None  # while the request's body is coming
    gate: Gate | None = None  # where the thread waits for the client to read

    def __init__(self, app: WSGIApplication, reports: Reports, environs: Environs, scope: Scope) -> None:
        self.app = app
        self.reports = reports
        self.environs = environs
        self.scope = scope
        self.context = contextvars.copy_context()
        self.outbox: deque[tuple[Message, int]] = deque()
        self.input: io.BytesIO | io.BufferedReader

    # In the thread

    def run(self) -> None:
        """Call the application and send what it returns; never raises."""
        if not self.gone:
            try:
                self.context.run(self._respond)
            except BaseException as exc:  # SystemExit as well: it is the request's, not the thread's
                self.error = exc
        self.ended = True
        self.reports.put(self)

    def _respond(self) -> None:
        result = self.app(self.environs.make(self.scope, self.input), self.start_response)
        try:
            kind = type(result)
            if kind is list or kind is tuple:
                self._send_items(result)  # type: ignore[arg-type]
            elif kind is FileWrapper and self._send_file(result):  # type: ignore[arg-type]
                pass
            else:
                for piece in result:
                    if piece:
                        self._send_piece(piece)
                    if self.gone:
                        return
            if not self.complete:
                self._put(b"", False)
                self.reports.put(self)
        finally:
            close = getattr(result, "close", None)
            if close is not None:
                close()

    def start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: ExcInfo | None = None
    ) -> Callable[[bytes], None]:
        """Take the head of the response, and return write(). Raises as PEP 3333 says, and for what cannot be sent."""
        if exc_info:
            try:
                if self.head_sent:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None  # no circle through this frame
        elif self.head is not None:
            raise AssertionError("start_response() was called before, and there is no exc_info")
        code = status_of(status)
        checked, self.length = checked_headers(headers)
        self.head = {"type": "http.response.start", "status": code, "headers": checked}
        return self.write

    def write(self, data: bytes) -> None:
        """Send a piece of the body. Raises ClientDisconnected, an OSError, when nobody reads it."""
        if self.gone:
            raise ClientDisconnected("the client is gone")
        if data:
            self._send_piece(data)

    def _send_items(self, items: list[bytes]) -> None:
        for item in items:
            check(item)  # before any is sent
        if len(items) == 1:
            self._put(items[0], False)
        elif sum(map(len, items)) <= JOINED:
            self._put(b"".join(items), False)
        else:
            for item in items:
                if item:
                    self._send_piece(item)
                if self.gone:
                    return

    def _send_piece(self, piece: bytes) -> None:
        check(piece)
        # A piece may not wait for the next one, but whether there is one can be known.
        self._put(piece, self.length < 0 or self.produced + len(piece) < self.length)
        self.reports.put(self)
        if self.produced - self.consumed > HIGH_WATER:
            self._wait(HIGH_WATER)

    def _put(self, piece: bytes, more: bool) -> None:
        if self.complete:
            raise RuntimeError("Response content longer than Content-Length")
        if not self.head_sent:
            self._put_head()
        self.complete = not more
        self.produced += len(piece)
        self.outbox.append(({"type": "http.response.body", "body": piece, "more_body": more}, len(piece)))

    def _put_head(self) -> None:
        if self.head is None:
            raise AssertionError("the application has sent a body, or returned, before it called start_response()")
        self.head_sent = True
        self.outbox.append((self.head, 0))

    def _send_file(self, wrapper: FileWrapper) -> bool:
        """Have the server send a file by its descriptor; false where it cannot, and nothing has been done."""
        extent = wrapper.extent() if "http.response.zerocopysend" in self.scope.get("extensions", ()) else None
        if extent is None or self.head is None:
            return False
        offset, count = extent
        if self.length >= 0:
            count = min(count, self.length - self.produced)
        elif not self.head_sent:
            self.length = count
            self.head["headers"].append((b"content-length", b"%d" % count))
        if not count:
            return False
        if not self.head_sent:
            self._put_head()
        file = {"type": "http.response.zerocopysend", "file": wrapper.filelike, "offset": offset, "count": count}
        self.complete = self.length == self.produced + count
        self.outbox.append(({**file, "more_body": not self.complete}, count))
        self.produced += count
        self.reports.put(self)
        self._wait(0)  # the file is open until then
        return True

    def _wait(self, most: int) -> None:
        """Wait until no more than `most` bytes are unsent."""
        if self.gate is None:
            self.gate = Gate()
        while self.produced - self.consumed > most and not self.gone:
            self.gate.wait()

    # In the event loop

    def open_input(self, piece: bytes, more: bool) -> None:
        """Say what has come of the request's body before run(), and whether there is more of it."""
        if more:
            self.body = BodyReader(piece, lambda: self.reports.put(self))
            self.input = io.BufferedReader(self.body)
        else:
            self.input = io.BytesIO(piece)

    def noticed(self) -> None:
        """Go on with serve(): there is news from the thread."""
        self.news = True
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)

    async def serve(self, receive: Receive, send: Send) -> None:
        """Pass messages on until the application has ended; raises what it raised, or what send() did."""
        failure: Exception | None = None
        try:
            while True:
                if not self.news:
                    self.waiter = self.reports.loop.create_future()
                    await self.waiter
                    self.waiter = None
                self.news = False
                if failure is None:
                    try:
                        await self._pass_on(receive, send)
                    except Exception as exc:
                        failure = exc
                        self.abandon()
                if self.ended:
                    break
        finally:
            self.abandon()
        self._settle(failure)

    async def _pass_on(self, receive: Receive, send: Send) -> None:
        while self.outbox:
            message, size = self.outbox.popleft()
            await send(message)
            self.consumed += size
            if self.gate is not None:
                self.gate.open()
        if self.body is not None and self.body.wanted:
            await self._receive(receive, self.body)

    async def _receive(self, receive: Receive, body: BodyReader) -> None:
        message = await receive()
        if message["type"] == "http.request":
            body.put(message.get("body", b""), message.get("more_body", False))
        else:
            body.fail()

    def abandon(self) -> None:
        """Nothing more is sent or received: whatever the thread waits for, it must not wait any longer."""
        self.gone = True
        if self.gate is not None:
            self.gate.open()
        if self.body is not None:
            self.body.fail()

    def _settle(self, failure: Exception | None) -> None:
        error, self.error = self.error, None
        if error is not None:
            raise error
        if failure is not None:
            raise failure
