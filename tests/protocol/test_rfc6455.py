"""RFC 6455 (The WebSocket Protocol), in the order of its sections, over real sockets.

streams.DIFFERENCES says what the reference implementations do otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from core.frames import BINARY, CLOSE, FIN, PING, PONG, TEXT, binary, frame, text
from protocol.streams import (
    BAD_DATA,
    CLOSES,
    CONTROL,
    DIFFERENCES,
    FAULT,
    FRAGMENTED,
    GOOD_CODES,
    LENGTHS,
    NO_MASK,
    ONE_PING,
    RESERVED,
    SIZES,
    TEXTS,
    TOO_BIG,
    Streams,
)
from protocol.websocket import MAX_SIZE, Outcome, Talks, implementations, serve_all
from ws import ACCEPT, KEY, close, closing, upgrade


@implementations
def talks(request: pytest.FixtureRequest) -> Iterator[Talks]:
    yield from serve_all(request, ws_per_message_deflate=False)


@pytest.fixture(scope="module")
def compiled() -> Iterator[Talks]:
    talks = Talks("auto", ws_per_message_deflate=False)
    yield talks
    talks.running.stop()


def streams(cases: Streams) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Test each of these."""
    return pytest.mark.parametrize("name", cases)


def check(talks: Talks, cases: Streams, name: str) -> Outcome:
    data, messages, code = cases[name]
    messages, code = DIFFERENCES.get((talks.implementation, name), (messages, code))
    found = talks.tell(data)
    assert (found.messages, found.code, found.seen, found.others) == (messages, code, code, [])
    return found


class TestHandshake:
    """4.2.1 says what a handshake has, 4.2.2 how it is answered."""

    def test_4_2_2_the_answer(self, talks: Talks) -> None:
        with talks.socket() as client:
            found = client.open()
            assert (found.reason, found.get(b"upgrade"), found.get(b"connection")) == (
                b"Switching Protocols", b"websocket", b"Upgrade",
            )  # fmt: skip
            assert found.get(b"sec-websocket-accept") == ACCEPT  # the example of section 1.3
            for absent in (b"sec-websocket-protocol", b"sec-websocket-extensions", b"sec-websocket-version"):
                assert found.get(absent) is None

    @pytest.mark.parametrize(
        "request_",
        [
            upgrade(protocol="WebSocket"),
            upgrade(protocol="h2c, websocket"),
            upgrade(connection="keep-alive, upgrade"),
            upgrade(connection="UPGRADE"),
            upgrade().replace(b"Upgrade: w", b"upgrade:w").replace(b"Sec-WebSocket-K", b"SEC-WEBSOCKET-K"),
            upgrade("http://x/"),
            upgrade("/", "Content-Length: 0"),
            upgrade("/", "Origin: http://anywhere", "Sec-WebSocket-Extensions: x-unknown; a=1, other"),
        ],
    )
    def test_4_2_1_what_is_a_handshake(self, talks: Talks, request_: bytes) -> None:
        with talks.socket() as client:
            assert client.ask(request_).status == 101
            assert client.send(close()).frames() == [closing(1000)]

    @pytest.mark.parametrize(
        "request_",
        [
            upgrade(http="1.0"),
            upgrade(connection="keep-alive"),
            upgrade(protocol="h2c"),
            upgrade(protocol="websocket/13"),
            upgrade(protocol="x-websocket"),
        ],
    )
    def test_4_2_1_what_is_a_plain_request(self, talks: Talks, request_: bytes) -> None:
        """No upgrade to this protocol is asked for, or none can be (RFC 9110 section 7.8)."""
        found = talks.ask(request_)
        assert (found.status, found.body) == (200, b"plain")

    @pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
    def test_4_2_1_the_method_is_get(self, talks: Talks, method: str) -> None:
        found = talks.ask(upgrade(method=method))
        assert (found.status, found.get(b"allow"), found.closes) == (405, b"GET", True)

    @pytest.mark.parametrize("version", [None, "", "8", "12", "14", "013", "+13", "13, 8", "1 3", "13.0"])
    def test_4_2_2_other_versions(self, talks: Talks, version: str | None) -> None:
        found = talks.ask(upgrade(version=version))
        assert (found.status, found.reason) == (426, b"Upgrade Required")
        assert found.get(b"sec-websocket-version") == b"13"
        assert found.get(b"upgrade") == b"websocket"  # RFC 9110 section 15.5.22
        assert found.all(b"connection") == [b"Upgrade", b"close"]

    @pytest.mark.parametrize(
        "key",
        [
            None, "", KEY[:-1], KEY[:-2], KEY + "=", "AAAAAAAAAAAAAAAAAAAA", "AAAAAAAAAAAAAAAAAAAAAAAA",
            "dGhlIHNhbXBsZSBub25j ZQ=", "dGhlIHNhbXBsZSBub25j-_==", "=" * 24, f"{KEY}, {KEY}", "\xe9" * 24,
        ],
    )  # fmt: skip
    def test_4_2_1_the_key_is_16_bytes_in_base64(self, talks: Talks, key: str | None) -> None:
        found = talks.ask(upgrade(key=key))
        assert (found.status, found.closes) == (400, True)

    @pytest.mark.parametrize(
        "fields",
        [
            (f"Sec-WebSocket-Key: {KEY}",),
            ("Sec-WebSocket-Version: 13",),
            ("Sec-WebSocket-Protocol: a b",),
            ("Sec-WebSocket-Protocol:",),
            ("Sec-WebSocket-Protocol: ,",),
            ("Sec-WebSocket-Protocol: a", "Sec-WebSocket-Protocol: ,"),
            ("Sec-WebSocket-Extensions: a;",),
            ("Content-Length: 5",),
            ("Transfer-Encoding: chunked",),
        ],
    )
    def test_4_2_1_what_is_malformed(self, talks: Talks, fields: tuple[str, ...]) -> None:
        """More than one key or version, lists that are none (section 4.3), a body."""
        assert talks.ask(upgrade("/", *fields)).status == 400

    def test_4_2_2_the_origin_is_for_the_application(self, talks: Talks) -> None:
        talks.tell(fields=("Origin: https://example.org",))
        assert (b"origin", b"https://example.org") in talks.app.scope["headers"]


