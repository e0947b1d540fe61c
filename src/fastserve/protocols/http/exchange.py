"""One HTTP exchange in the terms of ASGI: fastserve._core.http.exchange in Python.

stage    what send() accepts
"start"     http.response.start
"body"      http.response.body
"complete"  nothing: the last body has been sent
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from fastserve._core.errors import ClientDisconnected, only_disconnects
from fastserve._core.http.account import ids_of
from fastserve._core.loop.give_way import give_way
from fastserve._types import ASGI3Application, Message, Scope
from fastserve.options.table import Options
from fastserve.protocols.http.counting import Counting
from fastserve.protocols.http.flow_control import FlowControl
from fastserve.server_state import ServerState

logger = logging.getLogger("fastserve.error")


class Stream(Protocol):
    """What an exchange asks of the connection that carries it."""

    loop: asyncio.AbstractEventLoop
    transport: asyncio.Transport
    flow: FlowControl
    server_state: ServerState

    @property
    def config(self) -> Options: ...

    def send_continue(self) -> None:
        """Ask the client for the body that it holds back."""

    def want_body(self, waits: Callable[[], bool]) -> None:
        """Read the body on: the application waits for it, as long as `waits()` is true."""

    def respond(self, status: Any, headers: Iterable[Any]) -> None:
        """Take the head of the response. Raises TypeError, ValueError."""

    def body(self, data: bytes, more: bool) -> None:
        """Write a piece of the body. Raises RuntimeError for one that does not fit the Content-Length."""

    def abandon(self) -> None:
        """End a response that the application will not complete."""


class HttpExchange:
    """The exchange of one request. `stream` is the connection; None once the response is complete or lost."""

    def __init__(self, stream: Stream, scope: Scope, expect_continue: bool, counting: Counting) -> None:
        self.counting = counting
        self.began = counting.began
        self.stream: Stream | None = stream
        self.loop = stream.loop
        self.task: asyncio.Task[None] | None = None
        self.scope = scope
        self.expect_continue = expect_continue
        self.stage = "start"
        self.started = False  # the application has been called
        self.gone = False  # nobody reads the response any more
        self.owes_end = False  # of the body, to an application that was called after that, or that has waited for it
        self.left = False  # the client was gone before the response was complete
        self.endless = False  # and the response had begun, with no declared end
        self.raises = stream.config.raises_disconnect  # send() raises once the client is gone
        self.server_state = stream.server_state
        self.pieces: list[bytes] = []  # body that receive() has not returned
        self.buffered = 0  # bytes of it
        self.body_ended = False
        self.body_taken = False
        self.waiting: list[asyncio.Future[None]] = []

    # The application

    async def run(self, app: ASGI3Application) -> None:
        """Call the application, and handle its end. Never raises."""
        self.started = True
        if self.gone:
            self.owes_end = True
            self.loop.call_soon(self.turn_passed)
        self.counting.called(self.began)
        try:
            await self.call(app)
        finally:
            self.counting.returned()

    async def call(self, app: ASGI3Application) -> None:
        try:
            result: Any = await app(self.scope, self.receive, self.send)  # type: ignore[func-returns-value]
        except BaseException as exc:
            if not self.is_quiet(exc):
                self.counting.failed("before" if self.stage == "start" else "after")
                logger.error("Exception in ASGI application\n", exc_info=exc, extra=self.ids())
            self.end()
        else:
            if result is not None:
                logger.error("ASGI callable should return None, but returned '%s'.", result, extra=self.ids())
            if self.stage != "complete" and not self.unreachable and not self.gone:
                what = "starting" if self.stage == "start" else "completing"
                self.counting.failed("missing")
                logger.error("ASGI callable returned without %s response.", what, extra=self.ids())
            self.end()

    def turn_passed(self) -> None:
        self.owes_end = False

    def ids(self) -> dict[str, Any]:
        """Return what log records have in `extra` of the request."""
        state = self.scope.get("state")  # an application may have replaced it
        return ids_of(dict(self.scope), state.get("request_id") if isinstance(state, dict) else None)

    def end(self) -> None:
        if self.stage != "complete" and self.stream is not None:
            self.stage = "complete"
            self.stream.abandon()

    def is_quiet(self, exc: BaseException) -> bool:
        """Return whether an application ended because its client is gone or the stopping server cancelled it."""
        if isinstance(exc, asyncio.CancelledError):
            return self.left or (self.server_state.draining and was_cancelled(self.task))
        return (self.gone or self.unreachable) and only_disconnects(exc)

    async def receive(self) -> Message:
        """Return the next message, waiting for it."""
        while True:
            message = self.next_message()
            if message is not None:
                return message
            waiter = self.loop.create_future()
            self.waiting.append(waiter)
            try:
                await waiter
            finally:
                if waiter in self.waiting:
                    self.waiting.remove(waiter)

    def next_message(self) -> Message | None:
        if self.stage == "complete":
            return {"type": "http.disconnect"}
        if self.expect_continue and self.stream is not None:
            self.expect_continue = False
            self.stream.send_continue()
        ended = self.body_ended and not self.body_taken
        if not self.pieces and (self.gone or self.stream is None) and not (self.owes_end and ended):
            return {"type": "http.disconnect"}
        if self.pieces or ended:
            body = b"".join(self.pieces)
            self.pieces.clear()
            self.buffered = 0
            self.body_taken = self.body_ended
            if self.stream is not None and not self.body_ended:
                self.stream.flow.resume_reading()
            return {"type": "http.request", "body": body, "more_body": not self.body_ended}
        if not self.body_ended:
            assert self.stream is not None
            self.stream.want_body(self.waits)
        return None

    async def send(self, message: Message) -> None:
        """Take a message, and return once the client has taken enough of what was sent before.

        Once the client is gone this raises ClientDisconnected, or else does nothing but give the loop a turn: an
        application that sends without end must not block it.
        """
        if not self.take(message):
            return await give_way()
        while self.stage != "complete" and self.stream is not None and self.stream.flow.write_paused:
            await self.stream.flow.drain()
            self.check_connected()

    def check_connected(self) -> None:
        if self.stream is None and self.stage != "complete" and self.raises:
            raise ClientDisconnected("the client is gone")

    @property
    def unreachable(self) -> bool:
        """Whether nothing more can be sent to the client."""
        return self.stream is None or self.stream.transport.is_closing()

    def take(self, message: Message) -> bool:
        """Take a message. Return False if it is dropped because the client is gone."""
        if self.stage == "complete" and (self.raises or not self.left):
            raise RuntimeError(f"Unexpected ASGI message '{message['type']}' sent, after response already completed.")
        if self.stage == "complete" or self.unreachable:
            if self.raises:
                raise ClientDisconnected("the client is gone")
            self.drop(message)
            return False
        try:
            self.take_next(message)
        except RuntimeError:
            if self.raises or not self.gone:
                raise
            self.end()
            return False
        return True

    def drop(self, message: Message) -> None:
        """Drop a message, except for what the server needs to know about the response when it stops."""
        self.left = True
        if message.get("type") == "http.response.start":
            self.endless = not declares_length(message)
        elif message.get("type") == "http.response.body" and not message.get("more_body", False):
            self.endless = False
            self.stage = "complete"

    def take_next(self, message: Message) -> None:
        assert self.stream is not None
        kind = message["type"]
        expected = f"http.response.{self.stage}"
        if kind != expected:
            raise RuntimeError(f"Expected ASGI message '{expected}', but got '{kind}'.")
        if self.stage == "start":
            self.stream.respond(message["status"], message.get("headers", ()))
            self.stage = "body"
        else:
            self.take_body(self.stream, message.get("body", b""), bool(message.get("more_body", False)))

    def take_body(self, stream: Stream, body: Any, more: bool) -> None:
        if not isinstance(body, bytes):
            # As uvicorn: whatever has bytes, and for none also what else is empty, such as None and "".
            try:
                body = memoryview(body)
            except TypeError:
                if body:
                    raise TypeError(f"the body of a response must be bytes, not {type(body).__name__}") from None
                body = b""
        self.stage = "body" if more else "complete"
        try:
            stream.body(bytes(body), more)
        except BaseException:
            self.stage = "body"
            raise

    # The connection

    def waits(self) -> bool:
        """Whether the application waits in receive()."""
        return any(not waiter.done() for waiter in self.waiting)

    def put_body(self, data: bytes) -> None:
        self.pieces.append(data)
        self.buffered += len(data)
        self.wake()

    def end_body(self) -> None:
        self.body_ended = True
        self.owes_end = self.owes_end or self.waits()
        self.wake()

    def disconnected(self) -> None:
        """Note that the client will not send any more. It may still read, unless the stream is detached as well."""
        self.gone = True
        self.left = self.left or self.stage != "complete"
        self.wake()

    def completed(self) -> None:
        """Note that the response is complete, or will not be completed by the application."""
        self.stream = None
        self.disconnected()

    def wake(self) -> None:
        for waiter in self.waiting:
            if not waiter.done():
                waiter.set_result(None)
        self.waiting.clear()


def declares_length(message: Message) -> bool:
    """Return whether the head in this message, which is still unchecked, has a Content-Length."""
    try:
        return any(name.lower() == b"content-length" for name, _ in message.get("headers", ()))
    except Exception:
        return False


def was_cancelled(task: asyncio.Task[None] | None) -> bool:
    """Return whether the task's cancel() has been called. Python 3.10 cannot tell, so there it counts as called."""
    cancelling = getattr(task, "cancelling", None)
    return cancelling is None or cancelling() > 0
