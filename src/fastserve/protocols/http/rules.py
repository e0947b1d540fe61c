"""The rules of RFC 9110 and RFC 9112 for a request that h11 leaves open, and the limits of a head."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from fastserve._core.errors import ProtocolError
from fastserve._core.grammar import TOKEN_BYTES

if TYPE_CHECKING:
    from fastserve.options.table import Options

METHODS = frozenset(
    b"ACL BIND CHECKOUT COPY DELETE GET HEAD LINK LOCK M-SEARCH MERGE MKACTIVITY MKCALENDAR MKCOL MOVE NOTIFY OPTIONS"
    b" PATCH POST PROPFIND PROPPATCH PURGE PUT QUERY REBIND REPORT SEARCH SOURCE SUBSCRIBE TRACE UNBIND UNLINK UNLOCK"
    b" UNSUBSCRIBE".split()
)
TOKEN = re.compile(TOKEN_BYTES)
REQUEST_LINE = re.compile(rb"(%b) ([!\"$-~]+) (HTTP/\d\.\d)" % TOKEN_BYTES)
METHOD_FIRST = re.compile(rb"(%b) " % TOKEN_BYTES)
METHOD_START = re.compile(rb"(?:%b)?" % TOKEN_BYTES)
SPACE = 0x20
FIELD_LINE = re.compile(rb"(%b):[ \t]*([\t\x20-\x7e\x80-\xff]*?)[ \t]*" % TOKEN_BYTES)
ABSOLUTE = re.compile(rb"(https?)://([^/?]*)(.*)", re.IGNORECASE | re.DOTALL)
HOST = re.compile(
    rb"(\[(?=[^\]]*:)[0-9A-Za-z:\-._~%]+\]|(?:[A-Za-z0-9\-._~!$&'()*+;=]|%[0-9A-Fa-f]{2})+)(?::(\d{0,5}))?"
)


def check_head(raw: bytes | bytearray, options: Options) -> int:
    """Return the size of the head that `raw` begins with, 0 if it is incomplete.

    Raises ProtocolError for a head that must not be served.
    """
    end = raw.find(b"\r\n\r\n")
    head = bytes(raw if end < 0 else raw[:end])
    check_limits(head, end >= 0, options)
    if end < 0:
        check_start(head)
        return 0
    line, *fields = head.split(b"\r\n")
    method, target, version = check_line(line)
    values: dict[bytes, list[bytes]] = {}
    for field in fields:
        match = FIELD_LINE.fullmatch(field)
        if match is None:
            raise ProtocolError(400, "malformed header field")
        values.setdefault(match[1].lower(), []).append(match[2])
    check_target(method, target)
    check_framing(values, version, options)
    check_host(values.get(b"host", []), version)
    return end + 4


def empty_lines(data: bytes | bytearray) -> int:
    """Return how many bytes the empty lines before a head have (RFC 9112 section 2.2)."""
    size = 0
    while data.startswith(b"\r\n", size):
        size += 2
    return size


def check_limits(head: bytes, complete: bool, options: Options) -> None:
    line = head.partition(b"\r\n")[0]
    if len(line) > options.limit_request_line:
        raise ProtocolError(414, "request line over the limit")
    if len(head) + 4 * complete > options.limit_request_head:
        raise ProtocolError(431, "request head over the limit")
    ends = head.count(b"\r\n")  # of the request line, and of all fields but a complete head's last
    if ends - (not complete) > options.limit_request_fields:
        raise ProtocolError(431, "more fields than the limit")
    if head.count(b"\n") != head.count(b"\r\n"):
        raise ProtocolError(400, "line that does not end in CRLF")


def check_start(head: bytes) -> None:
    """Raise ProtocolError for bytes with which no head begins: noise has no end to wait for."""
    first = METHOD_START.match(head)
    assert first is not None
    if head in (first[0], b"\r"):
        return
    if not first[0] or head[first.end()] != SPACE:
        raise ProtocolError(400, "malformed request line")
    if first[0] not in METHODS:
        raise ProtocolError(501, "unknown method")


def check_line(line: bytes) -> tuple[bytes, bytes, bytes]:
    match = REQUEST_LINE.fullmatch(line)
    first = METHOD_FIRST.match(line)
    if first is not None and first[1] not in METHODS:
        raise ProtocolError(501, "unknown method")
    if match is None:
        raise ProtocolError(400, "malformed request line")
    if not match[3].startswith(b"HTTP/1."):
        raise ProtocolError(505, "HTTP version not supported")
    return match[1], match[2], match[3]


def check_target(method: bytes, target: bytes) -> None:
    """Check the target's form (RFC 9112 section 3.2); all are in visible ASCII."""
    if target == b"*" and method != b"OPTIONS":
        raise ProtocolError(400, "asterisk-form without OPTIONS")
    if target == b"*" or target.startswith(b"/"):
        return
    absolute = ABSOLUTE.fullmatch(target)
    if absolute is None:
        raise ProtocolError(400, "malformed request target")
    check_authority(absolute[2])


