"""PROXY headers as proxies send them."""

from __future__ import annotations

import socket
import struct

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
INET, INET6, UNIX = 1, 2, 3


def v1(client: str = "192.0.2.1", port: int = 4711, family: str = "TCP4", server: str = "198.51.100.1") -> bytes:
    return f"PROXY {family} {client} {server} {port} 443\r\n".encode()


def tlv(kind: int, value: bytes) -> bytes:
    return struct.pack(">BH", kind, len(value)) + value


def raw(payload: bytes, command: int = 0x21, family: int = 0x11) -> bytes:
    return SIGNATURE + struct.pack(">BBH", command, family, len(payload)) + payload


def v2(client: str = "192.0.2.1", port: int = 4711, tlvs: bytes = b"", command: int = 0x21) -> bytes:
    kind, server = (socket.AF_INET6, "2001:db8::ff") if ":" in client else (socket.AF_INET, "198.51.100.1")
    ends = socket.inet_pton(kind, client) + socket.inet_pton(kind, server) + struct.pack(">HH", port, 443)
    return raw(ends + tlvs, command, 0x21 if ":" in client else 0x11)


SSL = tlv(0x20, b"\x05\0\0\0\0" + tlv(0x21, b"TLSv1.3") + tlv(0x22, b"client") + tlv(0x23, b"AES") + tlv(0x99, b"?"))
TLVS = tlv(1, b"h2") + tlv(2, b"shop.example") + tlv(4, b"\0\0") + tlv(5, b"id") + SSL + tlv(0x30, b"blue")
TLVS += tlv(0xEA, b"\x01vpce-08d2bf15fac5001c9") + tlv(0xE0, b"of nobody")
MEANT = {
    "version": 2,
    "destination": ("198.51.100.1", 443),
    "alpn": "h2",
    "authority": "shop.example",
    "unique_id": b"id",
    "ssl": {"client_ssl": True, "client_cert": True, "verified": True, "version": "TLSv1.3", "cn": "client",
            "cipher": "AES"},
    "netns": "blue",
    "aws_vpce_id": "vpce-08d2bf15fac5001c9",
}  # fmt: skip
