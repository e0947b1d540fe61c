"""RFC 7692 (Compression Extensions for WebSocket), in the order of its sections, over real sockets."""

from __future__ import annotations

import itertools
import random
import tracemalloc
import zlib
from collections.abc import Iterator
from typing import Any

import pytest
from core.frames import BINARY, CLOSE, FIN, PING, PONG, RSV1, TEXT, frame, text
from protocol.streams import COMPRESSED, DIFFERENCES, HELLO, MAX_COMPRESSED, TAIL, packed, squeeze
from protocol.websocket import Outcome, Talks, implementations, serve_all
from ws import Socket, close, closing, upgrade

NAME = "permessage-deflate"


@implementations
def talks(request: pytest.FixtureRequest) -> Iterator[Talks]:
    yield from serve_all(request, ws_max_size=MAX_COMPRESSED)


def offer(*parameters: str) -> str:
    return "; ".join([f"Sec-WebSocket-Extensions: {NAME}", *parameters])


class Agreed(dict[str, str]):
    """The parameters of the response."""

    def bits(self, side: str) -> int:
        return int(self.get(f"{side}_max_window_bits") or 15)

    def takeover(self, side: str) -> bool:
        return f"{side}_no_context_takeover" not in self


def agreed(client: Socket, *fields: str) -> Agreed | None:
    """What is agreed on, None for no compression."""
    value = client.open("/echo", *fields).get(b"sec-websocket-extensions")
    if value is None:
        return None
    name, *parameters = value.decode().replace(" ", "").split(";")
    assert name == NAME
    pairs = [each.partition("=")[::2] for each in parameters]
    assert len(dict(pairs)) == len(pairs)
    return Agreed(pairs)


class Deflating:
    """A client's half of the extension."""

    def __init__(self, client: Socket, agreed: Agreed) -> None:
        self.client = client
        self.agreed = agreed
        self.deflater: Any = None
        self.inflater: Any = None

    def packed(self, content: bytes, opcode: int = BINARY, parts: int = 1) -> bytes:
        """The frames of a message."""
        if self.deflater is None or not self.agreed.takeover("client"):
            bits = self.agreed.bits("client")
            # Without references for the window that zlib does not have.
            self.deflater = zlib.compressobj(-1 if bits > 8 else 0, wbits=-max(9, bits))
        payload = self.deflater.compress(content) + self.deflater.flush(zlib.Z_SYNC_FLUSH)
        return packed(payload.removesuffix(TAIL), opcode, parts)

    def read(self) -> tuple[bytes, int, bool]:
        """The next message of the server: its content, the size of its payload, and whether that was compressed."""
        first, second = self.client.file.read(2)
        assert first & ~RSV1 in (FIN | TEXT, FIN | BINARY)
        size = second
        if second > 125:
            size = int.from_bytes(self.client.file.read(2 if second == 126 else 8), "big")
        payload = self.client.file.read(size)
        if not first & RSV1:
            return payload, size, False
        if self.inflater is None or not self.agreed.takeover("server"):
            self.inflater = zlib.decompressobj(-self.agreed.bits("server"))
        content = self.inflater.decompress(payload + TAIL)
        assert not self.inflater.unused_data
        return bytes(content), size, True


