"""The WebSocket codec: its events, their independence of the cuts, and the package websockets as the judge.

Input: one byte for permessage-deflate, one for the number of cuts, a byte for each cut, then the client's bytes.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Iterator

from core.frames import BINARY, CLOSE, FIN, PING, RSV1, TEXT, Events, binary, fragments, frame, text
from core.judge import LIMIT, compare
from fuzz.target import Target, cut

from fastserve._core import testing as wsframe
from fastserve._core.testing import Deflater, FrameReader, Inflater

MOST_CUTS = 16
BITS = 15
MODES = (None, True, False)  # without permessage-deflate, with context takeover, without


def check_events(events: Events) -> None:
    for number, event in enumerate(events):
        if event[0] in ("text", "binary"):
            data = event[1].encode() if event[0] == "text" else event[1]
            assert len(data) <= LIMIT
        elif event[0] in ("ping", "pong"):
            assert len(event[1]) <= 125
        else:
            assert number == len(events) - 1, "something follows the end"
            codes = (1002, 1007, 1009) if event[0] == "fault" else (1005, *range(1000, 5000))
            assert event[1] in codes and isinstance(event[2], str), event


def check_memory(pieces: list[bytes], takeover: bool | None) -> Events:
    """Read small messages in pieces; what is held is within the limits, and without compression what has come."""
    reader = FrameReader(LIMIT, 8, None if takeover is None else Inflater(BITS, takeover))
    events: Events = []
    came = 0
    for piece in pieces:
        events += reader.feed(piece)
        came += len(piece)
        assert reader.holds() <= (LIMIT if takeover is not None else min(LIMIT, 2 * came))
    return events


def check_written(events: Events, takeover: bool | None) -> None:
    """Each message, sent back, is what it was."""
    deflater = None if takeover is None else Deflater(BITS, takeover)
    client = zlib.decompressobj(-BITS)
    for event in events:
        if event[0] not in ("text", "binary"):
            continue
        data = event[1].encode() if event[0] == "text" else event[1]
        sent = wsframe.message(TEXT if event[0] == "text" else BINARY, data, deflater)
        header = 2 if sent[1] < 126 else 4
        payload = sent[header:]
        assert len(payload) == (sent[1] if header == 2 else int.from_bytes(sent[2:4], "big"))
        if sent[0] & RSV1:
            if not takeover:
                client = zlib.decompressobj(-BITS)
            payload = client.decompress(payload + b"\x00\x00\xff\xff")
        assert payload == data


def check(data: bytes) -> None:
    takeover = MODES[data[0] % 3 if data else 0]
    count = data[1] % (MOST_CUTS + 1) if len(data) > 1 else 0
    cuts, stream = data[2 : 2 + count], data[2 + count :]
    events = compare(stream, [], takeover)
    check_events(events)
    in_pieces = compare(stream, list(cuts), takeover)
    assert [event[:2] for event in in_pieces] == [event[:2] for event in events]
    whole, pieces = check_memory([stream], takeover), check_memory(cut(stream, cuts), takeover)
    assert [event[:2] for event in pieces] == [event[:2] for event in whole]
    check_written(events, takeover)


def seeds() -> Iterator[bytes]:
    source = random.Random(1)
    streams = [
        text("hello") + binary(b"\xff" * 20) + frame(FIN | PING, b"p") + frame(FIN | CLOSE, b"\x03\xe8bye"),
        fragments(TEXT, b"\xe2\x82", b"\xac", b"") + frame(FIN | CLOSE),
        frame(TEXT, b"a") + frame(FIN | PING) + frame(FIN, "é😀".encode()),
        binary(source.randbytes(300)) + text("é" * 100),
        *(frame(first, b"x") for first in range(0, 256, 5)),
    ]
    stream = zlib.compressobj(wbits=-BITS)
    for content in (b"Hello" * 3, b"Hello" * 60, b"\xff", source.randbytes(100), bytes(4000)):
        payload = (stream.compress(content) + stream.flush(zlib.Z_SYNC_FLUSH))[:-4]
        streams.append(frame(FIN | RSV1 | TEXT, payload))
        streams.append(frame(RSV1 | BINARY, payload[:3], key=b"\0\0\0\0") + frame(FIN, payload[3:], key=b"\0\0\0\0"))
    streams.append(frame(FIN | RSV1 | TEXT, bytes.fromhex("f348cdc9c9070000"), key=b"\0\0\0\0") * 2)
    for each in streams:
        for mode in range(3):
            yield bytes([mode, 0]) + each
        yield bytes([1, 3, 1, 5, 9]) + each


WORDS = (
    *(bytes([first, 0x80, 0, 0, 0, 0]) for first in (0, 1, 2, 0x80, 0x81, 0x82, 0x88, 0x89, 0x8A, 0xC1, 0xC2, 0x41)),
    b"\xfe\x00\x7e", b"\xff\0\0\0\0\0\1\0\0", b"\x82\0\0\0\0\x03\xe8", b"\x00\x00\xff\xff", b"\x03\x00",
    b"\xe2\x82\xac", b"\xed\xa0\x80", b"\xf0\x9f\x98\x80",
    b"\xf2\x48\xcd\xc9\xc9\x07\x00", b"\xf2\x00\x11\x00\x00",
)  # fmt: skip

TARGET = Target("wsframe", check, seeds, WORDS)
