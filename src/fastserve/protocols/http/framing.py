"""How requests and responses are delimited on the wire (RFC 9112 section 6): bytes in, bytes out, by h11."""

from __future__ import annotations

import re
from collections.abc import Mapping

import h11

from fastserve._core.errors import ProtocolError
from fastserve.protocols.http import response
from fastserve.protocols.http.chunks import Chunked

DISCARD = 1 << 20  # bytes of an unwanted body that are read in order to keep the connection
FIELD_NAME = re.compile(rb"^[^\s:]+:", re.MULTILINE)


class RequestBody:
    """The body of the request under way, out of the input that follows its head."""

    def __init__(self, conn: h11.Connection, fields: Mapping[bytes, bytes], most: int) -> None:
        """`fields` are those of the head; `most` limits a trailer section."""
        self.conn = conn
        coded = b"transfer-encoding" in fields
        self.chunks = Chunked(most) if coded else None
        self.length = None if coded else int(fields.get(b"content-length", 0))  # None where chunks tell it
        self.size = 0  # of what was delivered
        self.ended = False

    def take(self, data: bytearray) -> bytes:
        """Return the next piece of the body, and remove its bytes from `data`; `ended` is true after the last one."""
        if self.chunks is not None:
            piece = self.chunks.decode(data)
            self.ended = self.chunks.ended
            return piece
        left = (self.length or 0) - self.size
        piece, self.ended = bytes(data[:left]), len(data) >= left
        del data[:left]
        if piece:
            self.conn.receive_data(piece)
            self.conn.next_event()
        return piece

    def check(self) -> None:
        """Raise the ProtocolError that was found after the last piece, if any."""
        if self.chunks is not None and self.chunks.fault is not None:
            fault: ProtocolError = self.chunks.fault
            raise fault

    @property
    def has_more(self) -> bool:
        """Whether there is another piece in the same input."""
        return self.chunks is not None and self.chunks.more

    def finish(self) -> None:
        """Tell h11 of the end."""
        if self.chunks is not None:
            self.conn.receive_data(b"0\r\n\r\n")  # it sees none of the chunks
        self.conn.next_event()

    @property
    def may_be_discarded(self) -> bool:
        """Whether the rest may be read in order to keep the connection."""
        return self.length is not None and self.length <= self.size + DISCARD


class ResponseFraming:
    """How much body the response under way has, and its bytes."""

    def __init__(self, conn: h11.Connection) -> None:
        self.conn = conn
        self.is_head = False  # the request's method is HEAD
        self.no_body = False
        self.remaining: int | None = None  # bytes of Content-Length still to come

    def decide(self, head: response.Head, size: int, more: bool) -> int | None:
        """Return the Content-Length of a response whose first piece has this size. Raises RuntimeError."""
        length = 0 if head.status == 205 else head.content_length
        self.no_body = self.is_head or response.has_no_body(head.status)
        if not self.no_body and length is not None:
            response.check_length(length, size, more)
        if head.status == 204:
            length = None
        elif length is None and not more and head.status != 304 and (size or not self.is_head):
            length = size
        self.remaining = None if self.no_body else length
        return length

    def check(self, size: int, more: bool) -> None:
        """Raise RuntimeError for a further piece that does not fit the Content-Length."""
        if self.remaining is not None and not self.no_body:
            response.check_length(self.remaining, size, more)

    def head(self, status: int, fields: response.Fields) -> bytes:
        """Raises ValueError for what h11 refuses."""
        try:
            output = self.encode(h11.Response(status_code=status, headers=fields, reason=response.phrase(status)))
        except h11.LocalProtocolError as exc:
            raise ValueError(str(exc)) from None
        return FIELD_NAME.sub(lambda match: match[0].lower(), output)  # h11 capitalises its own

    def body(self, data: bytes, more: bool) -> bytes:
        output = b""
        if self.remaining is not None:
            self.remaining -= len(data)
        if data and not self.no_body:
            output += self.encode(h11.Data(data=data))
        if not more and self.conn.our_state is h11.SEND_BODY:
            output += self.encode(h11.EndOfMessage())
        return output

    def encode(self, event: h11.Event) -> bytes:
        return self.conn.send(event) or b""
