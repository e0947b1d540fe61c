"""The rules of RFC 9110 and RFC 9112 for a request that h11 leaves open, and the limits of a head."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from fastserve._core.errors import ProtocolError

if TYPE_CHECKING:
    from fastserve.config import Config

METHODS = frozenset(
    b"ACL BIND CHECKOUT COPY DELETE GET HEAD LINK LOCK M-SEARCH MERGE MKACTIVITY MKCALENDAR MKCOL MOVE NOTIFY OPTIONS"
    b" PATCH POST PROPFIND PROPPATCH PURGE PUT QUERY REBIND REPORT SEARCH SOURCE SUBSCRIBE TRACE UNBIND UNLINK UNLOCK"
    b" UNSUBSCRIBE".split()
)
# Those that no trailer section may have (RFC 9110 section 6.5.1).
FORBIDDEN_TRAILERS = frozenset(
    b"authorization cache-control connection content-encoding content-length content-range content-type cookie expect"
    b" forwarded host if-match if-modified-since if-none-match if-range if-unmodified-since keep-alive max-forwards"
    b" pragma proxy-authorization proxy-connection range set-cookie te trailer transfer-encoding upgrade"
    b" x-forwarded-for x-forwarded-host x-forwarded-proto x-real-ip".split()
)
TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
REQUEST_LINE = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+) ([!\"$-~]+) (HTTP/\d\.\d)")
METHOD_FIRST = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+) ")
FIELD_LINE = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([\t\x20-\x7e\x80-\xff]*?)[ \t]*")
ABSOLUTE = re.compile(rb"(https?)://([^/?]*)(.*)", re.IGNORECASE | re.DOTALL)
HOST = re.compile(
    rb"(\[(?=[^\]]*:)[0-9A-Za-z:\-._~%]+\]|(?:[A-Za-z0-9\-._~!$&'()*+;=]|%[0-9A-Fa-f]{2})+)(?::(\d{0,5}))?"
)


def check_head(raw: bytes, config: Config) -> bool:
    """Say whether `raw` begins with a complete head. Raises ProtocolError for one that is not to be served."""
    end = raw.find(b"\r\n\r\n")
    head = raw if end < 0 else raw[:end]
    check_limits(head, end >= 0, config)
    if end < 0:
        return False
    line, *fields = head.split(b"\r\n")
    method, target, version = check_line(line)
    values: dict[bytes, list[bytes]] = {}
    for field in fields:
        match = FIELD_LINE.fullmatch(field)
        if match is None:
            raise ProtocolError(400, "malformed header field")
        values.setdefault(match[1].lower(), []).append(match[2])
    check_target(method, target)
    check_framing(values, version, config)
    check_host(target, values.get(b"host", []), version)
    return True


def without_empty_lines(data: bytes) -> bytes:
    """Return the beginning of a head without the empty lines before it (RFC 9112 section 2.2)."""
    while data.startswith(b"\r\n"):
        data = data[2:]
    return data


def check_limits(head: bytes, complete: bool, config: Config) -> None:
    line = head.partition(b"\r\n")[0]
    if len(line) > config.limit_request_line:
        raise ProtocolError(414, "request line over the limit")
    if len(head) + 4 * complete > config.limit_request_head:
        raise ProtocolError(431, "request head over the limit")
    ends = head.count(b"\r\n")  # of the request line, and of all fields but a complete head's last
    if ends - (not complete) > config.limit_request_fields:
        raise ProtocolError(431, "more fields than the limit")
    if head.count(b"\n") != head.count(b"\r\n"):
        raise ProtocolError(400, "line that does not end in CRLF")


def check_line(line: bytes) -> tuple[bytes, bytes, bytes]:
    match = REQUEST_LINE.fullmatch(line)
    first = METHOD_FIRST.match(line)
    if first is not None and first[1] not in METHODS:
        raise ProtocolError(501, "unknown method")
    if match is None:
        raise ProtocolError(400, "malformed request line")
    if match[3] not in (b"HTTP/1.0", b"HTTP/1.1"):
        raise ProtocolError(505, "HTTP version not supported")
    return match[1], match[2], match[3]


def check_target(method: bytes, target: bytes) -> None:
    """The forms of RFC 9112 section 3.2, all in visible ASCII."""
    if target == b"*" and method != b"OPTIONS":
        raise ProtocolError(400, "asterisk-form without OPTIONS")
    if target != b"*" and not target.startswith(b"/") and not ABSOLUTE.fullmatch(target):
        raise ProtocolError(400, "malformed request target")


def check_framing(values: dict[bytes, list[bytes]], version: bytes, config: Config) -> None:
    """Content-Length, Transfer-Encoding and Expect; nothing that another server could understand in another way."""
    lengths = values.get(b"content-length", [])
    codings = values.get(b"transfer-encoding", [])
    if len(lengths) > 1 or (lengths and re.fullmatch(rb"[0-9]{1,19}", lengths[0]) is None):
        raise ProtocolError(400, "Content-Length that is no length")
    if codings:
        if lengths:
            raise ProtocolError(400, "Content-Length beside Transfer-Encoding")
        check_codings(codings, version)
    if config.limit_request_body and lengths and int(lengths[0]) > config.limit_request_body:
        raise ProtocolError(413, "request body over the limit")
    for expectation in values.get(b"expect", []):
        if version == b"HTTP/1.1" and expectation.lower() != b"100-continue":
            raise ProtocolError(417, "unknown expectation")


def check_codings(codings: list[bytes], version: bytes) -> None:
    if version == b"HTTP/1.0" or len(codings) > 1:
        raise ProtocolError(400, "Transfer-Encoding that cannot be relied on")
    members = [member.strip(b" \t").lower() for member in codings[0].split(b",")]
    if b"chunked" in members[:-1] or not all(map(TOKEN.fullmatch, members)):
        raise ProtocolError(400, "malformed Transfer-Encoding")
    if members != [b"chunked"]:
        raise ProtocolError(501, "transfer coding other than chunked")


def check_host(target: bytes, hosts: list[bytes], version: bytes) -> None:
    """RFC 9112 section 3.2, and a Host that agrees with the target where the target has an authority."""
    if len(hosts) > 1 or (not hosts and version == b"HTTP/1.1"):
        raise ProtocolError(400, "not one Host field")
    host = authority(hosts[0], 80) if hosts else None
    absolute = ABSOLUTE.fullmatch(target) if not target.startswith((b"/", b"*")) else None
    if absolute is not None:
        default = 443 if absolute[1].lower() == b"https" else 80
        named = authority(absolute[2], default)
        if hosts and named != authority(hosts[0], default):
            raise ProtocolError(400, f"Host differs from the authority of the request target: {host}, {named}")


def authority(text: bytes, default_port: int) -> tuple[bytes, int]:
    """Return the name in lower case and the port. Raises ProtocolError for what is no host."""
    match = HOST.fullmatch(text)
    if match is None or int(match[2] or 0) > 65535:
        raise ProtocolError(400, "malformed Host")
    return match[1].lower(), int(match[2] or default_port)


def check_trailers(names: Iterable[bytes]) -> None:
    """Raises ProtocolError for a trailer section with a field that is decided before trailers come."""
    if any(name.lower() in FORBIDDEN_TRAILERS for name in names):
        raise ProtocolError(400, "forbidden trailer field")


def split_target(target: bytes) -> tuple[bytes, bytes]:
    """Return path and query of a checked target."""
    absolute = None if target.startswith((b"/", b"*")) else ABSOLUTE.fullmatch(target)
    path, _, query = (absolute[3] if absolute else target).partition(b"?")
    return path or b"/", query


def wants_close(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    return has_member(headers, b"connection", b"close")


def wants_upgrade(version: bytes, headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Say whether a request asks for another protocol; one of HTTP/1.0 cannot (RFC 9110 section 7.8)."""
    asks = any(name == b"upgrade" for name, _ in headers)
    return asks and version == b"1.1" and has_member(headers, b"connection", b"upgrade")


def wants_websocket(version: bytes, headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Say whether a request asks for a WebSocket."""
    return wants_upgrade(version, headers) and has_member(headers, b"upgrade", b"websocket")


def has_member(headers: Iterable[tuple[bytes, bytes]], name: bytes, member: bytes) -> bool:
    """Say whether the list that the fields of this name make together has a member."""
    members = b",".join(value for each, value in headers if each == name).split(b",")
    return any(each.strip().lower() == member for each in members)