class TestMasking:
    @streams(NO_MASK)
    def test_5_1_a_frame_without_a_mask_ends_it(self, talks: Talks, name: str) -> None:
        check(talks, NO_MASK, name)

    @pytest.mark.parametrize("key", [bytes(4), b"\xff" * 4, b"\x01\x02\x03\x04", b"\x80\x00\xff\x7f"])
    def test_5_3_any_key(self, talks: Talks, key: bytes) -> None:
        sent: list[bytes] = [bytes(range(size)) for size in (0, 1, 2, 3, 4, 5, 7, 8, 9, 63, 130)]
        found = talks.tell(*(frame(FIN | BINARY, each, key=key) for each in sent))
        assert (found.messages, found.code) == (sent, 1000)


class TestFraming:
    @streams(RESERVED)
    def test_5_2_reserved_bits_and_opcodes(self, talks: Talks, name: str) -> None:
        check(talks, RESERVED, name)

    @streams(LENGTHS)
    def test_5_2_lengths_in_the_fewest_bytes(self, talks: Talks, name: str) -> None:
        check(talks, LENGTHS, name)

    def test_5_2_lengths_of_every_form(self, talks: Talks) -> None:
        sizes = (0, 1, 125, 126, 127, 1000)
        found = talks.tell(*(binary(b"x" * size) + text("y" * size) for size in sizes))
        assert found.messages == [each for size in sizes for each in (b"x" * size, "y" * size)]
        assert found.code == 1000


class TestFragmentation:
    @streams(FRAGMENTED)
    def test_5_4_fragments(self, talks: Talks, name: str) -> None:
        found = check(talks, FRAGMENTED, name)
        assert found.pongs == [b"p"] * FRAGMENTED[name][0].count(ONE_PING)

    def test_5_4_a_ping_is_answered_before_the_message_is_complete(self, talks: Talks) -> None:
        with talks.socket() as client:
            client.open()
            client.send(frame(TEXT, b"a") + ONE_PING)
            assert client.frame() == (PONG, b"p")
            client.send(frame(FIN, b"b") + close())
            assert talks.outcome(client).messages == ["ab"]


class TestControlFrames:
    @streams(CONTROL)
    def test_5_5_control_frames(self, talks: Talks, name: str) -> None:
        check(talks, CONTROL, name)

    def test_5_5_2_each_ping_has_its_pong(self, talks: Talks) -> None:
        payloads = [b"", b"a", bytes(125), b"\xff" * 125]
        found = talks.tell(*(frame(FIN | PING, each) for each in payloads))
        assert (found.pongs, found.code) == (payloads, 1000)

    def test_5_5_1_nothing_is_read_behind_a_close_frame(self, talks: Talks) -> None:
        found = talks.tell(close(3000), text("late"), ONE_PING, frame(FIN | 3))
        assert found == Outcome([], [], 3000, 3000, "", [])


class TestClose:
    @streams(CLOSES)
    def test_5_5_1_the_client_s(self, talks: Talks, name: str) -> None:
        found = check(talks, CLOSES, name)
        if found.seen in GOOD_CODES and found.seen == CLOSES[name][2] not in (FAULT, BAD_DATA):
            assert found.reason == "why"

    @pytest.mark.parametrize("reason", ["", "é€😀", "x" * 123])
    def test_7_1_6_the_reason(self, talks: Talks, reason: str) -> None:
        found = talks.tell(end=close(1000, reason))
        assert (found.seen, found.reason) == (1000, reason)

    def test_5_5_1_the_application_s(self, talks: Talks) -> None:
        for code in GOOD_CODES:
            with talks.socket() as client:
                client.open(f"/close?{code}&why")
                assert client.frame() == closing(code, "why")
                found = talks.outcome(client.send(close(1001, "other")))
                assert found == Outcome([], [], 0, code, "why", [])


