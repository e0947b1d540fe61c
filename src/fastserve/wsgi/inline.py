"""Calls of WSGI applications in the event loop's own thread: the parts that wait."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterator
from typing import IO

from fastserve._core.wsgi.call import WSGICall
from fastserve._types import Message, Receive, Send
from fastserve.wsgi.call import has_left, raise_failure

IN_MEMORY = 1 << 20  # bytes of a body; a longer one goes into a temporary file
MOST_WRITTEN = 1 << 28  # bytes that an application may write() before it returns
BLOCK = 65536  # bytes


class Kept:
    """A body that is kept until it is complete: in memory, or in a temporary file if it is large."""

    def __init__(self) -> None:
        self._file: IO[bytes] = io.BytesIO()
        self._size = 0

    @property
    def size(self) -> int:
        return self._size

    def put(self, piece: bytes) -> None:
        if self._size <= IN_MEMORY < self._size + len(piece):
            import tempfile

            with self._file as memory:
                self._file = tempfile.TemporaryFile()  # noqa: SIM115 (close() does it)
                self._file.write(memory.getbuffer())  # type: ignore[attr-defined]
        self._size += len(piece)
        self._file.write(piece)

    def opened(self) -> IO[bytes]:
        """Return the body as a file, at its beginning."""
        self._file.seek(0)
        return self._file

    def close(self) -> None:
        self._file.close()


class Written(Kept):
    """What an application has given to write() before it returned, and the start of its response."""

    def __init__(self) -> None:
        super().__init__()
        self.start: list[Message] = []

    def messages(self) -> Iterator[Message]:
        yield from self.start
        file = self.opened()
        while piece := file.read(BLOCK):
            yield {"type": "http.response.body", "body": piece, "more_body": True}


class InlineCall(WSGICall):
    """A call of a WSGI application without a thread. serve() waits for the client; advance() never waits."""

    __slots__ = ()

    def open_body(self, piece: bytes) -> None:
        """Keep the body of a request, of which `piece` is the first part, until it is complete."""
        self.body = Kept()
        self.body.put(piece)

    def wait(self, most: int) -> None:
        """Move what write() was given to a file, because nothing can be sent before the application returns.

        Raises RuntimeError if it is too much.
        """
        if self.written is None:
            self.written = Written()
        for message, _ in self.collect():
            if message["type"] == "http.response.start":
                self.written.start.append(message)
            else:
                self.written.put(message["body"])
        self.sent(self.produced - self.consumed)
        if self.written.size > MOST_WRITTEN:
            raise RuntimeError(f"write() takes at most {MOST_WRITTEN} bytes with --wsgi-threads 0: return an iterable")

    async def serve(self, receive: Receive, send: Send) -> None:
        """Pass messages on until the application has ended. Raises what the application or send() raises."""
        body = self.body
        try:
            if body is None or await self._receive_body(receive, body):
                await self._respond(receive, send)
        except Exception as exc:
            self.failure = exc
        finally:
            self.finish()
            for kept in (body, self.written):
                if kept is not None:
                    kept.close()
        raise_failure(self, receive)

    async def _receive_body(self, receive: Receive, body: Kept) -> bool:
        """Return false if the client left before the end."""
        more = True
        while more:
            message = await receive()
            if message["type"] != "http.request":
                return False
            body.put(message.get("body", b""))
            more = message.get("more_body", False)
        self.input = body.opened()
        return True

    async def _respond(self, receive: Receive, send: Send) -> None:
        while True:
            await self._pass_on(send)
            if self.ended:
                return
            if self.called:
                await asyncio.sleep(0)  # so that the piece is sent before the next one is made, and other requests run
                if has_left(receive):
                    return
            self.advance()

    async def _pass_on(self, send: Send) -> None:
        if self.written is not None:
            for message in self.written.messages():
                await send(message)
            self.written.close()
            self.written = None
        for message, size in self.collect():
            await send(message)
            self.sent(size)
