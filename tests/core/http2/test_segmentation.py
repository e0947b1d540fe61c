"""However the bytes of a connection are cut, its exchanges are the same."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from fakes.http2 import (
    ACK,
    INITIAL_WINDOW_SIZE,
    MAX_FRAME_SIZE,
    PING,
    PREFACE,
    PRIORITY_UPDATE,
    SETTINGS,
    Http2Client,
    data,
    frame,
    headers,
    headers_in_pieces,
    ping,
    priority,
    rst_stream,
    settings,
    window_update,
)
from fakes.worker import FakeWorker

hypothesis = pytest.importorskip("hypothesis")
from core.http2.test_frame_oracles import FAULTS, Client  # noqa: E402

st = hypothesis.strategies
Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]
composite: Callable[..., Any] = st.composite
given: Callable[..., Decorator] = hypothesis.given
bounded: Decorator = hypothesis.settings(
    max_examples=200, deadline=None, derandomize=True, database=None, suppress_health_check=list(hypothesis.HealthCheck)
)

# Those that need no stream of a certain state: what they are is the same whatever else has been served by then.
FRAMES_OF_NO_STREAM = sorted(
    name for name in FAULTS if not name.endswith((", open", "half-closed", "completed", "left")) and name != "lower"
)


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Answer with the body as it comes in two parts, and with trailers."""
    whole = b""
    while (message := await receive())["type"] == "http.request":
        whole += message["body"]
        if not message["more_body"]:
            break
    else:
        return
    fields = [(b"x-request", scope["method"].encode() + scope["raw_path"]), *scope["headers"]]
    with_trailers = "http.response.trailers" in scope["extensions"]
    await send({"type": "http.response.start", "status": 200, "headers": fields, "trailers": with_trailers})
    await send({"type": "http.response.body", "body": whole[:10], "more_body": True})
    await send({"type": "http.response.body", "body": whole[10:]})
    if with_trailers:
        await send({"type": "http.response.trailers", "headers": [(b"x-size", b"%d" % len(whole))]})


class Talk(NamedTuple):
    octets: bytes
    reset: frozenset[int]  # streams that the client resets: how far they have got by then is a matter of time
    streams: int


@composite
def talks(draw: Any) -> Talk:
    """A client's side of a connection with several streams, in turns, all of which end."""
    size = draw(st.sampled_from([0, 1, 5, 65535]))
    out = [PREFACE, settings((INITIAL_WINDOW_SIZE, size), (MAX_FRAME_SIZE, draw(st.sampled_from([16384, 60000]))))]
    reset = set()
    streams = draw(st.integers(1, 5))
    unsent: dict[int, list[bytes]] = {}
    for number in range(streams):
        stream = 2 * number + 1
        length = draw(st.sampled_from([None, 0, 1, 300, 20000]))
        more = draw(st.sampled_from([[], [("te", "trailers")], [("cookie", "a=b"), ("cookie", "c=d")]]))
        fields = [(":method", "PUT"), (":scheme", "http"), (":path", f"/{stream}"), (":authority", "a"), *more]
        frames = unsent.setdefault(stream, [])
        pieces = draw(st.lists(st.integers(0, 20), max_size=4))
        frames.append(headers_in_pieces(stream, fields, pieces, end=length is None))
        if length is None:
            continue
        body = bytes(at % 251 for at in range(length))
        step = draw(st.sampled_from([7, 100, 16384])) if length <= 300 else 16384
        for at in range(0, length, step):
            frames.append(
                data(stream, body[at : at + step], pad=draw(st.sampled_from([None, 0, 9]) if step < 999 else st.none()))
            )
        ending = draw(st.sampled_from(["data", "trailers", "reset"]))
        if ending == "data":
            frames.append(data(stream, end=True))
        elif ending == "trailers":
            frames.append(headers(stream, [("x-checksum", "0")]))
        else:
            frames.append(rst_stream(stream))
            reset.add(stream)
    opened = 0
    others = st.sampled_from(
        [
            ping(),
            priority(99),
            frame(0xBB, 1, 0, b"unknown"),
            window_update(0, 5),
            frame(PRIORITY_UPDATE, 0, 0, b"\0\0\0\1u=1"),
        ]
    )
    while unsent:
        last = min(opened, streams - 1)  # streams are opened in their order
        stream = draw(st.sampled_from([each for each in unsent if each <= 2 * last + 1]))
        if stream == 2 * opened + 1:
            opened += 1
        out.append(unsent[stream].pop(0))
        if not unsent[stream]:
            del unsent[stream]
        if draw(st.integers(0, 4)) == 0:
            out.append(draw(others))
    out.append(settings((INITIAL_WINDOW_SIZE, 65535)) + window_update(0, 1 << 20) + ping(b"the last"))
    return Talk(b"".join(out), frozenset(reset), streams)


def heard(wire: FakeWorker, packets: list[bytes], ignored: frozenset[int]) -> Any:
    client = Http2Client(wire, begin=False)
    client.send(*packets)
    replies = {
        stream: (
            [[field for field in head if field[0] != "date"] for head in reply.heads],
            reply.body,
            reply.ended,
            reply.reset,
        )
        for stream, reply in client.replies.items()
        if stream not in ignored
    }
    control = [(each.type, each.payload) for each in client.heard if each.type in (PING, SETTINGS) and each.flags & ACK]
    error = client.error
    client.peer.lose()
    return replies, control, error


def cut(octets: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted({place % len(octets) for place in places}), len(octets)]
    return [octets[begin:end] for begin, end in itertools.pairwise(edges) if begin < end]


@bounded
@given(talks(), st.lists(st.integers(0, 1 << 30), max_size=30))
def test_exchanges(talk: Talk, places: list[int]) -> None:
    wire = FakeWorker(echo)
    try:
        replies, control, error = whole = heard(wire, [talk.octets], talk.reset)
        assert error is None
        assert control[-1] == (PING, b"the last")
        assert len(replies) == talk.streams - len(talk.reset)
        assert all(ended and reset is None for _, _, ended, reset in replies.values())
        assert heard(wire, cut(talk.octets, places), talk.reset) == whole
        if len(talk.octets) < 1500:
            assert heard(wire, [bytes([octet]) for octet in talk.octets], talk.reset) == whole
        assert not wire.errors
    finally:
        wire.close()


@pytest.mark.parametrize("name", FRAMES_OF_NO_STREAM)
def test_faults(name: str) -> None:
    """Each in bytes of its own; and what is served before it and, where the connection goes on, after it."""
    fields = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a")]
    client = Client()
    client.open.append(client.new())
    fault = FAULTS[name](client, 0)
    assert fault is not None
    begun = PREFACE + settings() + headers(1, fields, end=False)
    after = headers(101, fields)
    wire = FakeWorker(echo)
    try:
        whole = heard(wire, [begun, fault + after], frozenset())
        octets = [bytes([octet]) for octet in fault + after] if len(fault) < 1000 else [fault[:9], fault[9:] + after]
        assert heard(wire, [begun, *octets], frozenset()) == whole
        assert (101 in whole[0]) == (whole[2] is None)
    finally:
        wire.close()