# Of a frame that is not complete: the bytes after which no text can go on.
EARLY = [b"a\xff", b"\xc0", b"\xe2\x28", b"\xed\xa0", b"\xf4\x90"]


class TestText:
    @streams(TEXTS)
    def test_5_6_and_8_1(self, talks: Talks, name: str) -> None:
        check(talks, TEXTS, name)

    @pytest.mark.parametrize("start", EARLY)
    def test_8_1_before_the_message_is_complete(self, talks: Talks, start: bytes) -> None:
        """Python's decoder, which the others use, takes half a surrogate for the beginning of something."""
        more = b"" if talks.implementation == "auto" else b"\x80"
        found = talks.tell(frame(TEXT, start + more), end=b"")
        assert (found.messages, found.code, found.seen) == ([], BAD_DATA, BAD_DATA)

    @pytest.mark.parametrize("start", EARLY)
    def test_8_1_before_the_frame_is_complete(self, talks: Talks, start: bytes) -> None:
        """websockets looks at whole frames."""
        more = {"auto": b"", "wsproto": b"\x80", "websockets": b"x" * (50 - len(start))}[talks.implementation]
        found = talks.tell(frame(FIN | TEXT, start + more, announced=50), end=b"")
        assert (found.messages, found.code, found.seen) == ([], BAD_DATA, BAD_DATA)


class TestClosing:
    def test_7_1_1_the_server_ends_the_connection(self, talks: Talks) -> None:
        """With nothing after its close frame, and without waiting for the client to do so."""
        with talks.socket() as client:
            client.open("/echo")
            assert client.send(text("a")).frame() == (TEXT, b"a")
            assert client.send(close(1000)).frames() == [closing(1000)]

    def test_5_5_1_what_came_before_the_close_frame_is_answered(self, talks: Talks) -> None:
        """Messages before it in one packet are echoed first; the libraries respond to the close frame at once."""
        found = talks.tell(text("a") + ONE_PING + binary(b"b"), path="/echo", end=close(3000))
        answers = [(TEXT, b"a"), (BINARY, b"b")] if talks.implementation == "auto" else []
        assert found == Outcome(["a", b"b"], [b"p"], 3000, 3000, "", answers)

    def test_7_1_4_a_client_that_does_not_answer_with_a_frame(self, talks: Talks) -> None:
        with talks.socket() as client:
            client.open("/close?1000")
            assert client.frame() == closing(1000)
            client.end()
            assert talks.outcome(client) == Outcome([], [], 0, 1000, "", [])

    def test_7_1_5_and_7_2_1_no_close_frame(self, talks: Talks) -> None:
        with talks.socket() as client:
            client.open()
            client.send(text("a")).end()
            found = talks.outcome(client)
        assert found == Outcome(["a"], [], 0, 1006, "", [])

    def test_7_1_7_the_client_may_still_be_sending(self, talks: Talks) -> None:
        """Its bytes are dropped: closing with them unread would reset the connection, and the close frame be lost."""
        found = talks.tell(frame(FIN | 3), binary(bytes(1000)) * 300)
        assert (found.messages, found.code) == ([], FAULT)

    def test_7_4_1_what_no_frame_may_carry_is_not_sent(self, talks: Talks) -> None:
        """A close frame without a code is answered by one without."""
        with talks.socket() as client:
            client.open()
            assert client.send(close(None)).frame() == (CLOSE, b"")
            assert talks.outcome(client) == Outcome([], [], 0, 1005, "", [])


class TestLimits:
    @streams(SIZES)
    def test_10_4_the_size_of_a_message(self, talks: Talks, name: str) -> None:
        check(talks, SIZES, name)

    @pytest.mark.parametrize("size", [MAX_SIZE + 1, 70_000, 1 << 40, (1 << 63) - 1])
    def test_10_4_before_the_payload_comes(self, talks: Talks, size: int) -> None:
        """The header is enough; wsproto, which does not tell of a frame without a payload, needs what is too much."""
        head = frame(FIN | BINARY, announced=size)
        found = talks.tell(head, bytes(MAX_SIZE + 1) if talks.implementation == "wsproto" else b"", end=b"")
        assert (found.messages, found.code, found.seen) == ([], TOO_BIG, TOO_BIG)

    def test_10_4_before_the_payload_of_a_fragment_comes(self, talks: Talks) -> None:
        head = frame(BINARY, bytes(MAX_SIZE)) + frame(0, announced=1)
        found = talks.tell(head, b"x" if talks.implementation == "wsproto" else b"", end=b"")
        assert (found.messages, found.code, found.seen) == ([], TOO_BIG, TOO_BIG)

    def test_10_4_the_fragments_of_a_message(self, compiled: Talks) -> None:
        """Each costs time and brings nothing."""
        most = 1 << 18
        data = frame(BINARY) + frame(0) * (most - 1)
        found = compiled.tell(data, frame(FIN))
        assert (found.messages, found.code) == ([], TOO_BIG)
        found = compiled.tell(data[: -len(frame(0))], frame(FIN))
        assert (found.messages, found.code) == ([b""], 1000)
