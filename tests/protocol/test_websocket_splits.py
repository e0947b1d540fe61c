"""How the bytes of a WebSocket are cut into packets changes nothing: the streams of both RFCs, cut everywhere."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from fakes.net import Net, every_split
from garbage import assert_nothing_lives
from protocol.apps import Receive, Scope, Send
from protocol.streams import ALL, COMPRESSED, DIFFERENCES, MAX_COMPRESSED, Streams
from protocol.websocket import MAX_SIZE
from ws import FRAMINGS, Frame, close, framing_class, split_response, upgrade

OFFER = "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover"
SMALL = 1500  # bytes of a stream that is also sent byte by byte
PLACES = {"auto": 400, "websockets": 12, "wsproto": 12}  # to cut such a stream at


class Outcome(NamedTuple):
    got: list[Any]  # by the application
    sent: list[Frame]  # but for pongs, which may leave before a response that came first
    pongs: list[Frame]
    ended: bool


class Echo:
    """Keeps what comes, and sends it back if it is to."""

    def __init__(self, answers: bool) -> None:
        self.answers = answers
        self.got: list[Any] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        while True:
            message = await receive()
            self.got.append(message)
            if message["type"] == "websocket.disconnect":
                return
            if self.answers:
                with contextlib.suppress(OSError):
                    await send({**message, "type": "websocket.send"})


class Split:
    """A worker of one implementation that serves the same stream again and again."""

    def __init__(self, implementation: str, size: int, offer: bool) -> None:
        # What the others answer depends on what comes with the close frame.
        self.app = Echo(implementation == "auto")
        self.net = Net(self.app, framing=framing_class(implementation), ws_max_size=size, ws_per_message_deflate=offer)
        self.handshake = upgrade("/", OFFER) if offer else upgrade()

    def serve(self, *packets: bytes) -> Outcome:
        client = self.net.connect().feed(*packets)
        ended = client.server_closed
        found, frames = split_response(client.output)
        assert found.status == 101
        client.eof()
        if not client.gone:
            client.lose()  # it would wait for a while
        got, self.app.got = self.app.got, []
        pongs = [each for each in frames if each[0] & 15 == 10]
        return Outcome(got, [each for each in frames if each not in pongs], pongs, ended)


@pytest.fixture(scope="module", params=sorted(FRAMINGS))
def plain(request: pytest.FixtureRequest) -> Iterator[tuple[str, Split]]:
    split = Split(request.param, MAX_SIZE, False)
    yield request.param, split
    split.net.close()
    assert_nothing_lives()


@pytest.fixture(scope="module", params=sorted(FRAMINGS))
def deflating(request: pytest.FixtureRequest) -> Iterator[tuple[str, Split]]:
    split = Split(request.param, MAX_COMPRESSED, True)
    split.app.answers = False
    yield request.param, split
    split.net.close()
    assert_nothing_lives()


def check(split: Split, implementation: str, streams: Streams, name: str) -> None:
    data, messages, code = streams[name]
    messages, code = DIFFERENCES.get((implementation, name), (messages, code))
    stream = data + close(1000)
    whole = split.serve(split.handshake, stream)
    assert [each.get("text", each.get("bytes")) for each in whole.got[:-1]] == messages
    assert (whole.got[-1]["code"], whole.ended) == (code, True)
    assert split.serve(split.handshake + stream) == whole, "with the handshake"
    for packets in every_split(stream, PLACES[implementation] if len(stream) < SMALL else 20):
        assert split.serve(split.handshake, *packets) == whole, f"cut after {len(packets[0])} bytes"
    if len(stream) < SMALL:
        packets = tuple(stream[at : at + 1] for at in range(len(stream)))
        assert split.serve(split.handshake, *packets) == whole, "byte by byte"


@pytest.mark.parametrize("name", ALL)
def test_rfc6455(plain: tuple[str, Split], name: str) -> None:
    check(plain[1], plain[0], ALL, name)


@pytest.mark.parametrize("name", COMPRESSED)
def test_rfc7692(deflating: tuple[str, Split], name: str) -> None:
    check(deflating[1], deflating[0], COMPRESSED, name)


def test_the_handshake(plain: tuple[str, Split]) -> None:
    """Cut at each place, with messages after it in the same packet."""
    split = plain[1]
    data, _, _ = ALL["with control frames between"]
    whole = split.serve(split.handshake, data, close(1000))
    stream = split.handshake + data + close(1000)
    for packets in every_split(stream):
        assert split.serve(*packets) == whole, f"cut after {len(packets[0])} bytes"
