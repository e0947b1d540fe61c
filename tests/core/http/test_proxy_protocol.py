"""The header of the PROXY protocol: bytes in, addresses out."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from proxies.wire import MEANT, TLVS, raw, tlv, v1, v2

from fastserve._core.http.proxy_protocol import parse

ONE = {"version": 1, "destination": ("198.51.100.1", 443)}
TWO = {"version": 2, "destination": ("198.51.100.1", 443)}
SIX = {"destination": ("2001:db8::ff", 443)}

READ: list[tuple[bytes, Any, Any]] = [
    (v1(), ("192.0.2.1", 4711), ONE),
    (v1("2001:DB8::1", 80, "TCP6", "2001:db8::ff"), ("2001:db8::1", 80), {"version": 1, **SIX}),
    (v1("::ffff:192.0.2.1", 80, "TCP6", "2001:db8::ff"), ("192.0.2.1", 80), {"version": 1, **SIX}),
    (b"PROXY UNKNOWN\r\n", None, None),
    (b"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n", None, None),
    (v2(), ("192.0.2.1", 4711), TWO),
    (v2("2001:db8::1"), ("2001:db8::1", 4711), {"version": 2, **SIX}),
    (v2(tlvs=TLVS), ("192.0.2.1", 4711), MEANT),
    (v2(command=0x20), None, None),
    (raw(b"", 0x20, 0x00), None, None),
    (raw(b"anything", 0x20, 0x11), None, None),
    (raw(b"", family=0x00), None, {"version": 2}),
    (raw(b"any octets", family=0x00), None, {"version": 2}),
    (raw(bytes(12), family=0x12), ("0.0.0.0", 0), {"version": 2, "destination": ("0.0.0.0", 0)}),
    (raw(bytes(216), family=0x31), None, {"version": 2}),
    (raw(bytes(216) + tlv(2, b"a"), family=0x31), None, {"version": 2, "authority": "a"}),
    (v2(tlvs=tlv(4, bytes(536 - 12 - 3))), ("192.0.2.1", 4711), TWO),
    (v2(tlvs=tlv(2, b"\xff")), ("192.0.2.1", 4711), {**TWO, "authority": "\ufffd"}),
    (v2(tlvs=tlv(0xEA, b"\x02x")), ("192.0.2.1", 4711), TWO),
]
REFUSED = [
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00",
    b"proxy TCP4 192.0.2.1 198.51.100.1 1 2\r\n",
    b"PROXY\r\n",
    b"PROXY \r\n",
    b"PROXY TCP4\r\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.1 1\r\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.1 1 2 3\r\n",
    b"PROXY TCP4  192.0.2.1 198.51.100.1 1 2\r\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.1 1 2\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.1 1 65536\r\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.1 -1 2\r\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.1 01 2\r\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.1 000000000000000001 2\r\n",
    b"PROXY TCP4 192.0.2 198.51.100.1 1 2\r\n",
    b"PROXY TCP4 2001:db8::1 198.51.100.1 1 2\r\n",
    b"PROXY TCP6 192.0.2.1 198.51.100.1 1 2\r\n",
    b"PROXY TCP4 192.0.2.1\xff 198.51.100.1 1 2\r\n",
    b"PROXY TCP5 192.0.2.1 198.51.100.1 1 2\r\n",
    b"PROXY UNKNOWN " + b"x" * 100,
    raw(b"", 0x11),
    raw(b"", 0x22),
    raw(bytes(12), family=0x41),
    raw(bytes(12), family=0x13),
    raw(bytes(11)),
    raw(bytes(35), family=0x21),
    raw(bytes(215), family=0x31),
    raw(bytes(537)),
    raw(bytes(65535)),
    v2(tlvs=b"\x01"),
    v2(tlvs=b"\x01\0\2a"),
    v2(tlvs=tlv(0x20, b"\x01\0\0\0")),
    v2(tlvs=tlv(0x20, b"\x01\0\0\0\0\x21\0\2a")),
]


@pytest.mark.parametrize(("header", "client", "extension"), READ)
def test_read(header: bytes, client: Any, extension: Any) -> None:
    """Cut at every octet, it is incomplete; what follows it is left alone."""
    assert parse(header, "auto") == (len(header), client, extension)
    for rest in (b"GET / HTTP/1.1\r\n", header, b"\0"):
        assert parse(header + rest, "auto") == (len(header), client, extension)
    for size in range(1, len(header)):
        assert parse(header[:size], "auto") is None


@pytest.mark.parametrize("header", REFUSED)
def test_refused(header: bytes) -> None:
    with pytest.raises(ValueError, match="PROXY header"):
        parse(header, "auto")


def test_refused_before_it_is_all_there() -> None:
    """Nobody has to wait, or keep more octets, than the longest header has."""
    for begun in (raw(bytes(65535))[:16], b"PROXY TCP4 " + b"1" * 96, b"PROX!", b"\r\n\r\n\0\r\nQUIT\r"):
        with pytest.raises(ValueError, match="PROXY header"):
            parse(begun, "auto")


@pytest.mark.parametrize(("mode", "header"), [("v1", v2()), ("v2", v1()), ("v1", v2()[:1]), ("v2", b"P")])
def test_version_that_is_not_spoken(mode: str, header: bytes) -> None:
    with pytest.raises(ValueError, match="no PROXY header"):
        parse(header, mode)


BEGINNINGS = st.sampled_from([b"", b"PROXY TCP4 ", b"PROXY TCP6 ", raw(b"")[:12], raw(b"")[:13], v2(tlvs=TLVS)])


@given(BEGINNINGS, st.binary(max_size=300), st.sampled_from(["v1", "v2", "auto"]))
def test_any_octets(begin: bytes, rest: bytes, mode: str) -> None:
    """They are a header, the beginning of one, or refused; and the outcome does not depend on how they were cut."""
    outcomes: list[Any] = []
    for size in range(1, len(begin + rest) + 1):
        try:
            outcomes.append(parse((begin + rest)[:size], mode))
        except ValueError:
            outcomes.append("refused")
    decided = [outcome for outcome in outcomes if outcome is not None]
    assert all(outcome == decided[0] for outcome in decided)
    if decided and decided[0] != "refused":
        assert outcomes.index(decided[0]) + 1 == decided[0][0]


TLV_LISTS = st.lists(st.tuples(st.integers(0x40, 0xDF), st.binary(max_size=50)), max_size=8)


@given(st.ip_addresses(), st.integers(0, 65535), TLV_LISTS)
def test_any_client(client: Any, port: int, tlvs: list[tuple[int, bytes]]) -> None:
    header = v2(str(client), port, b"".join(tlv(*each) for each in tlvs))
    found = parse(header, "auto")
    assert found is not None
    assert found[:2] == (len(header), (str(getattr(client, "ipv4_mapped", None) or client), port))
