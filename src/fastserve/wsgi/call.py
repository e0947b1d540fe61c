"""Longer calls of WSGI applications: bodies in pieces, clients that leave, servers that stop."""

from __future__ import annotations

import asyncio
import io

from fastserve._core.errors import ClientDisconnected
from fastserve._core.wsgi.call import WSGICall
from fastserve._core.wsgi.wakeup import Gate
from fastserve._types import Receive, Send
from fastserve.wsgi.body import BodyReader


class ServedCall(WSGICall):
    """A call of a WSGI application in two halves: run() in a thread, serve() in the event loop."""

    __slots__ = ()

    # In the thread

    def wait(self, most: int) -> None:
        """Wait until no more than `most` bytes are unsent, or nobody reads them."""
        if self.gate is None:
            self.make_gate(Gate())
        while self.produced - self.consumed > most and not self.gone:
            self.gate.wait()

    # In the event loop

    def open_body(self, piece: bytes) -> io.BufferedReader:
        """Return wsgi.input for a request whose body begins with this and goes on."""
        self.body = BodyReader(piece, self.report)
        return io.BufferedReader(self.body)

    async def serve(self, receive: Receive, send: Send) -> None:
        """Pass messages on until the application has ended. Raises what it raised, or what send() raised."""
        try:
            if self.failure is not None:
                self._abandon()
            while True:
                if not self.news:
                    self.waiter = asyncio.get_running_loop().create_future()
                    await self.waiter
                    self.waiter = None
                self.news = False
                ended = self.ended  # read here: what the thread has sent until then is collected below
                if self.failure is None:
                    try:
                        await self._pass_on(receive, send)
                    except Exception as exc:
                        self.failure = exc
                        self._abandon()
                if ended:
                    break
        finally:
            self._abandon()
        raise_failure(self, receive)

    async def _pass_on(self, receive: Receive, send: Send) -> None:
        for message, size in self.collect():
            await send(message)
            self.sent(size)
        if has_left(receive):
            self._abandon()
        if self.body is not None and self.body.wanted:
            await self._receive(receive, self.body)

    async def _receive(self, receive: Receive, body: BodyReader) -> None:
        message = await receive()
        if message["type"] == "http.request":
            body.put(message.get("body", b""), message.get("more_body", False))
        else:
            body.fail()

    def _abandon(self) -> None:
        """End all waits of the thread: nothing more is sent or received."""
        self.leave()
        if self.body is not None:
            self.body.fail()


def raise_failure(call: WSGICall, receive: Receive) -> None:
    """Raise what the application raised, else what sending raised."""
    failure = call.failure if call.error is None else call.error
    if call.failure is None and isinstance(failure, ClientDisconnected) and has_left(receive):
        failure = None  # the server's own, not for the application that this is mounted in
    call.failure = call.error = None
    if failure is not None:
        raise failure


def has_left(receive: Receive) -> bool:
    """Return whether the client is gone, as far as this is known if send() does not raise."""
    return getattr(getattr(receive, "__self__", None), "left", False)