class TestNegotiation:
    """Sections 5 and 7.1."""

    def test_5_1_only_when_it_is_offered(self, talks: Talks) -> None:
        for fields in ([], ["Sec-WebSocket-Extensions: x-webkit-deflate-frame, other; a=1"]):
            with talks.socket() as client:
                assert agreed(client, *fields) is None
                client.send(text("x" * 1000))
                assert client.frame() == (TEXT, b"x" * 1000)

    @pytest.mark.parametrize(
        "parameters",
        [
            [],
            ["client_max_window_bits"],
            ["server_no_context_takeover", "client_no_context_takeover"],
            ["server_max_window_bits=10"],
        ],
    )
    def test_5_1_offers(self, talks: Talks, parameters: list[str]) -> None:
        """Section 5: the response has no parameter that was not offered; websocket-sharp refuses one that has."""
        with talks.socket() as client:
            found = agreed(client, offer(*parameters))
        assert found is not None
        names = {each.partition("=")[0] for each in parameters}
        assert {each for each in names if each.startswith("server")} <= set(found) <= names

    @pytest.mark.parametrize("side", ["server", "client"])
    @pytest.mark.parametrize("bits", range(8, 16))
    def test_7_1_2_window_bits(self, talks: Talks, side: str, bits: int) -> None:
        """Never more than the client allows; zlib has no 8 for the server's, and wsproto asks for the client's too."""
        with talks.socket() as client:
            found = agreed(client, offer(f"{side}_max_window_bits={bits}"))
            if bits == 8 and (side == "server" or talks.implementation == "wsproto"):
                assert found is None
                return
            assert found is not None
            assert found.bits(side) <= bits
            both = Deflating(client, found)
            source = random.Random(bits)
            for size in (300, 5000, 40_000, 300):
                message = bytes(source.choices(b"abcdefgh", k=size))
                client.send(both.packed(message, parts=3))
                assert both.read()[0] == message

    @pytest.mark.parametrize(
        "parameters",
        [
            ["server_no_context_takeover=1"],
            ["client_no_context_takeover=x"],
            ["server_max_window_bits"],
            *(
                [f"{side}_max_window_bits={value}"]
                for side in ("server", "client")
                for value in ("7", "16", "012", "a")
            ),
            ["unknown"],
            ["client_max_window_bits", "client_max_window_bits"],
            ["server_no_context_takeover"] * 2,
        ],
    )
    def test_7_1_offers_that_are_declined(self, compiled: Talks, parameters: list[str]) -> None:
        """The WebSocket opens without compression; of two offers the second may still be accepted."""
        with compiled.socket() as client:
            assert agreed(client, offer(*parameters)) is None
            assert client.send(text("y" * 999)).frame() == (TEXT, b"y" * 999)
        with compiled.socket() as client:
            found = agreed(client, offer(*parameters) + f", {NAME}; client_max_window_bits=10")
            assert found == {"client_max_window_bits": "10"}

    def test_5_1_the_first_offer_that_can_be_accepted(self, compiled: Talks) -> None:
        with compiled.socket() as client:
            found = agreed(client, offer("server_max_window_bits=10") + f", {NAME}", offer("client_max_window_bits"))
            assert found == {"server_max_window_bits": "10"}

    def test_5_1_every_combination(self, compiled: Talks) -> None:
        for server, client_, bits, own in itertools.product((0, 1), (0, 1), (0, 9, 12, 15), (None, 0, 9, 15)):
            asked = ["server_no_context_takeover"] * server + ["client_no_context_takeover"] * client_
            asked += [f"server_max_window_bits={bits}"] if bits else []
            asked += [] if own is None else [f"client_max_window_bits={own}" if own else "client_max_window_bits"]
            with compiled.socket() as client:
                found = agreed(client, offer(*asked))
                assert found is not None
                assert (found.takeover("server"), found.takeover("client")) == (not server, not client_)
                assert found.get("server_max_window_bits") == (str(min(12, bits)) if bits else None)
                assert found.bits("client") == (15 if own is None else min(12, own or 15))
                both = Deflating(client, found)
                for message in (b"ab" * 300, b"ab" * 300, b""):
                    client.send(both.packed(message, parts=2))
                    assert both.read()[0] == message

    @pytest.mark.parametrize("value", ["permessage-deflate;", "permessage-deflate; =1", ";", "a b", 'a; b="'])
    def test_5_malformed_fields(self, compiled: Talks, value: str) -> None:
        assert compiled.ask(upgrade("/", f"Sec-WebSocket-Extensions: {value}")).status == 400

    def test_switched_off(self) -> None:
        talks = Talks("auto", ws_per_message_deflate=False)
        with talks.socket() as client:
            assert agreed(client, offer()) is None
        found = talks.tell(packed(HELLO, TEXT), fields=(offer(),))
        assert (found.messages, found.code) == ([], 1002)
        talks.running.stop()


