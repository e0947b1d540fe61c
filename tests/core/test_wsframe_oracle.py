"""The same bytes through the codec and through the package websockets: the same messages, the same end.

Where the two differ on purpose:
- websockets looks at a frame when all of it has come, here each byte is looked at when it comes. So a frame with two
  faults may end in either's code, and a fault inside a frame is found earlier.
- A length that is not in its shortest form, or has its highest bit set, is a fault here (RFC 6455 section 5.2).
- websockets leaves the check of texts to the caller, who is Judge here.
- Data that is not DEFLATE is 1007 here (it is not consistent with its type) and 1002 there.
- A close frame between fragments is 1002 there; section 5.4 allows any control frame.
- A compressed payload may here be a little larger than the limit for messages, which is for what it inflates to.
- websockets takes nothing behind a final block (RFC 7692 section 7.2.3.4); Judge calls that undecided. The same holds
  for compressed payloads of no bytes, which RFC 7692 does not have, and references beyond the window (see deflate).
"""

from __future__ import annotations

import codecs
import itertools
from collections.abc import Callable
from typing import Any

import pytest
from core.frames import BINARY, CLOSE, FIN, PING, PONG, RSV1, TEXT, Events, frame, read

from fastserve._core import wsframe
from fastserve._core.deflate import Deflater, Inflater, negotiation
from fastserve._core.wsframe import FrameReader

hypothesis = pytest.importorskip("hypothesis")
websockets = pytest.importorskip("websockets")
from websockets import extensions, frames, protocol  # noqa: E402
from websockets.exceptions import NegotiationError  # noqa: E402
from websockets.extensions.permessage_deflate import (  # noqa: E402
    PerMessageDeflate,
    ServerPerMessageDeflateFactory,
)

st = hypothesis.strategies
Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]
composite: Callable[..., Any] = st.composite
given: Callable[..., Decorator] = hypothesis.given
bounded: Decorator = hypothesis.settings(
    max_examples=300, deadline=None, derandomize=True, database=None, suppress_health_check=list(hypothesis.HealthCheck)
)

LIMIT = 2000
BITS = 10
# Close codes of two faults that one frame can have.
EITHER = {(1002, 1009), (1009, 1002), (1007, 1002), (1007, 1009), (1002, 1007), (1009, 1007)}


class Judge:
    """What websockets makes of the bytes of a client, in the events of FrameReader."""

    def __init__(self, takeover: bool | None) -> None:
        self.protocol = protocol.Protocol(protocol.SERVER, max_size=LIMIT)
        self.deflate: PerMessageDeflate | None = None
        if takeover is not None:
            self.deflate = PerMessageDeflate(not takeover, not takeover, BITS, BITS)
            self.protocol.extensions = [self.deflate]
        self.events: Events = []
        self.frames = 0
        self.kind = ""
        self.parts: list[bytes] = []
        self.decoder = codecs.getincrementaldecoder("utf-8")()

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
                self.decoder.reset()
            self.parts.append(data)
            try:
                if self.kind == "text":
                    self.decoder.decode(data, final=event.fin)
            except UnicodeDecodeError:
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
        decoder = getattr(self.deflate, "decoder", None)
        return decoder is not None and decoder.eof


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
        if reason.startswith("length is"):
            return events
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


class Client:
    """Frames as websockets sends them."""

    def __init__(self, takeover: bool | None) -> None:
        self.extensions: list[extensions.Extension] = []
        if takeover is not None:
            self.extensions = [PerMessageDeflate(not takeover, not takeover, BITS, BITS)]

    def frame(self, opcode: int, data: bytes, fin: bool = True) -> bytes:
        return frames.Frame(frames.Opcode(opcode), data, fin).serialize(mask=True, extensions=self.extensions)


@composite
def valid_streams(draw: Any) -> tuple[bytes, Events, bool | None]:
    """What a client sends that does nothing wrong, and what it means."""
    takeover = draw(st.sampled_from([None, True, False]))
    client = Client(takeover)
    data = b""
    events: Events = []
    for _ in range(draw(st.integers(1, 6))):
        kind = draw(st.sampled_from(["text", "binary", "ping", "pong"]))
        if kind in ("ping", "pong"):
            payload = draw(st.binary(max_size=125))
            data += client.frame(PING if kind == "ping" else PONG, payload)
            events.append((kind, payload))
            continue
        content = draw(st.text(max_size=200)) if kind == "text" else draw(st.binary(max_size=400))
        payload = content.encode() if kind == "text" else content
        ends = sorted(draw(st.lists(st.integers(0, len(payload)), max_size=4)))
        pieces = [payload[start:end] for start, end in itertools.pairwise([0, *ends, len(payload)])]
        for number, piece in enumerate(pieces):
            if number and draw(st.booleans()):
                data += client.frame(PING, b"between")
                events.append(("ping", b"between"))
            opcode = 0 if number else TEXT if kind == "text" else BINARY
            data += client.frame(opcode, piece, fin=number == len(pieces) - 1)
        events.append((kind, content))
    if draw(st.booleans()):
        code, reason = draw(st.sampled_from([1000, 1001, 3000, 4999])), draw(st.text(max_size=30))
        data += client.frame(CLOSE, code.to_bytes(2, "big") + reason.encode())
        events.append(("close", code, reason))
    return data, events, takeover


