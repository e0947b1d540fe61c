"""The header blocks of responses, and the check of an application's fields that they begin with."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from core.hpack import Fields, indexed
from fakes.settings import make_settings

from fastserve._core.loop.clock import Clock
from fastserve._core.testing import HpackDecoder, HpackEncoder, checked_head, date_of, encode_head

BARE = make_settings(server=None, date=False)
CONTROLS = {*range(32), 127} - {ord("\t")}
DROPPED = (b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade")


@pytest.fixture
def clock() -> Iterator[Clock]:
    loop = asyncio.new_event_loop()
    yield Clock(loop, make_settings())
    loop.close()


def checked(headers: Any) -> Fields:
    return checked_head(200, headers)[0]


class TestCheck:
    def test_fields(self) -> None:
        assert checked([(b"Content-Type", b"text/plain"), (b"X", b""), (b"x", b"2")]) == [
            (b"content-type", b"text/plain"),
            (b"x", b""),
            (b"x", b"2"),
        ]

    def test_the_objects_are_kept(self) -> None:
        """A pair that is right as it is costs no new object."""
        headers = [(b"content-length", b"5"), (b"a", b"1"), (b"Connection", b"close"), (b"b", b"2"), (b"C", b"3")]
        first, second, third = checked(headers)
        assert first is headers[1]
        assert second is headers[3]
        assert third[1] is headers[4][1]

    @pytest.mark.parametrize(
        "headers",
        [[[b"A", b"b"]], ((b"A", b"b"),), iter([(b"A", b"b")]), {b"A": b"b"}.items(), [("A", b"b")], [(b"A", "b")],
         [(bytearray(b"A"), memoryview(b"b"))]],
    )  # fmt: skip
    def test_kinds_of_iterables_and_parts(self, headers: Any) -> None:
        assert checked(headers) == [(b"a", b"b")]

    @pytest.mark.parametrize("pair", [(b"a", 1), (None, b"b"), (["a"], b"b")])
    def test_other_types_are_refused(self, pair: Any) -> None:
        with pytest.raises(TypeError, match="bytes"):
            checked([pair])

    @pytest.mark.parametrize("headers", [None, 1, [None], [(b"a",)], [(b"a", b"b", b"c")]])
    def test_what_is_not_pairs(self, headers: Any) -> None:
        with pytest.raises((TypeError, ValueError)):
            checked(headers)

    @pytest.mark.parametrize(
        "name", [b"", b" a", b"a ", b"a:", b":path", b":status", b"a\r\nb", b"a\0", b"\xe4", b"a("]
    )
    def test_bad_names(self, name: bytes) -> None:
        with pytest.raises(ValueError, match=r"^(empty|invalid) header name"):
            checked([(name, b"x")])

    def test_bad_values(self) -> None:
        for control in CONTROLS:
            for value in (b"%c", b"a%c", b"%ca", b"v" * 50 + b"%c" + b"v" * 50):
                with pytest.raises(ValueError, match="invalid value of header"):
                    checked([(b"a", value % control)])

    def test_all_values_that_are_possible(self) -> None:
        value = bytes(set(range(256)) - CONTROLS - set(b" \t"))
        assert checked([(b"a", b"v \t" + value)]) == [(b"a", b"v \t" + value)]

    @pytest.mark.parametrize("value", [b" a b", b"a b ", b"\t a b \t", b" ", b"\t"])
    def test_white_space_around_values(self, value: bytes) -> None:
        """A reader of HTTP/1.1 strips it, one of HTTP/2 refuses it (RFC 9113 section 8.2.1)."""
        assert checked([(b"a", value)]) == [(b"a", value.strip())]

    @pytest.mark.parametrize("name", DROPPED)
    def test_connection_specific_fields(self, name: bytes) -> None:
        """They are left out (RFC 9113 section 8.2.2), with any value."""
        for value in (b"close", b"keep-alive", b"upgrade", b"x", b""):
            headers = [(b"a", b"1"), (name, value), (name.title(), value), (b"b", b"2")]
            assert checked(headers) == [(b"a", b"1"), (b"b", b"2")]

    def test_facts(self) -> None:
        fields, facts = checked_head(404, [(b"Content-Length", b"7"), (b"Date", b"x"), (b"SERVER", b"y")])
        assert fields == [(b"date", b"x"), (b"server", b"y")]
        assert facts == {"status": 404, "content_length": 7, "close": False, "date": True, "server": True}
        assert checked_head(200, [])[1] == {
            "status": 200, "content_length": -1, "close": False, "date": False, "server": False,
        }  # fmt: skip
        assert checked_head(200, [(b"connection", b"close")])[1]["close"] is True

    @pytest.mark.parametrize("value", [b"", b"-1", b"x", b"1" * 19])
    def test_bad_length(self, value: bytes) -> None:
        with pytest.raises(ValueError, match="Content-Length"):
            checked([(b"content-length", value)])

    def test_two_lengths(self) -> None:
        assert checked_head(200, [(b"content-length", b"1")] * 2)[1]["content_length"] == 1
        with pytest.raises(ValueError, match="two different"):
            checked([(b"content-length", b"1"), (b"content-length", b"2")])

    @pytest.mark.parametrize("status", [0, 99, 1000, -200, "200", None, 200.0])
    def test_status(self, status: Any) -> None:
        with pytest.raises((TypeError, ValueError), match="status"):
            checked_head(status, [])

    def test_nothing_is_left_of_a_wrong_head(self) -> None:
        before = [(b"x", b"y")]
        with pytest.raises(ValueError, match="invalid"):
            checked_head(200, [(b"a", b"b"), (b"\0", b"")], before)
        assert before == [(b"x", b"y")]
        assert checked([(b"c", b"d")]) == [(b"c", b"d")]

    def test_as_over_http_1(self, clock: Clock) -> None:
        """The same fields in the same order, but for those of a connection."""
        headers = [
            (b"A", b"1"), (b"content-length", b"3"), (b"a", b"1"), (b"Connection", b"x, close"), (b"date", b"now"),
            (b"connection", b"close"), (b"transfer-encoding", b"x"), (b"UPGRADE", b"h"), (b"a", b"1"), (b"aa", b"1"),
            (b"a", b""), (b"a", b"1: a"),
        ]  # fmt: skip
        lines = encode_head(BARE, clock, 200, headers).split(b"\r\n")[1:]
        pairs = [tuple(line.split(b": ", 1)) for line in lines if line]
        fields = checked(headers)
        assert fields == [pair for pair in pairs if pair[0] not in (*DROPPED, b"content-length")]
        assert len(fields) == 7


class TestBlocks:
    def test_a_response(self, clock: Clock) -> None:
        decoder, encoder = HpackDecoder(), HpackEncoder()
        for _ in range(3):
            block = encoder.response(make_settings(), clock, 200, [(b"Content-Type", b"text/plain"), (b"X", b"y")], 5)
            assert decoder.fields(block) == [
                (b":status", b"200"),
                (b"date", date_of(clock)),
                (b"server", b"fastserve"),
                (b"content-length", b"5"),
                (b"content-type", b"text/plain"),
                (b"x", b"y"),
            ]
        assert len(block) == 1 + 1 + 1 + 4 + 1 + 1

    def test_the_date_is_one_object_for_all(self, clock: Clock) -> None:
        first, second = HpackEncoder(), HpackEncoder()
        for encoder in (first, second, first, second):
            encoder.response(make_settings(), clock, 200, [])
        assert first.table()[-1][1] is second.table()[-1][1]

    def test_length(self, clock: Clock) -> None:
        assert HpackEncoder().response(BARE, clock, 204, []) == indexed(9)
        assert HpackEncoder().response(BARE, clock, 200, [(b"content-length", b"12")]) == b"\x88\x0f\x0d\x0212"

    def test_hsts(self, clock: Clock) -> None:
        """It is for TLS alone, and the application's own stays."""
        settings, own = (
            make_settings(server=None, date=False, hsts=b"max-age=9"),
            [(b"strict-transport-security", b"x")],
        )
        sent = [
            HpackDecoder().fields(HpackEncoder().response(settings, clock, 204, fields, encrypted=encrypted))[1:]
            for fields, encrypted in (([], True), (own, True), ([], False))
        ]
        assert sent == [[(b"strict-transport-security", b"max-age=9")], own, []]

    def test_fields_of_the_applications_own(self, clock: Clock) -> None:
        block = HpackEncoder().response(make_settings(), clock, 200, [(b"Date", b"today"), (b"Server", b"mine")])
        assert HpackDecoder().fields(block) == [(b":status", b"200"), (b"date", b"today"), (b"server", b"mine")]

    def test_default_headers(self, clock: Clock) -> None:
        """Those of --header, without what is about a connection; the application's Date and Server go before theirs."""
        dropped = [(name, b"d") for name in DROPPED if name not in (b"connection", b"transfer-encoding")]
        headers = [(b"server", b"a"), (b"date", b"b"), (b"X", b" c "), *dropped]
        settings = make_settings(server=None, date=False, default_headers=headers)
        block = HpackEncoder().response(settings, clock, 200, [(b"y", b"z")])
        assert HpackDecoder().fields(block)[1:] == [(b"server", b"a"), (b"date", b"b"), (b"x", b"c"), (b"y", b"z")]
        block = HpackEncoder().response(settings, clock, 200, [(b"date", b"1"), (b"server", b"2")])
        assert HpackDecoder().fields(block)[1:] == [(b"x", b"c"), (b"date", b"1"), (b"server", b"2")]

    def test_interim(self) -> None:
        block = HpackEncoder().interim(103, [(b"Link", b"</a>; rel=preload")])
        assert HpackDecoder().fields(block) == [(b":status", b"103"), (b"link", b"</a>; rel=preload")]

    def test_trailers(self) -> None:
        block = HpackEncoder().trailers([(b"Grpc-Status", b"0"), [bytearray(b"x"), b" y "]])
        assert HpackDecoder().fields(block) == [(b"grpc-status", b"0"), (b"x", b"y")]
        assert HpackEncoder().trailers([]) == b""

    @pytest.mark.parametrize(
        "name", [b"content-length", b"Transfer-Encoding", b"set-cookie", b"connection", b"te", b":x", b""]
    )
    def test_bad_trailers(self, name: bytes) -> None:
        with pytest.raises(ValueError, match=r"header name|not allowed in trailers"):
            HpackEncoder().trailers([(b"a", b"b"), (name, b"1")])

    def test_trailers_are_bytes(self) -> None:
        bad: Any = [("a", b"b")]
        with pytest.raises(TypeError, match="bytes"):
            HpackEncoder().trailers(bad)

    def test_table_size(self, clock: Clock) -> None:
        """A change is told by the next block, whichever it is."""
        for kind in range(3):
            encoder = HpackEncoder()
            encoder.resize(0)
            blocks = (
                lambda: encoder.response(BARE, clock, 200, []),  # noqa: B023
                lambda: encoder.interim(100, []),  # noqa: B023
                lambda: encoder.trailers([(b"a", b"b")]),  # noqa: B023
            )
            assert blocks[kind]()[:1] == b"\x20"
            assert blocks[kind]()[:1] != b"\x20"
