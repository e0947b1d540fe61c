"""The head of a response as an application gives it, and the responses that the server makes itself."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from fastserve._core.grammar import TOKEN_BYTES

TOKEN = re.compile(TOKEN_BYTES)
FORBIDDEN_IN_VALUES = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")  # RFC 9110 section 5.5

REPLACED = frozenset((b"date", b"server", b"strict-transport-security"))  # by the application's own

Fields = list[tuple[bytes, bytes]]


@dataclass
class Head:
    """Status and fields of a response, and the contents of fields that the server writes itself."""

    status: int
    fields: Fields = field(default_factory=list)
    content_length: int | None = None
    close: bool = False  # the application asks for the end of the connection
    upgrade: bytes = b""  # other members of Connection


def phrase(status: int) -> bytes:
    try:
        return HTTPStatus(status).phrase.encode()
    except ValueError:
        return b""


STATUS_PHRASES = {status: phrase(status) for status in range(100, 600)}


def has_no_body(status: int) -> bool:
    """Return whether a status has no body, with any method (RFC 9112 section 6.3; 205: RFC 9110 section 15.3.6)."""
    return status < 200 or status in (204, 205, 304)


def as_bytes(part: Any, what: str) -> bytes:
    if isinstance(part, str):
        return part.encode("ascii")
    if not isinstance(part, bytes | bytearray | memoryview):
        raise TypeError(f"{what} must be bytes, not {type(part).__name__}: {part!r}")
    return bytes(part)


def response_head(status: Any, headers: Iterable[Any]) -> Head:
    """Return the head of a response as an application gave it. Raises TypeError, ValueError."""
    if not isinstance(status, int):
        raise TypeError(f"the response status must be an integer, not {status!r}")
    if not 100 <= status <= 999:
        raise ValueError(f"the response status must have three digits: {status!r}")
    head = Head(int(status))
    for pair in headers:
        name, value = pair
        name = as_bytes(name, "the name of a header").lower()
        value = as_bytes(value, "the value of a header").strip(b" \t")  # h11 refuses it; no value has it
        if not TOKEN.fullmatch(name):
            raise ValueError(f"invalid header name: {name!r}")
        if FORBIDDEN_IN_VALUES.search(value):
            raise ValueError(f"invalid value of header {name!r}: {value!r}")
        if name == b"content-length":
            note_length(head, value)
        elif name == b"connection":
            note_connection(head, value)
        elif name != b"transfer-encoding":  # only the server's
            head.fields.append((name, value))
    return head


def note_length(head: Head, value: bytes) -> None:
    if not re.fullmatch(rb"[0-9]{1,18}", value):
        raise ValueError(f"invalid Content-Length: {value!r}")
    if head.content_length not in (None, int(value)):
        raise ValueError("the response has two different Content-Length fields")
    head.content_length = int(value)


def note_connection(head: Head, value: bytes) -> None:
    members = [member.strip(b" \t").lower() for member in value.split(b",")]
    head.close = head.close or b"close" in members
    if members not in ([b"close"], [b"keep-alive"]):
        head.fields.append((b"connection", value))


def with_defaults(fields: Fields, defaults: Iterable[tuple[bytes, bytes]]) -> Fields:
    """Return the fields, followed by the default ones that the application's own do not replace."""
    own = {name for name, _ in fields}
    return [*fields, *((name, value) for name, value in defaults if name not in REPLACED or name not in own)]


def plain_response(status: int, defaults: Iterable[tuple[bytes, bytes]], extra: Fields, with_body: bool) -> bytes:
    """Return a whole response of the server's own: the reason phrase as text, and `Connection: close`."""
    body = phrase(status)
    fields: Fields = [(b"content-type", b"text/plain; charset=utf-8"), *extra]
    fields = with_defaults(fields, defaults)
    fields += [(b"content-length", str(len(body)).encode()), (b"connection", b"close")]
    lines = [b"HTTP/1.1 %d %s" % (status, body), *(b"%s: %s" % pair for pair in fields), b"", b""]
    return b"\r\n".join(lines) + (body if with_body else b"")


def check_length(remaining: int, size: int, more: bool) -> None:
    """Raise RuntimeError for a piece of body that does not fit what remains of its Content-Length."""
    if size > remaining:
        raise RuntimeError("Response content longer than Content-Length")
    if not more and size < remaining:
        raise RuntimeError("Response content shorter than Content-Length")
