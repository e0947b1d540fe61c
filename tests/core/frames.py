"""Frames as a client sends them, right or wrong, made independently of the code under test."""

from __future__ import annotations

import itertools
from typing import Any

from fastserve._core.testing import FrameReader, Inflater

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
FIN, RSV1, RSV2, RSV3 = 0x80, 0x40, 0x20, 0x10
KEY = b"\x37\xfa\x21\x3d"

Events = list[tuple[Any, ...]]


def frame(first: int, payload: bytes = b"", *, key: bytes | None = KEY, form: int = 0, announced: int = -1) -> bytes:
    """One frame: `first` is its first byte; `form` (7, 16, 64 bits) and `announced` say the length otherwise."""
    size = len(payload) if announced < 0 else announced
    form = form or (7 if size < 126 else 16 if size < 65536 else 64)
    masked = 0 if key is None else 0x80
    head = bytes([first, masked | {7: size, 16: 126, 64: 127}[form]])
    if form > 7:
        head += size.to_bytes(form // 8, "big")
    if key is None:
        return head + payload
    return head + key + bytes(byte ^ mask for byte, mask in zip(payload, itertools.cycle(key)))


def text(payload: bytes | str) -> bytes:
    return frame(FIN | TEXT, payload.encode() if isinstance(payload, str) else payload)


def binary(payload: bytes) -> bytes:
    return frame(FIN | BINARY, payload)


def fragments(opcode: int, *payloads: bytes) -> bytes:
    """A message in as many frames as there are payloads."""
    last = len(payloads) - 1
    return b"".join(
        frame((FIN if number == last else 0) | (0 if number else opcode), payload)
        for number, payload in enumerate(payloads)
    )


def cuts(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


def read(*inputs: bytes, max_size: int = 1000, max_fragments: int = 8, bits: int = 0, takeover: bool = True) -> Events:
    """All events of these inputs, with permessage-deflate when `bits` of the client's window are given."""
    reader = FrameReader(max_size, max_fragments, Inflater(bits, takeover) if bits else None)
    return [event for data in inputs for event in reader.feed(data)]


def events_of(data: bytes, **options: Any) -> Events:
    """All events of `data`, the same however it is cut into inputs."""
    whole = read(data, **options)
    assert read(*cuts(data, 1), **options) == whole
    for at in range(1, len(data), max(1, len(data) // 100)):
        assert read(data[:at], data[at:], **options) == whole, at
    return whole


def fault_of(data: bytes, **options: Any) -> tuple[int, str]:
    """Code and reason of the fault that `data` ends in."""
    events = events_of(data, **options)
    assert events, "no event"
    assert events[-1][0] == "fault", events
    return events[-1][1:]
