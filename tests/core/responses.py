"""Reading responses strictly, from bytes or from a socket."""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass

FIELD = re.compile(rb"([!#$%&'*+\-.^_`|~0-9a-z]+): ([^\x00\r\n]*)\Z")


@dataclass
class Response:
    status: int
    reason: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes = b""
    chunks: int = 0  # of a chunked body

    def all(self, name: bytes) -> list[bytes]:
        return [value for other, value in self.headers if other == name]

    def get(self, name: bytes) -> bytes | None:
        """The value of the only field of that name, or None."""
        values = self.all(name)
        assert len(values) < 2, values
        return values[0] if values else None


class Incomplete(Exception):
    """More bytes are needed."""


def split(data: bytes, mark: bytes = b"\r\n") -> tuple[bytes, bytes]:
    before, found, behind = data.partition(mark)
    if not found:
        raise Incomplete(data)
    return before, behind


def read_head(data: bytes) -> tuple[Response, bytes]:
    head, rest = split(data, b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    match = re.fullmatch(rb"HTTP/1\.1 (\d{3}) (.*)", first)
    assert match, first
    fields = [FIELD.match(line) for line in lines]
    assert all(fields), lines
    return Response(int(match[1]), match[2], [(f[1], f[2]) for f in fields if f]), rest


def read_chunks(response: Response, data: bytes) -> bytes:
    at = 0
    pieces: list[bytes] = []
    while True:
        line = data.find(b"\r\n", at)
        if line < 0:
            raise Incomplete(data)
        begin = line + 2
        end = begin + int(data[at:line], 16)
        if len(data) < end + 2:
            raise Incomplete(data)
        assert data[end : end + 2] == b"\r\n"
        at = end + 2
        if begin == end:
            response.body += b"".join(pieces)
            return data[at:]
        pieces.append(data[begin:end])
        response.chunks += 1


def read_response(data: bytes, method: str = "GET", *, closed: bool = False) -> tuple[Response, bytes]:
    """Return the first response in `data` and what follows it. Raises Incomplete, AssertionError for a bad one."""
    response, rest = read_head(data)
    length = response.get(b"content-length")
    coding = response.get(b"transfer-encoding")
    assert length is None or coding is None
    if method == "HEAD" or response.status < 200 or response.status in (204, 304):
        return response, rest
    if coding is not None:
        assert coding == b"chunked"
        return response, read_chunks(response, rest)
    if (length is None and not closed) or len(rest) < int(length or 0):
        raise Incomplete(rest)
    end = len(rest) if length is None else int(length)
    response.body = rest[:end]
    return response, rest[end:]


def read_responses(data: bytes, *methods: str) -> list[Response]:
    """Return all responses in `data`, after which the connection was closed; methods are GET where none is given."""
    responses: list[Response] = []
    while data:
        method = methods[len(responses)] if len(responses) < len(methods) else "GET"
        response, data = read_response(data, method, closed=True)
        responses.append(response)
    return responses


def read_one(data: bytes, method: str = "GET") -> Response:
    """Return the response that is all of `data`."""
    (response,) = read_responses(data, method)
    return response


class Client:
    """A connection that sends requests and reads responses one by one."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.data = b""

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def _more(self) -> bool:
        more = self.sock.recv(65536)
        self.data += more
        return bool(more)

    def read(self, method: str = "GET") -> Response:
        """Return the next response, reading until it is complete."""
        closed = False
        while True:
            try:
                response, self.data = read_response(self.data, method, closed=closed)
            except Incomplete:
                assert not closed, f"closed in the middle of a response: {self.data[:200]!r}"
                closed = not self._more()
            else:
                return response

    def read_until(self, mark: bytes) -> bytes:
        """Return the bytes up to and including `mark`."""
        while mark not in self.data:
            assert self._more(), f"closed without {mark!r}: {self.data[:200]!r}"
        before, _, self.data = self.data.partition(mark)
        return before + mark

    def ask(self, data: bytes, method: str = "GET") -> Response:
        self.send(data)
        return self.read(method)

    def rest(self) -> bytes:
        """Return all that comes until the server closes."""
        while self._more():
            pass
        rest, self.data = self.data, b""
        return rest

    def at_end(self) -> bool:
        """Wait for the end of the connection; whether nothing came before it."""
        return not self.data and not self._more()

    def close(self) -> None:
        self.sock.close()
