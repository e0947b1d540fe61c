"""The chunked coding of a request's body (RFC 9112 section 7.1), as strict as in the compiled core.

h11 accepts chunk lines with control bytes and extensions of any size, so it never sees the chunks.
"""

from __future__ import annotations

import re

from fastserve._core.errors import ProtocolError
from fastserve._core.grammar import REFUSED_TRAILERS, TOKEN_BYTES
from fastserve.protocols.http.rules import FIELD_LINE

QUOTED = rb'"(?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*"'
CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]+)((?:;%b(?:=(?:%b|%b))?)*)\r\n" % (TOKEN_BYTES, TOKEN_BYTES, QUOTED))
SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,8})\r\n")
LARGEST = (1 << 64) - 1
PIECE = 4096  # bytes of small chunks decoded at a time
STEPS = 64  # the same, of parts that are decoded one by one


class Chunked:
    """Decodes one body. At most `limit` bytes of extensions and trailers are read and dropped.

    `ended` is set when the body is complete, `fault` when it is malformed; then nothing more is decoded. `more` says
    that the last call has left something that can be decoded, lest many small chunks block the loop.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.dropped = 0
        self.part = "size"  # then "data", "end" and "size" again, or at last "trailers"
        self.left = 0  # bytes of the chunk that are still to come
        self.more = False
        self.ended = False
        self.fault: ProtocolError | None = None

    def decode(self, raw: bytearray) -> bytes:
        """Remove from `raw` what can be decoded, at least one part, and return the body in it."""
        pieces: list[bytes] = []
        self.more = False
        try:
            for _ in range(STEPS):
                if self.part == "size" and self.take_whole_chunks(raw, pieces):
                    break
                if not self.step(raw, pieces) or self.ended:
                    return b"".join(pieces)
            self.more = True
        except ProtocolError as exc:
            self.fault = exc
        return b"".join(pieces)

    def take_whole_chunks(self, raw: bytearray, pieces: list[bytes]) -> bool:
        """Remove complete chunks without extensions from `raw`, which is fast. Return whether they were enough."""
        at = 0
        while at < PIECE and (match := SIZE_LINE.match(raw, at)) is not None:
            start = match.end()
            end = start + int(match[1], 16)
            if end == start or raw[end : end + 2] != b"\r\n":
                break
            pieces.append(bytes(raw[start:end]))
            at = end + 2
        del raw[:at]
        return at >= PIECE

    def step(self, raw: bytearray, pieces: list[bytes]) -> bool:
        """Decode one part. Return False if it has not arrived yet. Raises ProtocolError."""
        if self.part == "data":
            piece = bytes(raw[: self.left])
            del raw[: self.left]
            self.left -= len(piece)
            pieces.append(piece)
            if self.left:
                return False
            self.part = "end"
        elif self.part == "end":
            if not b"\r\n".startswith(raw[:2]):
                raise ProtocolError(400, "chunk that does not end with its size")
            if len(raw) < 2:
                return False
            del raw[:2]
            self.part = "size"
        else:
            line = self.take_line(raw)
            if line is None:
                return False
            if self.part == "size":
                self.begin_chunk(line)
            else:
                self.take_trailer(line)
        return True

    def take_line(self, raw: bytearray) -> bytes | None:
        end = raw.find(b"\n")
        if self.dropped + (len(raw) if end < 0 else end) > self.limit + 2:
            raise ProtocolError(431, "chunk extensions or trailers over the limit")
        if end < 0:
            return None
        line = bytes(raw[: end + 1])
        del raw[: end + 1]
        return line

    def begin_chunk(self, line: bytes) -> None:
        match = CHUNK_LINE.fullmatch(line)
        if match is None:
            raise ProtocolError(400, "malformed chunk")
        self.dropped += len(match[2])
        self.left = int(match[1], 16)
        if self.left > LARGEST:
            raise ProtocolError(400, "chunk size that is too large")
        self.part = "data" if self.left else "trailers"

    def take_trailer(self, line: bytes) -> None:
        if line == b"\r\n":
            self.ended = True
            return
        match = FIELD_LINE.fullmatch(line[:-2]) if line.endswith(b"\r\n") else None
        if match is None:
            raise ProtocolError(400, "malformed trailer field")
        if match[1].lower() in REFUSED_TRAILERS:
            raise ProtocolError(400, "forbidden trailer field")
        self.dropped += len(line)