def check_framing(values: dict[bytes, list[bytes]], version: bytes, options: Options) -> None:
    """Check Content-Length, Transfer-Encoding and Expect; refuse what another server could interpret differently."""
    lengths = values.get(b"content-length", [])
    codings = values.get(b"transfer-encoding", [])
    if len(lengths) > 1 or (lengths and re.fullmatch(rb"[0-9]{1,19}", lengths[0]) is None):
        raise ProtocolError(400, "invalid Content-Length")
    if codings:
        if lengths:
            raise ProtocolError(400, "both Content-Length and Transfer-Encoding")
        check_codings(codings, version)
    if options.limit_request_body and lengths and int(lengths[0]) > options.limit_request_body:
        raise ProtocolError(413, "request body over the limit")
    expectations = members_of(values.get(b"expect", []))
    if version != b"HTTP/1.0" and not expectations <= {b"100-continue"}:
        raise ProtocolError(417, "unknown expectation")


def check_codings(codings: list[bytes], version: bytes) -> None:
    if version == b"HTTP/1.0" or len(codings) > 1:
        raise ProtocolError(400, "unreliable Transfer-Encoding")
    members = [member.strip(b" \t").lower() for member in codings[0].split(b",")]
    if b"chunked" in members[:-1] or not all(map(TOKEN.fullmatch, members)):
        raise ProtocolError(400, "malformed Transfer-Encoding")
    if members != [b"chunked"]:
        raise ProtocolError(501, "transfer coding other than chunked")


def check_host(hosts: list[bytes], version: bytes) -> None:
    """Check for one valid Host (RFC 9112 section 3.2), also if the target has an authority, which then has priority."""
    if len(hosts) > 1:
        raise ProtocolError(400, "more than one Host header")
    if not hosts and version != b"HTTP/1.0":
        raise ProtocolError(400, "missing Host header")
    for host in hosts:
        check_authority(host)


def check_authority(text: bytes) -> None:
    match = HOST.fullmatch(text)
    if match is None or int(match[2] or 0) > 65535:
        raise ProtocolError(400, "malformed Host header")


def authority_of(target: bytes) -> tuple[bytes, bytes] | None:
    """Return scheme and authority of a checked target, None if it has none."""
    absolute = None if target.startswith((b"/", b"*")) else ABSOLUTE.fullmatch(target)
    return absolute and (absolute[1].lower(), absolute[2])


def with_host(headers: list[tuple[bytes, bytes]], authority: bytes) -> list[tuple[bytes, bytes]]:
    """Return the fields with `authority` in place of Host, which HTTP/1.0 may lack (RFC 9112 section 3.2.2)."""
    if not any(name == b"host" for name, _ in headers):
        return [(b"host", authority), *headers]
    return [(name, authority if name == b"host" else value) for name, value in headers]


def split_target(target: bytes) -> tuple[bytes, bytes]:
    """Return path and query of a checked target."""
    absolute = None if target.startswith((b"/", b"*")) else ABSOLUTE.fullmatch(target)
    path, _, query = (absolute[3] if absolute else target).partition(b"?")
    return path or b"/", query


def wants_close(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    return has_member(headers, b"connection", b"close")


def wants_upgrade(version: bytes, headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Return whether a request asks for another protocol; an HTTP/1.0 request cannot (RFC 9110 section 7.8)."""
    asks = any(name == b"upgrade" for name, _ in headers)
    return asks and version != b"1.0" and has_member(headers, b"connection", b"upgrade")


def wants_websocket(version: bytes, headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Return whether a request asks for a WebSocket."""
    return wants_upgrade(version, headers) and has_member(headers, b"upgrade", b"websocket")


def has_member(headers: Iterable[tuple[bytes, bytes]], name: bytes, member: bytes) -> bool:
    """Return whether the list in the fields of this name together has a member."""
    return member in members_of(value for each, value in headers if each == name)


def members_of(values: Iterable[bytes]) -> set[bytes]:
    """Return the members, in lower case, of the list in several values together, without empty elements."""
    return {each for each in (each.strip(b" \t").lower() for each in b",".join(values).split(b",")) if each}
