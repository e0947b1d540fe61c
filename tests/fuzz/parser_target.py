"""The parser alone: its limits, its events, and h11 as the judge of what it accepts.

Input: one byte for the limits, one for the number of cuts, a byte for each cut, then the client's bytes.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from typing import Any

import h11
from fakes.settings import make_settings
from fuzz.target import Target, cut
from fuzz.words import WORDS
from protocol import corpus

from fastserve._core.settings import Settings
from fastserve._core.testing import parse

Event = tuple[Any, ...]
Request = tuple[Event, bytes]  # the head and the body of a request that is complete

MOST_CUTS = 16
STATUSES = (400, 413, 414, 417, 431, 501, 505)
# What h11 says of a chunk whose size has more than its 20 digits; RFC 9112 section 7.1 lets zeros lead it.
LONG_SIZE = re.compile(r"illegal chunk header: bytearray\(b'[0-9a-fA-F]{21}")
TOKEN = frozenset(b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
LIMITS: tuple[dict[str, Any], ...] = (
    {},
    {"limit_request_line": 40, "limit_request_head": 120, "limit_request_fields": 4, "limit_request_body": 9},
    {"limit_request_line": 1000, "limit_request_head": 300, "limit_request_fields": 1},
    {"limit_request_body": 1},
)


@functools.cache
def settings(choice: int) -> Settings:
    return make_settings(**LIMITS[choice % len(LIMITS)])


def joined(events: list[Event]) -> list[Event]:
    """The events with neighbouring pieces of body as one: how they are divided is the only thing that cuts decide."""
    found: list[Event] = []
    for event in events:
        if event[0] == "body" and found and found[-1][0] == "body":
            found[-1] = ("body", found[-1][1] + event[1])
        else:
            found.append(event)
    return found


def requests(events: list[Event]) -> list[Request]:
    """The requests that were found complete; asserts that the events come in an order that means something."""
    found: list[Request] = []
    head: Event | None = None
    data = b""
    for index, event in enumerate(events):
        if event[0] == "head":
            assert head is None, "a head inside a request"
            head, data = event, b""
        elif event[0] == "body":
            assert head is not None and event[1], "body without a head, or nothing of it"
            data += event[1]
        elif event[0] == "done":
            assert head is not None, "the end of no request"
            found.append((head, data))
            head = None
        else:
            assert event[0] == "fault" and index == len(events) - 1, "something follows a fault"
            assert event[1] in STATUSES and event[2], event
    return found


def check_head(head: Event, limits: Settings) -> None:
    _, method, target, minor, fields, _ = head
    assert method.isascii() and method and set(method.encode()) <= TOKEN
    assert target and all(0x20 < byte < 0x7F for byte in target), target
    assert len(method) + 1 + len(target) + len(" HTTP/1.1") <= limits.limit_request_line
    assert minor in (0, 1)
    assert len(fields) <= limits.limit_request_fields
    size = 0
    for name, value in fields:
        assert name and set(name) <= TOKEN, name
        assert all(byte == 9 or (byte >= 0x20 and byte != 0x7F) for byte in value), value
        assert value == value.strip(b" \t"), value
        size += len(name) + len(value) + 3
    assert size <= limits.limit_request_head
    lower = [name.lower() for name, _ in fields]
    assert lower.count(b"host") == 1 or (minor == 0 and lower.count(b"host") == 0)
    assert lower.count(b"content-length") + lower.count(b"transfer-encoding") <= 1


def read_by_h11(data: bytes, count: int) -> Iterator[tuple[bytes, bytes, list[tuple[bytes, bytes]], bytes]]:
    """The first `count` requests of `data` in the eyes of h11, up to where it stops. Raises what it raises."""
    peer = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    peer.receive_data(data)
    for _ in range(count):
        try:
            event = peer.next_event()
        except h11.RemoteProtocolError as error:
            if str(error) == "no request line received":
                return  # an empty line, which a server should skip (RFC 9112 section 2.2)
            raise
        assert type(event) is h11.Request, event
        body = b""
        try:
            while type(part := peer.next_event()) is h11.Data:
                body += bytes(part.data)
        except h11.RemoteProtocolError as error:
            if LONG_SIZE.search(str(error)):
                return
            raise
        assert type(part) is h11.EndOfMessage, part
        yield event.method, event.target, event.headers.raw_items(), body
        if peer.their_state is not h11.DONE:
            return  # it does not read on after a request that asks to close
        peer.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
        peer.send(h11.EndOfMessage())
        peer.start_next_cycle()


def check_with_h11(data: bytes, found: list[Request]) -> None:
    """Whatever is accepted means the same to another strict reader: nothing can be smuggled past one of the two."""
    for (head, body), other in zip(found, read_by_h11(data, len(found)), strict=False):
        fields = [(name, value.lower() if name.lower() == b"transfer-encoding" else value) for name, value in head[4]]
        ours = (head[1].encode(), head[2], fields, body)
        assert ours == other, f"h11: {other}, here: {ours}"


def check(data: bytes) -> None:
    limits = settings(data[0] if data else 0)
    count = data[1] % (MOST_CUTS + 1) if len(data) > 1 else 0
    cuts, stream = data[2 : 2 + count], data[2 + count :]
    events = joined(parse(limits, [stream]))
    other = joined(parse(limits, cut(stream, cuts)))
    assert other == events, f"cut: {other}, whole: {events}"
    found = requests(events)
    for head, body in found:
        check_head(head, limits)
        assert not limits.limit_request_body or len(body) <= limits.limit_request_body
    if found:
        check_with_h11(stream, found)


def seeds() -> Iterator[bytes]:
    for case in corpus.load():
        yield bytes([0, 0]) + case.data
        if len(case.data) < 1000:
            yield bytes([1, 3, 20, 30, 40]) + case.data


TARGET = Target("parser", check, seeds, WORDS)
