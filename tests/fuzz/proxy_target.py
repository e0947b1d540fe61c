"""The PROXY header: struct and ipaddress as the judge of what it says, and of where it ends.

Input: one byte for the version that is spoken, then the client's bytes.
"""

from __future__ import annotations

import ipaddress
import re
import struct
from collections.abc import Iterator
from typing import Any

from fuzz.target import Target
from proxies.wire import SIGNATURE, TLVS, raw, tlv, v1, v2

from fastserve._core.http.proxy_protocol import parse

MODES = ("auto", "v1", "v2")
LONGEST_LINE, LONGEST_REST = 107, 536
LINE = re.compile(
    rb"PROXY (?:UNKNOWN(?: [^\n]*)?|TCP([46]) ([^ \n]+) ([^ \n]+) (0|[1-9][0-9]{0,4}) (0|[1-9][0-9]{0,4}))\r\n"
)
TEXTS = {0x01: "alpn", 0x02: "authority", 0x30: "netns"}
SSL_TEXTS = {0x21: "version", 0x22: "cn", 0x23: "cipher", 0x24: "sig_alg", 0x25: "key_alg"}


class Refused(Exception):
    """It is not a PROXY header."""


def plain(address: Any) -> Any:
    return getattr(address, "ipv4_mapped", None) or address


def outcome(data: bytes, mode: str) -> Any:
    """Return what the parser says, with addresses that can be compared; None for the beginning of a header."""
    try:
        found = parse(data, mode)
    except ValueError:
        return Refused
    if found is None:
        return None
    size, client, extension = found
    said = dict(extension or {})
    if "destination" in said:
        said["destination"] = (ipaddress.ip_address(said["destination"][0]), said["destination"][1])
    return size, client and (ipaddress.ip_address(client[0]), client[1]), extension and said


def judged(data: bytes, mode: str) -> Any:
    """Return the same by other means."""
    try:
        if mode != "v1" and data[:12] == SIGNATURE[: len(data)]:
            return judged_v2(data)
        if mode != "v2" and data[:6] == b"PROXY "[: len(data)]:
            return judged_v1(data)
    except Refused:
        pass
    return Refused


def judged_v1(data: bytes) -> Any:
    line = data[:LONGEST_LINE]
    if b"\n" not in line:
        if len(line) == LONGEST_LINE:
            raise Refused
        return None
    match = LINE.match(line)
    if match is None:
        raise Refused
    if match[1] is None:
        return match.end(), None, None
    kind = ipaddress.IPv4Address if match[1] == b"4" else ipaddress.IPv6Address
    ports = [int(match[4]), int(match[5])]
    try:
        client, server = (plain(kind(text.decode("ascii"))) for text in (match[2], match[3]))
    except ValueError:
        raise Refused from None
    if max(ports) > 65535 or b"%" in match[0]:
        raise Refused
    return match.end(), (client, ports[0]), {"version": 1, "destination": (server, ports[1])}


def judged_v2(data: bytes) -> Any:
    if len(data) < 16:
        return None
    command, family, length = struct.unpack(">BBH", data[12:16])
    rest = data[16 : 16 + length]
    if command not in (0x20, 0x21) or family >> 4 > 3 or family & 15 > 2 or length > LONGEST_REST:
        raise Refused
    if len(rest) < length:
        return None
    if command == 0x20:
        return 16 + length, None, None
    said: dict[str, Any] = {"version": 2}
    client = None
    if family >> 4 and family & 15:
        sizes = {1: 4, 2: 16, 3: 108}[family >> 4]
        if len(rest) < 2 * sizes + (4 if sizes < 108 else 0):
            raise Refused
        if sizes < 108:
            ends = [plain(ipaddress.ip_address(rest[at : at + sizes])) for at in (0, sizes)]
            ports = struct.unpack(">HH", rest[2 * sizes : 2 * sizes + 4])
            client, said["destination"] = (ends[0], ports[0]), (ends[1], ports[1])
            rest = rest[4:]
        said |= judged_tlvs(rest[2 * sizes :])
    return 16 + length, client, said


