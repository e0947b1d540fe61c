"""The client's half of HTTP/1.1: responses out of bytes, as strict as the server is expected to write them."""

from __future__ import annotations

import io
import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing_extensions import Self

STATUS_LINE = re.compile(rb"HTTP/1\.1 (\d{3}) ([\t\x20-\x7e\x80-\xff]*)\r\n")
FIELD_LINE = re.compile(rb"([!#$%&'*+\-.^_`|~0-9a-z]+): ?([^\r\n\x00]*)\r\n")
GOOD = b"GET /good HTTP/1.1\r\nHost: good\r\n\r\n"


@dataclass
class Response:
    status: int
    reason: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes

    def all(self, name: bytes) -> list[bytes]:
        return [value for field, value in self.headers if field == name]

    def get(self, name: bytes) -> bytes | None:
        """Return the value of the one field of that name, or None; two are an error."""
        values = self.all(name)
        assert len(values) <= 1, f"{name!r} came {len(values)} times"
        return values[0] if values else None

    @property
    def closes(self) -> bool:
        return self.get(b"connection") == b"close"


def exactly(file: Any, size: int) -> bytes:
    data: bytes = file.read(size) if size else b""
    assert len(data) == size, f"{size} bytes were to come, {len(data)} came"
    return data


def chunks(file: Any) -> list[bytes]:
    """Return the chunks of a chunked body, which has no extensions or trailers."""
    found: list[bytes] = []
    while True:
        line = file.readline()
        assert re.fullmatch(rb"[0-9a-f]+\r\n", line), f"not a chunk size: {line!r}"
        size = int(line, 16)
        data = exactly(file, size)
        assert exactly(file, 2) == b"\r\n"
        if not size:
            return found
        found.append(data)


def response(file: Any, method: str = "GET") -> Response:
    """Return the next response, interim ones as well, to a request of `method` (RFC 9112 section 6.3)."""
    first = file.readline()
    line = STATUS_LINE.fullmatch(first)
    assert line, f"not a status line: {first!r}"
    headers = []
    while (each := file.readline()) != b"\r\n":
        match = FIELD_LINE.fullmatch(each)
        assert match, f"not a field line: {each!r}"
        headers.append((match[1], match[2]))
    found = Response(int(line[1]), line[2], headers, b"")
    length = found.get(b"content-length")
    if method == "HEAD" or found.status < 200 or found.status in (204, 304):
        return found
    if found.get(b"transfer-encoding") == b"chunked":
        assert length is None
        found.body = b"".join(chunks(file))
    elif length is not None:
        found.body = exactly(file, int(length))
    else:
        found.body = file.read()
    return found


def responses(data: bytes, methods: Iterable[str] = ()) -> list[Response]:
    """Return the responses that `data` consists of; `methods` are those of the requests, GET after the last."""
    file = io.BytesIO(data)
    left = list(methods)
    found = []
    while file.tell() < len(data):
        found.append(response(file, left[0] if left else "GET"))
        if found[-1].status >= 200 and left:
            left.pop(0)
    return found


class Wire:
    """A real connection: bytes go out as they are, responses come back parsed."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.file = sock.makefile("rb")

    def send(self, data: bytes) -> Wire:
        self.sock.sendall(data)
        return self

    def response(self, method: str = "GET") -> Response:
        return response(self.file, method)

    def ask(self, data: bytes, method: str = "GET") -> Response:
        return self.send(data).response(method)

    def end(self) -> Wire:
        """Half-close: no more requests come."""
        self.sock.shutdown(socket.SHUT_WR)
        return self

    def rest(self) -> bytes:
        """Return what comes until the server closes; a timeout of the socket if it does not."""
        try:
            data: bytes = self.file.read()
        except (ConnectionResetError, BrokenPipeError):  # OpenSSL 3.6 sends an alert where it misses one
            return b""
        return data

    def close(self) -> None:
        self.file.close()
        self.sock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
