"""The frames of HTTP/2: what is found, its independence of the cuts, and a second reading of RFC 9113 as the judge.

Input: one byte for the number of cuts and whether the client's preface goes before its bytes, two for the size of each
piece, then those bytes.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import NamedTuple

from fakes.http2 import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    ENHANCE_YOUR_CALM,
    FRAME_SIZE_ERROR,
    GET,
    GOAWAY,
    HEADERS,
    PADDED,
    PING,
    POST,
    PREFACE,
    PRIORITY,
    PRIORITY_UPDATE,
    PROTOCOL_ERROR,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    WITH_PRIORITY,
    data,
    frame,
    goaway,
    headers,
    headers_in_pieces,
    ping,
    priority,
    raw_block,
    rst_stream,
    settings,
    window_update,
)
from fuzz.target import Target, cut

from fastserve._core import counters
from fastserve._core.http2.frames import FrameParser

MOST_CUTS = 16
NO_PREFACE = 0x80
HEAD = 9
BYTEWISE = 400  # bytes, up to which a stream is also read byte by byte
LARGEST = 16384
LARGEST_BLOCK = 65536
MOST_CONTINUATIONS = 8
OF_CONNECTION = (SETTINGS, PING, GOAWAY, PRIORITY_UPDATE)
SIZES = {PRIORITY: 5, RST_STREAM: 4, WINDOW_UPDATE: 4, PING: 8}
LEAST = {GOAWAY: 8, PRIORITY_UPDATE: 4}


class Found(NamedTuple):
    type: int
    flags: int
    stream: int
    payload: bytes
    whole: bool


class Judge:
    """Reads all bytes at a time: frames are in `found`, the code of the error that ends the connection in `fault`."""

    def __init__(self, sent: bytes) -> None:
        self.found: list[Found] = []
        self.fault: int | None = None
        self.block: list[bytes] | None = None  # the fragments of a header block that is not complete
        self.opened = (0, 0)  # the flags and the stream of its HEADERS
        if not PREFACE.startswith(sent[: len(PREFACE)]):
            self.fault = PROTOCOL_ERROR
            return
        at = len(PREFACE)
        while self.fault is None and len(sent) - at >= HEAD:
            length, kind, flags = int.from_bytes(sent[at : at + 3], "big"), sent[at + 3], sent[at + 4]
            stream = int.from_bytes(sent[at + 5 : at + HEAD], "big") % 2**31
            payload = sent[at + HEAD : at + HEAD + length]
            at += HEAD + length
            self.fault = self.head(kind, flags, stream, length)
            if self.fault is None:
                self.fault = self.payload(kind, flags, stream, payload, length)

    def head(self, kind: int, flags: int, stream: int, length: int) -> int | None:
        if length > LARGEST:
            return FRAME_SIZE_ERROR
        if self.block is not None and (kind != CONTINUATION or stream != self.opened[1]):
            return PROTOCOL_ERROR
        if kind == CONTINUATION:
            if self.block is None:
                return PROTOCOL_ERROR
            large = sum(map(len, self.block)) + length > LARGEST_BLOCK
            return ENHANCE_YOUR_CALM if large or len(self.block) > MOST_CONTINUATIONS else None
        if kind > CONTINUATION and kind != PRIORITY_UPDATE:
            return None
        if (kind in OF_CONNECTION and stream) or (kind not in (*OF_CONNECTION, WINDOW_UPDATE) and not stream):
            return PROTOCOL_ERROR
        if kind == PUSH_PROMISE:
            return PROTOCOL_ERROR
        least = LEAST.get(kind, 0)
        if kind in (DATA, HEADERS):
            least = bool(flags & PADDED) + 5 * (kind == HEADERS and bool(flags & WITH_PRIORITY))
        wrong = length != SIZES[kind] if kind in SIZES else length < least
        if wrong or (kind == SETTINGS and (length % 6 or (flags & ACK and length))):
            return FRAME_SIZE_ERROR
        return None

    def payload(self, kind: int, flags: int, stream: int, payload: bytes, length: int) -> int | None:
        whole = len(payload) == length
        if kind == DATA:
            padding = 0
            if flags & PADDED:
                if not payload:
                    return None
                padding, payload, length = payload[0], payload[1:], length - 1
            if padding > length:
                return PROTOCOL_ERROR
            self.found.append(Found(DATA, flags, stream, payload[: length - padding], whole))
        elif kind in (HEADERS, CONTINUATION):
            return self.fragment(kind, flags, stream, payload) if whole else None
        elif whole:
            known = kind < CONTINUATION or kind == PRIORITY_UPDATE
            self.found.append(Found(kind, flags, stream, payload if known else b"", True))
        return None

    def fragment(self, kind: int, flags: int, stream: int, payload: bytes) -> int | None:
        if kind == HEADERS:
            padding = 0
            if flags & PADDED:
                padding, payload = payload[0], payload[1:]
            if flags & WITH_PRIORITY:
                payload = payload[5:]
            if padding > len(payload):
                return PROTOCOL_ERROR
            payload = payload[: len(payload) - padding]
            self.block, self.opened = [], (flags, stream)
        assert self.block is not None
        self.block.append(payload)
        if flags & END_HEADERS:
            self.found.append(Found(HEADERS, self.opened[0] | END_HEADERS, stream, b"".join(self.block), True))
            self.block = None
        return None


def read(pieces: list[bytes]) -> tuple[list[Found], int | None]:
    """What the parser finds; the pieces of a DATA frame as one."""
    parser = FrameParser()
    found: list[Found] = []
    for piece in pieces:
        for event in parser.read(piece):
            if len(event) == 2:
                assert parser.read(piece) == [event], "something follows the fault"
                return found, event[1]
            kind, flags, stream, payload, first, last = event
            if not first:
                before = found.pop()
                assert before[:3] == (DATA, flags, stream) and not before.whole
                payload = before.payload + payload
            assert kind == DATA or last
            found.append(Found(kind, flags, stream, payload, last))
    return found, None


def check(sent: bytes) -> None:
    mode = sent[0] if sent else 0
    count = mode % (MOST_CUTS + 1)
    sizes = [int.from_bytes(sent[at : at + 2], "big") for at in range(1, 1 + 2 * count, 2)]
    stream = (b"" if mode & NO_PREFACE else PREFACE) + sent[1 + 2 * count :]
    judge = Judge(stream)
    buffers = counters.live()["buffer"]
    ways = [[stream], cut(stream, sizes)]
    if len(stream) < BYTEWISE:
        ways.append([stream[at : at + 1] for at in range(len(stream))])
    for pieces in ways:
        assert read(pieces) == (judge.found, judge.fault)
    assert counters.live()["buffer"] == buffers


def seeds() -> Iterator[bytes]:
    source = random.Random(1)
    priorities = frame(PRIORITY_UPDATE, 0, 0, (1).to_bytes(4, "big") + b"u=1")
    block = raw_block(GET)
    padded = frame(HEADERS, END_HEADERS | PADDED | WITH_PRIORITY, 3, b"\x03" + b"\0\0\0\1\5" + block + b"\0\0\0")
    largest, more = frame(HEADERS, 0, 1, bytes(LARGEST)), frame(CONTINUATION, 0, 1, bytes(LARGEST))
    streams = [
        settings() + headers(1) + settings(ack=True),
        settings((4, 100), (5, 20000)) + headers(1, POST, end=False) + data(1, b"abc") + data(1, b"d", end=True, pad=3),
        headers_in_pieces(1, GET, [3, 0, 5]) + padded + priority(5) + ping() + ping(ack=True),
        window_update(0, 5) + rst_stream(1) + goaway(1, 0, b"bye") + priorities + frame(99, 7, 3, b"unknown") + data(1),
        headers_in_pieces(1, GET, [1] * MOST_CONTINUATIONS), headers_in_pieces(1, GET, [1] * (MOST_CONTINUATIONS + 1)),
        largest + more * 3 + frame(CONTINUATION, END_HEADERS, 1), largest + more * 3 + frame(CONTINUATION, 4, 1, b"x"),
        data(1, bytes(LARGEST)), data(1, bytes(LARGEST + 1)), data(0, b"x"), frame(PUSH_PROMISE, 4, 1, bytes(4)),
        headers(1)[:-2], data(1, b"abcd", pad=9)[:-5], frame(HEADERS, 0, 1, block) + ping(), frame(CONTINUATION, 4, 1),
    ]  # fmt: skip
    # Each type with payloads of the sizes around the right ones.
    streams += [
        frame(kind, flags, kind not in OF_CONNECTION, bytes(size))
        for kind in (*range(10), PRIORITY_UPDATE)
        for size in (0, 1, 4, 5, 6, 8, 9)
        for flags in (0, ACK, END_HEADERS | PADDED | WITH_PRIORITY)
    ]
    streams += [frame(kind, PADDED, 1, bytes([size]) + b"abc") for kind in (DATA, HEADERS) for size in (3, 4)]
    for number, stream in enumerate(streams):
        yield bytes([0]) + stream
        sizes = [source.randrange(1, min(len(stream), 65535) + 1) for _ in range(3)]
        yield bytes([len(sizes)]) + b"".join(size.to_bytes(2, "big") for size in sizes) + stream
        if number % 8 == 0:
            yield bytes([NO_PREFACE]) + PREFACE + stream
    yield bytes([NO_PREFACE]) + PREFACE[:20] + b"x"


WORDS = (
    *(bytes([0, 0, size, kind]) for kind, size in enumerate((0, 5, 5, 4, 6, 4, 8, 8, 4, 1))),
    *(bytes([flags, 0, 0, 0, stream]) for flags in (0, 1, 4, 5, 8, 12, 44) for stream in (0, 1)),
    b"\0\x40\0\0", b"\0\x40\0\x01", b"\0\x40\x01\x09", b"\0\0\x05\x10", b"\x80\0\0\1", PREFACE,
)  # fmt: skip

TARGET = Target("frames", check, seeds, WORDS, max_size=70_000)