def pairs(data: bytes) -> Iterator[tuple[int, bytes]]:
    while data:
        if len(data) < 3 or len(data) < 3 + struct.unpack(">H", data[1:3])[0]:
            raise Refused
        size = struct.unpack(">H", data[1:3])[0]
        yield data[0], data[3 : 3 + size]
        data = data[3 + size :]


def text(value: bytes) -> str:
    return value.decode("utf-8", "replace")


def judged_tlvs(data: bytes) -> dict[str, Any]:
    said: dict[str, Any] = {}
    for kind, value in pairs(data):
        if kind in TEXTS:
            said[TEXTS[kind]] = text(value)
        elif kind == 0x05:
            said["unique_id"] = value
        elif kind == 0xEA and value.startswith(b"\1"):
            said["aws_vpce_id"] = text(value[1:])
        elif kind == 0x20:
            if len(value) < 5:
                raise Refused
            client, verify = struct.unpack(">BI", value[:5])
            names = {SSL_TEXTS[each]: text(said_of) for each, said_of in pairs(value[5:]) if each in SSL_TEXTS}
            verified = bool(client & 4) and verify == 0
            said["ssl"] = {
                "client_ssl": bool(client & 1),
                "client_cert": bool(client & 6),
                "verified": verified,
                **names,
            }
    return said


def check(data: bytes) -> None:
    mode, data = MODES[data[0] % 3 if data else 0], data[1:]
    found = outcome(data, mode)
    assert found == judged(data, mode), f"here: {found}, expected: {judged(data, mode)}"
    # However it is cut, and whatever follows.
    first = next((size for size in range(len(data)) if outcome(data[:size], mode) is not None), len(data))
    if first < len(data):
        assert outcome(data[:first], mode) == found
        assert found is Refused or found[0] == first
    if isinstance(found, tuple):
        assert outcome(data[: found[0]] + b"\xff" * 20, mode) == found


def seeds() -> Iterator[bytes]:
    headers = [
        v1(), v1("2001:db8::1", 80, "TCP6", "2001:db8::ff"), v1("::ffff:1.2.3.4", 0, "TCP6", "::1"),
        b"PROXY UNKNOWN\r\n", b"PROXY UNKNOWN ff:: 1 2 3\r\n", v1(port=65536), v1("1.2.3", 80), v1(family="TCP5"),
        b"PROXY " + bytes(110), v2(), v2("2001:db8::1"), v2("::ffff:1.2.3.4"), v2(tlvs=TLVS), v2(command=0x20),
        raw(b"", family=0), raw(b"any", family=0), raw(bytes(216), family=0x31),
        raw(bytes(216) + tlv(2, b"a"), family=0x31), raw(bytes(11)), raw(bytes(537)), v2(tlvs=b"\1\0"),
        v2(tlvs=tlv(0x20, b"\7\0\0\0\0" + tlv(0x22, b"a") + tlv(0x24, b"b"))), v2(tlvs=tlv(0x20, bytes(4))),
        v2(tlvs=tlv(0xEA, b"\1x") + tlv(0xEA, b"\2x") + tlv(5, b"") + tlv(1, b"\xff")), b"GET / HTTP/1.1\r\n\r\n",
    ]  # fmt: skip
    for number, header in enumerate(headers):
        for rest in (b"", b"GET / HTTP/1.1\r\n", header):
            yield bytes([number % 3]) + header + rest
            yield b"\0" + header + rest


WORDS = (
    SIGNATURE, SIGNATURE + b"\x21\x11\0\x0c", SIGNATURE + b"\x21\x21\0\x24", b"PROXY TCP4 ", b"PROXY TCP6 ",
    b"PROXY UNKNOWN", b"\r\n", b"127.0.0.1", b"::ffff:1.2.3.4", b" 65535", b"\x21\x31\0\xd8", b"\x20\x00\0\0",
    b"\x01\0\x02", b"\x02\0\x01a", b"\x20\0\x05\x05\0\0\0\0", b"\x21\0\x01", b"\xea\0\x02\x01x",
    b"\x30\0\x01", b"\x05\0\x01",
)  # fmt: skip

TARGET = Target("proxy", check, seeds, WORDS, max_size=700)