cut_sizes = st.lists(st.integers(0, 60), max_size=40)
some_changes = st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 255)), min_size=1, max_size=3)
first_bytes = st.one_of(st.integers(0, 255), st.sampled_from([TEXT, BINARY, FIN, 0, FIN | TEXT, FIN | RSV1 | BINARY]))
payloads = st.one_of(
    st.binary(max_size=140), st.text(max_size=40).map(str.encode), st.sampled_from([b"\x03\xe8", b"\3"])
)
keys = st.sampled_from([b"\0\0\0\0", b"abcd", b"\xff\x00\x80\x7f", b"wxyz", b"1234", None])


@given(valid_streams(), cut_sizes)
@bounded
def test_valid_streams(stream: tuple[bytes, Events, bool | None], cuts: list[int]) -> None:
    data, events, takeover = stream
    assert compare(data, cuts, takeover) == events


@given(
    valid_streams(), cut_sizes, st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 255)), min_size=1, max_size=3)
)
@bounded
def test_mutated_streams(
    stream: tuple[bytes, Events, bool | None], cuts: list[int], changes: list[tuple[int, int]]
) -> None:
    data = bytearray(stream[0])
    for at, value in changes:
        data[at % len(data)] = value
    events = compare(bytes(data), cuts, stream[2])
    whole = compare(bytes(data), [], stream[2])
    assert [event[:2] for event in events] == [event[:2] for event in whole]


@composite
def odd_frames(draw: Any) -> bytes:
    """A frame with any first byte, so that each rule is broken now and then."""
    return frame(draw(first_bytes), draw(payloads), key=draw(keys))


@given(st.lists(odd_frames(), max_size=8), cut_sizes, st.sampled_from([None, True, False]))
@bounded
def test_odd_frames(data: list[bytes], cuts: list[int], takeover: bool | None) -> None:
    stream = b"".join(data)
    whole = compare(stream, [], takeover)
    assert [event[:2] for event in compare(stream, cuts, takeover)] == [event[:2] for event in whole]


def test_odd_first_frames() -> None:
    """Every first byte, as the first frame, inside a message, and behind one."""
    for first in range(256):
        for payload in (b"", b"x", b"\x03\xe8ok", b"\0"):
            for before in (b"", frame(TEXT, b"a"), frame(FIN | BINARY, b"a"), frame(RSV1 | BINARY, b"\0")):
                for takeover in (None, True):
                    compare(before + frame(first, payload), [], takeover)


@pytest.mark.parametrize("takeover", [True, False])
@given(st.lists(st.one_of(st.binary(max_size=600), st.text(max_size=300)), max_size=5), st.booleans())
@bounded
def test_websockets_reads_what_is_written(takeover: bool, messages: list[bytes | str], deflated: bool) -> None:
    deflater = Deflater(BITS, takeover) if deflated else None
    client = protocol.Protocol(protocol.CLIENT, max_size=None)
    client.extensions = [PerMessageDeflate(not takeover, not takeover, BITS, BITS)]
    for message in messages:
        opcode = TEXT if isinstance(message, str) else BINARY
        data = message.encode() if isinstance(message, str) else message
        client.receive_data(wsframe.message(opcode, data, deflater))
        (event,) = client.events_received()
        assert isinstance(event, frames.Frame)
        assert (event.opcode, bytes(event.data), event.fin) == (opcode, data, True)
    client.receive_data(wsframe.close(1001, "é".encode()))
    assert client.close_rcvd is not None
    assert (client.close_rcvd.code, client.close_rcvd.reason) == (1001, "é")


PARAMETERS: dict[str, list[str | None]] = {
    "server_no_context_takeover": ["", None, "1"],
    "client_no_context_takeover": ["", None, "x"],
    "server_max_window_bits": ["", None, "8", "9", "12", "15", "7", "16", "09"],
    "client_max_window_bits": ["", None, "8", "9", "12", "13", "15", "7", "16", "x"],
}


def test_the_same_offers_are_accepted_with_the_same_response() -> None:
    """Against the settings that uvicorn uses; "" stands for a parameter that is left out."""
    factory = ServerPerMessageDeflateFactory(server_max_window_bits=12, client_max_window_bits=12)
    for values in itertools.product(*PARAMETERS.values()):
        offer = [(name, value) for name, value in zip(PARAMETERS, values, strict=True) if value != ""]
        items = [name if value is None else f"{name}={value}" for name, value in offer]
        header = "; ".join(["permessage-deflate", *items])
        response, parameters = negotiation([header.encode()])
        try:
            expected, extension = factory.process_request_params(offer, [])
        except NegotiationError:
            assert (response, parameters) == (None, None), header
            continue
        assert response is not None and parameters is not None, header
        answer = [item.partition("=")[::2] for item in response.decode().split("; ")[1:]]
        assert sorted(answer) == sorted((name, value or "") for name, value in expected), header
        assert isinstance(extension, PerMessageDeflate)
        assert parameters.server_bits == extension.local_max_window_bits
        assert parameters.client_bits == extension.remote_max_window_bits
        assert parameters.server_takeover is not extension.local_no_context_takeover
        assert parameters.client_takeover is not extension.remote_no_context_takeover


def test_judge_finds_differences() -> None:
    """It would be of no use if it agreed with everything."""
    assert Judge(None).read(frame(FIN | TEXT, b"\xff")) == [("fault", 1007)]
    assert Judge(None).read(frame(FIN | 3)) == [("fault", 1002)]
    assert Judge(None).read(frame(FIN | BINARY, bytes(LIMIT + 1))) == [("fault", 1009)]
    assert Judge(None).read(frame(FIN | TEXT, b"a")) == read(frame(FIN | TEXT, b"a"))
