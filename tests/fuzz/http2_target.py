"""An HTTP/2 connection from the loop's callbacks to the applications and back.

Input: as that of the target `connection`, but that the client's preface goes before its bytes. What the client gets are
frames that RFC 9113 allows in that order, whatever it sends and however that is cut.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import hpack
from core.frames import FIN, binary, text
from core.frames import PING as PING_FRAME
from core.frames import frame as frame_of
from fakes.http2 import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    GET,
    GOAWAY,
    HEADERS,
    NO_ERROR,
    PING,
    POST,
    PREFACE,
    PRIORITY_UPDATE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    data,
    frame,
    goaway,
    headers,
    headers_in_pieces,
    parse,
    ping,
    priority,
    rst_stream,
    settings,
    window_update,
)
from fuzz.applications import Application
from fuzz.connection_target import EVENTS, Script, assert_nothing_lives, length, read
from fuzz.net import FuzzedClient, FuzzedNet
from fuzz.target import Target, cut
from ws import close

WEBSOCKET = [
    (":method", "CONNECT"),
    (":protocol", "websocket"),
    (":scheme", "http"),
    (":path", "/"),
    (":authority", "a"),
    ("sec-websocket-version", "13"),
    ("sec-websocket-extensions", "permessage-deflate"),
]
TYPES = {DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION}


class WithWebSockets(Application):
    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await super().__call__(scope, receive, send)
            return
        choice = self.choices[len(self.calls) % len(self.choices)]
        await receive()
        if choice % 8 == 0:
            await send({"type": "websocket.close"})
            return
        await send({"type": "websocket.accept"})
        if choice % 8 < 3:
            for size in range(choice):
                await send({"type": "websocket.send", "bytes": bytes(size * size)})
        if choice % 8 == 1:
            await send({"type": "websocket.close", "code": 3000})
        while choice % 8 != 3 and (message := await receive())["type"] == "websocket.receive":
            await send({**message, "type": "websocket.send"})


def check_output(output: bytes) -> None:
    """Assert that these are frames as a server may send them; the last may be cut off."""
    frames, _ = parse(output)
    decoder = hpack.Decoder(max_header_list_size=1 << 20)
    heads: dict[int, bool] = {}  # whether that of the response is there
    ended: set[int] = set()
    reset: set[int] = set()
    block, last, error = b"", 2**31 - 1, False
    assert not frames or frames[0].type == SETTINGS
    for each in frames:
        assert each.type in TYPES
        assert len(each.payload) <= 65536
        assert not error, "a frame after GOAWAY with an error"
        assert not block or each.type == CONTINUATION
        if each.type == GOAWAY:
            named = int.from_bytes(each.payload[:4], "big")
            error = int.from_bytes(each.payload[4:8], "big") != NO_ERROR
            assert named <= last
            last = named
        if each.stream == 0:
            continue
        assert each.stream not in reset or each.type == RST_STREAM
        if each.type in (HEADERS, CONTINUATION):
            assert each.stream not in ended
            block += each.payload
            if each.flags & END_HEADERS:
                fields: list[Any] = list(decoder.decode(block))
                block = b""
                if not heads.get(each.stream):
                    assert fields[0][0] == ":status"
                    heads[each.stream] = not str(fields[0][1]).startswith("1")
        elif each.type == DATA:
            assert each.stream not in ended
            assert heads.get(each.stream), "DATA before HEADERS"
        elif each.type == RST_STREAM:
            reset.add(each.stream)
        if each.ends:
            ended.add(each.stream)


def finish(net: FuzzedNet, client: FuzzedClient) -> None:
    client.finish()
    for _ in range(6):  # a stream after the other may wait for a window that never opens
        if client.gone:
            break
        client.wait(61)
        client.transport.unblock()
        net.loop.run_ready()
    assert client.gone, "the connection does not end"
    net.check_quiet()
    check_output(client.output)


def serve(script: Script, packets: list[bytes]) -> None:
    with FuzzedNet(WithWebSockets(script.choices), script.settings, script.direct) as net:
        client = net.join()
        client.feed(*packets)
        finish(net, client)


def play(script: Script) -> None:
    left = PREFACE + script.stream
    with FuzzedNet(WithWebSockets(script.choices), script.settings, script.direct) as net:
        client = net.join()
        for step in script.steps:
            if step < EVENTS:
                client.offer(left[: length(step)])
                left = left[length(step) :]
            else:
                client.event(step - EVENTS)
        client.offer(left)
        finish(net, client)


def check(given: bytes) -> None:
    script = read(given)
    stream = PREFACE + script.stream
    serve(script, [stream])
    sizes = [length(step) for step in script.steps if step < EVENTS]
    if sizes:
        serve(script, cut(stream, sizes))
    if any(step >= EVENTS for step in script.steps):
        play(script)
    assert_nothing_lives()


def talks() -> Iterator[bytes]:
    """What clients say after their preface."""
    te = [*GET, ("te", "trailers")]
    yield settings() + headers(1)
    yield settings((1, 0), (4, 0)) + headers(1) + window_update(1, 3) + settings((4, 100)) + headers(3, te)
    yield settings((4, 1), (5, 20000)) + headers(1, POST, end=False) + data(1, b"abc", pad=3) + data(1, b"d", end=True)
    yield settings() + headers_in_pieces(1, POST, [3, 0, 4], end=False) + data(1, bytes(300)) + headers(1, [("x", "y")])
    yield settings() + headers(1) + headers(3) + headers(5) + rst_stream(3) + ping() + goaway()
    yield settings() + b"".join(headers(stream, te) for stream in range(1, 41, 2)) + window_update(0, 1 << 20)
    yield settings() + headers(1, POST, end=False) + data(1, b"x") * 20 + rst_stream(1) + data(1, b"late") + headers(3)
    yield settings() + priority(3) + priority(5, 5) + headers(7)
    early = frame(PRIORITY_UPDATE, 0, 0, b"\0\0\0\3u=7") + frame(PRIORITY_UPDATE, 0, 0, b"\0\0\0\5u=0, i")
    yield settings() + early + headers(1) + headers(5)
    yield (
        settings() + headers(1) + frame(PRIORITY_UPDATE, 0, 0, b"\0\0\0\1u=1, i") + frame(99, 0, 1, b"zz") + headers(3)
    )
    yield settings((4, 5)) + headers(1, [*te, ("priority", "u=1, i")]) + headers(3, te) + window_update(1, 2**31 - 1)
    yield (
        settings()
        + headers(1, [*POST, ("content-length", "3"), ("expect", "100-continue")], end=False)
        + data(1, b"abcd")
    )
    yield settings() + headers(2) + headers(1)
    yield settings() + headers(1) + headers(1) + settings(ack=True)
    yield settings() + headers(1, GET[1:]) + headers(3, [*GET, ("X", "y")]) + headers(5, [*GET, ("x" * 300, "y")])
    yield headers(1)
    opening = headers(1, WEBSOCKET, end=False)
    yield settings() + opening + data(1, text("one") + binary(b"two")) + data(1, close()) + data(1, end=True)
    yield settings((4, 3)) + opening + data(1, text("one")) + window_update(1, 40) + rst_stream(1)
    yield settings() + opening + headers(3) + b"".join(data(1, text(str(at))) for at in range(50)) + data(1, end=True)
    yield settings((4, 100000)) + opening + data(1, frame_of(FIN | PING_FRAME, b"p") * 30) + data(1, b"\x82\xff", pad=5)
    yield (settings((4, 0)) + opening + headers(5, WEBSOCKET, end=False) + data(1, text("x"), end=True))
    yield settings() + headers(1, WEBSOCKET) + headers(3, [*WEBSOCKET[:5], ("sec-websocket-version", "8")], end=False)
    yield settings() + opening + data(1, binary(bytes(15000))) * 3 + goaway() + ping(b"leaving.", ack=True)


def seeds() -> Iterator[bytes]:
    for number, talk in enumerate(talks()):
        for choice in range(0, 256, 13):
            event = EVENTS + (choice + number) % 16
            steps = bytes([4, 33, event, 20, EVENTS + (choice // 13 + 3 * number) % 16])
            yield bytes([(choice + number) % 16, choice, 255 - choice, choice ^ 85, number]) + steps + talk


STARTS = (
    settings(),
    settings((4, 0)),
    headers(1),
    headers(5, POST, end=False),
    data(1, b"x"),
    data(1, b"", True),
    ping(),
    rst_stream(1),
    goaway(),
    window_update(0, 1),
    window_update(1, 1),
    priority(1),
    frame(CONTINUATION, 4, 1),
    headers(1, WEBSOCKET, end=False),
    data(1, text("x")),
    data(1, close()),
)
WORDS = tuple(word for start in STARTS for word in (start, start[:9]))

TARGET = Target("http2", check, seeds, WORDS)
