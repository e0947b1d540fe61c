"""wsgi.input of a request whose body has not fully arrived when its application is called."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

from fastserve._core.errors import ClientDisconnected
from fastserve._core.wsgi.wakeup import Gate


class BodyReader(io.RawIOBase):
    """The body as it arrives: a read waits in the application's thread until the event loop has put() a piece.

    `ask` tells the event loop that a piece is wanted. Nothing is read ahead here: what the application does not read
    stays in the server's buffer, and then with the client. Reads raise ClientDisconnected, an OSError, if the client
    leaves before the end.
    """

    def __init__(self, piece: bytes, ask: Callable[[], None]) -> None:
        self._pieces: list[bytes | memoryview] = [piece] if piece else []
        self._ask = ask
        self._ended = False
        self._failed = False
        self._gate = Gate()
        self.wanted = False  # `ask` was called and no piece was put yet; set here, cleared in the event loop

    def put(self, piece: bytes, more: bool) -> None:
        """Take the next piece, in the event loop."""
        if piece:
            self._pieces.append(piece)
        self._ended = not more
        self.wanted = False
        self._gate.open()

    def fail(self) -> None:
        """Make reads fail that the body so far cannot satisfy, from any thread."""
        self._failed = True
        self._gate.open()

    def _next(self) -> bytes | memoryview:
        """Return the next piece, b"" at the end."""
        while True:
            ended, failed = self._ended, self._failed  # before the pieces: no piece comes once one of them is set
            if self._pieces:
                return self._pieces.pop(0)
            if ended:
                return b""
            if failed:
                raise ClientDisconnected("the client is gone before the end of the request body")
            if not self.wanted:
                self.wanted = True
                self._ask()
            self._gate.wait()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        piece = self._next()
        room = len(buffer)
        if len(piece) > room:
            view = memoryview(piece)
            self._pieces.insert(0, view[room:])
            piece = view[:room]
        buffer[: len(piece)] = piece
        return len(piece)

    def readall(self) -> bytes:
        return b"".join(iter(self._next, b""))