@pytest.fixture(scope="module")
def compiled() -> Iterator[Talks]:
    talks = Talks("auto", ws_max_size=MAX_COMPRESSED)
    yield talks
    talks.running.stop()


class TestMessages:
    """Sections 6 and 7.2."""

    @pytest.mark.parametrize("name", COMPRESSED)
    def test_6_and_7_2(self, talks: Talks, name: str) -> None:
        data, messages, code = COMPRESSED[name]
        messages, code = DIFFERENCES.get((talks.implementation, name), (messages, code))
        found = talks.tell(data, fields=(offer(),))
        assert (found.messages, found.code, found.seen) == (messages, code, code)
        if "ping between" in name:
            assert found.pongs == [b"p"]

    @pytest.mark.parametrize("client_takeover", [True, False])
    @pytest.mark.parametrize("server_takeover", [True, False])
    def test_7_1_1_context_takeover(self, talks: Talks, server_takeover: bool, client_takeover: bool) -> None:
        """Each way: the second of two equal messages refers to the first, or does not."""
        message = random.Random(1).randbytes(2000)
        asked = [] if server_takeover else ["server_no_context_takeover"]
        with talks.socket() as client:
            found = agreed(client, offer(*asked, *([] if client_takeover else ["client_no_context_takeover"])))
            assert found is not None
            assert (found.takeover("server"), found.takeover("client")) == (server_takeover, client_takeover)
            both = Deflating(client, found)
            sizes = []
            for _ in range(3):
                client.send(both.packed(message))
                content, size, compressed = both.read()
                assert (content, compressed) == (message, True)
                sizes.append(size)
            assert sizes[0] >= 2000
            assert all(size < 100 for size in sizes[1:]) == server_takeover
            # What refers to the message before is no message without takeover.
            stream = zlib.compressobj(wbits=-15)
            stream.compress(message)
            stream.flush(zlib.Z_SYNC_FLUSH)
            again = (stream.compress(message) + stream.flush(zlib.Z_SYNC_FLUSH)).removesuffix(TAIL)
            client.send(packed(again))
            if client_takeover:
                assert both.read()[0] == message
            else:
                code = 1002 if talks.implementation == "websockets" else 1007
                found_ = client.frame()
                assert found_ is not None and (found_[0], found_[1][:2]) == (CLOSE, code.to_bytes(2, "big"))

    def test_6_1_control_frames_are_not_compressed(self, talks: Talks) -> None:
        with talks.socket() as client:
            assert agreed(client, offer()) is not None
            payload = b"p" * 125
            assert client.send(frame(FIN | PING, payload)).frame() == (PONG, payload)
            assert client.send(close(3000, "c" * 120)).frame() in (closing(3000), closing(3000, "c" * 120))
        with talks.socket() as client:
            client.open(f"/close?4000&{'c' * 120}", offer())
            assert client.frame() == closing(4000, "c" * 120)

    def test_small_messages_are_not_compressed(self, compiled: Talks) -> None:
        """Compressing them costs more than it saves."""
        with compiled.socket() as client:
            found = agreed(client, offer())
            assert found is not None
            both = Deflating(client, found)
            for size, compressed in ((0, False), (1, False), (255, False), (256, True), (20_000, True)):
                client.send(both.packed(b"x" * size))
                assert both.read()[::2] == (b"x" * size, compressed)


def test_an_inflation_bomb_is_stopped(talks: Talks) -> None:
    """16 MB from 16 KB, against a limit of 100 KB: with 1009, and little more memory than that.

    wsproto inflates some KiB at a time before it tells of them.
    """
    bomb = packed(squeeze(bytes(16 << 20)))
    tracemalloc.start()
    try:
        found = talks.tell(text("first") + bomb, fields=(offer(),))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found == Outcome(["first"], [], 1009, 1009, found.reason, [])
    assert peak < (1 if talks.implementation != "wsproto" else 13) << 20
