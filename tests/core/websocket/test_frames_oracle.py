"""The same bytes through the codec and through the package websockets: see judge for what may differ."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
from core.frames import BINARY, CLOSE, FIN, PING, PONG, RSV1, TEXT, Events, frame, read

from fastserve._core import testing as wsframe
from fastserve._core.testing import Deflater, negotiation

hypothesis = pytest.importorskip("hypothesis")
websockets = pytest.importorskip("websockets")
from core.judge import BITS, LIMIT, Judge, compare  # noqa: E402
from websockets import frames, protocol  # noqa: E402
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


class Client:
    """Frames with the payloads that websockets makes, and always the same mask."""

    def __init__(self, takeover: bool | None) -> None:
        self.deflate: PerMessageDeflate | None = None
        if takeover is not None:
            self.deflate = PerMessageDeflate(not takeover, not takeover, BITS, BITS)

    def frame(self, opcode: int, data: bytes, fin: bool = True) -> bytes:
        made = frames.Frame(frames.Opcode(opcode), data, fin)
        if self.deflate is not None:
            made = self.deflate.encode(made)
        return frame((FIN if fin else 0) | (RSV1 if made.rsv1 else 0) | opcode, bytes(made.data))


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
    """Every first byte, as the first frame, inside a message, and after one."""
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
    """Against the settings that uvicorn uses; "" stands for a parameter that is left out, of the response too."""
    factory = ServerPerMessageDeflateFactory(server_max_window_bits=12, client_max_window_bits=12)
    for values in itertools.product(*PARAMETERS.values()):
        offer = [(name, value) for name, value in zip(PARAMETERS, values, strict=True) if value != ""]
        items = [name if value is None else f"{name}={value}" for name, value in offer]
        header = "; ".join(["permessage-deflate", *items])
        response, parameters = negotiation([header.encode()])
        try:
            expected, extension = factory.process_request_params(offer, [])
            if ("server_max_window_bits", "8") in offer:
                raise NegotiationError("zlib has no such window, which websockets up to 16 does not know")
        except (NegotiationError, ValueError):
            assert (response, parameters) == (None, None), header
            continue
        assert response is not None and parameters is not None, header
        answer = [item.partition("=")[::2] for item in response.decode().split("; ")[1:]]
        offered = {name for name, _ in offer}
        assert sorted(answer) == sorted((name, value or "") for name, value in expected if name in offered), header
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
