"""The package websockets as the judge of the codec: the same bytes through both, the same messages, the same end.

Where the two differ on purpose:
- websockets looks at a frame when all of it has come, here each byte is looked at when it comes. So a frame with two
  faults may end in either's code, and a fault inside a frame is found earlier.
- A length that is not in its shortest form, or has its highest bit set, is a fault here (RFC 6455 section 5.2).
- websockets leaves the check of texts to the caller, who is Judge here.
- Data that is not DEFLATE is 1007 here (it is not consistent with its type) and 1002 there.
- A close frame between fragments is 1002 there; section 5.4 allows any control frame.
- A compressed payload may here be a little larger than the limit for messages, which is for what it inflates to.
- websockets takes nothing after a final block (RFC 7692 section 7.2.3.4); Judge calls that undecided. The same holds
  for compressed payloads of no bytes, which RFC 7692 does not have.
"""

from __future__ import annotations

import contextlib
import zlib

from core.frames import BINARY, CLOSE, PING, PONG, TEXT, Events
from websockets import frames, protocol
from websockets.extensions.permessage_deflate import PerMessageDeflate

from fastserve._core.testing import FrameReader, Inflater

LIMIT = 2000
BITS = 15  # with a smaller window zlib's verdict on what refers beyond it depends on the cuts
TAIL = b"\x00\x00\xff\xff"
# Close codes of two faults that one frame can have.
EITHER = {(1002, 1009), (1009, 1002), (1007, 1002), (1007, 1009), (1002, 1007), (1009, 1007)}


class Deflate(PerMessageDeflate):
    """The extension, which notes when a payload was one that it does not handle."""

    def __init__(self, takeover: bool) -> None:
        super().__init__(not takeover, not takeover, BITS, BITS)
        self.strange = False
        self.probe = zlib.decompressobj(-BITS)
        self.size = -1  # payload so far of a compressed message; -1 in no such message

    def decode(self, frame: frames.Frame, *, max_size: int | None = None) -> frames.Frame:
        if frame.opcode in (TEXT, BINARY):
            self.size = 0 if frame.rsv1 else -1
            if self.remote_no_context_takeover:
                self.probe = zlib.decompressobj(-BITS)
        if frame.opcode in (0, TEXT, BINARY) and self.size >= 0:
            self.size += len(frame.data)
            with contextlib.suppress(zlib.error):
                self.probe.decompress(bytes(frame.data) + (TAIL if frame.fin else b""), LIMIT + 1)
            self.strange = self.strange or self.probe.eof or (frame.fin and self.size == 0)
        return super().decode(frame, max_size=max_size)


def is_text(data: bytes, complete: bool) -> bool:
    """Whether `data` is a text, or the beginning of one; Python's incremental decoder notices half a surrogate late."""
    try:
        data.decode()
    except UnicodeDecodeError as error:
        return not complete and error.reason == "unexpected end of data"
    return True


class Judge:
    """What websockets makes of the bytes of a client, in the events of FrameReader."""

    def __init__(self, takeover: bool | None) -> None:
        self.protocol = protocol.Protocol(protocol.SERVER, max_size=LIMIT)
        self.deflate = None if takeover is None else Deflate(takeover)
        if self.deflate is not None:
            self.protocol.extensions = [self.deflate]
        self.events: Events = []
        self.frames = 0
        self.kind = ""
        self.parts: list[bytes] = []

    def read(self, data: bytes) -> Events:
        self.protocol.receive_data(data)
        for event in self.protocol.events_received():
            if self.events and self.events[-1][0] in ("fault", "close"):
                break
            assert isinstance(event, frames.Frame)
            self.take(event)
        ended = bool(self.events) and self.events[-1][0] in ("fault", "close")
        if not ended and self.protocol.close_rcvd is not None:
            self.events.append(("close", int(self.protocol.close_rcvd.code), self.protocol.close_rcvd.reason))
        elif not ended and self.protocol.close_sent is not None:
            self.events.append(("fault", int(self.protocol.close_sent.code)))
        return self.events

    def take(self, event: frames.Frame) -> None:
        data = bytes(event.data)
        self.frames += 1
        if event.opcode in (PING, PONG):
            self.events.append((event.opcode.name.lower(), data))
        elif event.opcode == CLOSE:
            close = frames.Close.parse(data)
            self.events.append(("close", int(close.code), close.reason))
        else:
            if event.opcode != 0:
                self.kind, self.parts = event.opcode.name.lower(), []
            self.parts.append(data)
            if self.kind == "text" and not is_text(b"".join(self.parts), event.fin):
                self.events.append(("fault", 1007))
                return
            if event.fin:
                whole = b"".join(self.parts)
                self.events.append((self.kind, whole.decode() if self.kind == "text" else whole))

    def complete_frame(self) -> Events:
        """Go on with zeros until the frame that has begun is judged."""
        count = len(self.events)
        for _ in range(LIMIT + 14):
            frames_before = self.frames
            if len(self.read(b"\0")) > count or self.frames > frames_before:
                break
        return self.events

    def undecided(self) -> bool:
        """Whether the bytes were what websockets does not handle, so that it is no judge of what follows."""
        return self.deflate is not None and self.deflate.strange


def compare(data: bytes, cuts: list[int], takeover: bool | None) -> Events:
    """Put `data` through both and return the events; asserts that they agree."""
    reader = FrameReader(LIMIT, 0, None if takeover is None else Inflater(BITS, takeover))
    events: Events = []
    start = 0
    for size in [*cuts, len(data)]:
        events += reader.feed(data[start : start + size])
        start += size
    judge = Judge(takeover)
    others = judge.read(data)
    if judge.undecided():
        return events
    if events and events[-1][0] == "fault":
        code, reason = events[-1][1:]
        assert others[: len(events) - 1] == events[:-1]
        if reason.startswith("length is") or reason == "control frame is too long":
            return events  # websockets does not mind a length in more bytes than it needs, and waits for all of them
        if len(others) < len(events):
            others = judge.complete_frame()
            if judge.undecided():
                return events
            assert len(others) == len(events), (others, events)
        assert others[len(events) - 1][0] == "fault", others
        assert others[-1][1] == code or (code, others[-1][1]) in EITHER
    elif len(others) > len(events):
        # Only what is a little larger than the limit, and that compressed.
        assert takeover is not None and others[: len(events)] == events and others[-1] == ("fault", 1009)
    else:
        assert others == events
    return events
