"""The Forwarded header (RFC 7239) as the core finds it, and what it says: another reading of the grammar as the judge.

Input: one byte for whom is trusted, then the values of the request's Forwarded fields, a line each.
"""

from __future__ import annotations

import functools
import ipaddress
import re
import string
from collections.abc import Iterator
from typing import Any

from fuzz.target import Target

from fastserve import Config
from fastserve._core.http.proxies import Proxies

PEER = ("10.0.0.1", 5000)
TRUSTED = ipaddress.ip_network("10.0.0.0/8")
OWN_HOST = b"own.example"
FORGED = b"for=6.6.6.6;proto=https;host=evil.example, "
OPTIONS: tuple[dict[str, Any], ...] = (
    {"forwarded_allow_ips": "10.0.0.0/8", "forwarded_host": True},
    {"forwarded_allow_ips": "*"},
    {"forwarded_allow_ips": "10.0.0.0/8", "forwarded_hops": 2, "forwarded_host": True},
    {"forwarded_allow_ips": "10.0.0.0/8,unix:", "forwarded_hops": 1},
)
MOST = 100
TCHAR = frozenset("!#$%&'*+-.^_`|~" + string.digits + string.ascii_letters)
OBFUSCATED = frozenset("._-" + string.digits + string.ascii_letters)
SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")
SCHEMES = ("http", "https", "ws", "wss")

Element = dict[str, str]


class Malformed(Exception):
    """The header is to be ignored."""


class Reader:
    """Reads elements octet by octet."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def peek(self) -> str:
        return self.text[self.at : self.at + 1]

    def take(self, characters: Any) -> str:
        start = self.at
        while self.peek() and self.peek() in characters:
            self.at += 1
        return self.text[start : self.at]

    def elements(self) -> list[Element]:
        found: list[Element] = []
        more = self.separator()
        while self.at < len(self.text):
            if (found and not more) or len(found) == MOST:
                raise Malformed
            start = self.at
            found.append(self.element())
            if self.at == start:
                raise Malformed
            more = self.separator()
        return found

    def separator(self) -> bool:
        """Take commas and the blanks around them; blanks alone separate nothing."""
        start = self.at
        if "," in self.take(" \t,"):
            return True
        self.at = start
        return False

    def element(self) -> Element:
        found: Element = {}
        while True:
            if self.peek() in TCHAR and self.peek():
                name, value = self.pair()
                if name in found:
                    raise Malformed
                found[name] = value
            if self.peek() != ";":
                return found
            self.at += 1

    def pair(self) -> tuple[str, str]:
        name = self.take(TCHAR).lower()
        if self.peek() != "=":
            raise Malformed
        self.at += 1
        value = self.quoted() if self.peek() == '"' else self.take(TCHAR)
        if not value and self.text[self.at - 1] != '"':
            raise Malformed
        if name in ("for", "by"):
            node(value)
        if name == "proto" and not SCHEME.fullmatch(value):
            raise Malformed
        return name, value

    def quoted(self) -> str:
        value = ""
        self.at += 1
        while True:
            character = self.peek()
            self.at += 1
            if character == '"':
                return value
            if character == "\\":
                character = self.peek()
                self.at += 1
            if not character or (character < " " and character != "\t") or character == "\x7f" or character > "\xff":
                raise Malformed
            value += character


def node(text: str) -> tuple[Any, int]:
    """Return the address, or the identifier in its own case, and the port."""
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise Malformed
        known: Any = address(host, 6)
        colon, port = rest[:1], rest[1:]
    else:
        host, colon, port = text.partition(":")
        known = host if is_identifier(host) else address(host, 4)
    if not colon:
        return known, 0
    if port[:1] == "_" and len(port) > 1 and set(port[1:]) <= OBFUSCATED:
        return known, 0
    if not 1 <= len(port) <= 5 or not set(port) <= set(string.digits):
        raise Malformed
    return known, int(port) if int(port) <= 65535 else 0


def is_identifier(host: str) -> bool:
    if len(host) > 253:
        return False
    return host.lower() == "unknown" or (host[:1] == "_" and len(host) > 1 and set(host[1:]) <= OBFUSCATED)


def address(host: str, version: int) -> Any:
    try:
        found = ipaddress.ip_address(host)
    except ValueError:
        raise Malformed from None
    if found.version != version or not set(host) <= set(string.hexdigits + ".:"):
        raise Malformed
    return found


def is_trusted(element: Element) -> bool:
    if "for" not in element:
        return False
    known = node(element["for"])[0]
    known = getattr(known, "ipv4_mapped", None) or known
    return not isinstance(known, str) and known in TRUSTED


def chosen(found: list[Element], options: dict[str, Any]) -> Element:
    hops = options.get("forwarded_hops")
    if hops is not None:
        return found[-hops] if len(found) >= hops else {}
    if options["forwarded_allow_ips"] != "*":
        for element in reversed(found):
            if not is_trusted(element):
                return element
    return found[0] if found else {}


@functools.cache
def proxies(choice: int) -> Proxies:
    config = Config("app", log_config=None, proxy_headers_family="forwarded", **OPTIONS[choice])
    made = config.trusted_proxies()
    assert made is not None
    return made


def seen(choice: int, kind: str, values: list[bytes]) -> tuple[Any, str, bytes]:
    """Return client, scheme and host of a scope after what the core has made of these fields."""
    scope: dict[str, Any] = {
        "type": kind, "scheme": "http" if kind == "http" else "ws", "client": PEER, "root_path": "", "path": "/",
        "raw_path": b"/", "headers": [(b"host", OWN_HOST), *((b"forwarded", value) for value in values)],
    }  # fmt: skip
    proxies(choice).forward_scope(scope)
    (host,) = [value for name, value in scope["headers"] if name == b"host"]
    return scope["client"], scope["scheme"], host


def judged(choice: int, values: list[bytes]) -> tuple[Any, str, bytes | None]:
    """Return client, scheme and host by the judge; it leaves open whether the host is valid."""
    options = OPTIONS[choice]
    try:
        element = chosen(Reader(b", ".join(values).decode("latin-1")).elements(), options)
    except Malformed:
        element = {}
    client: Any = node(element["for"]) if "for" in element else PEER
    scheme = element.get("proto", "").lower()
    host = element.get("host", "").encode("latin-1") if options.get("forwarded_host") else b""
    return client, scheme if scheme in SCHEMES else "http", host or None


def check(data: bytes) -> None:
    choice, values = (data[0] if data else 0) % len(OPTIONS), data[1:].split(b"\n")
    client, scheme, host = judged(choice, values)
    for kind in ("http", "websocket", "http"):  # the second time, what was said is remembered
        found = seen(choice, kind, values)
        assert comparable(found[0]) == comparable(client), f"{found[0]} is not {client}"
        assert found[1] == (scheme if kind == "http" else scheme.replace("http", "ws"))
        assert found[2] in (OWN_HOST, host)
        assert not set(found[2]) & set(b' \t"/\\,?#@<>\x7f') and max(found[2]) < 0x80 and min(found[2]) > 0x20
    if is_settled(choice, values):
        # What the client has sent before it does not count.
        assert seen(choice, "http", [FORGED + values[0], *values[1:]])[0] in (found[0], PEER)
        assert seen(choice, "http", [FORGED[:-2], *values])[0] in (found[0], PEER)


def is_settled(choice: int, values: list[bytes]) -> bool:
    """Return whether the client is chosen by what proxies have said, not because there is nothing before it."""
    options = OPTIONS[choice]
    try:
        found = Reader(b", ".join(values).decode("latin-1")).elements()
    except Malformed:
        return False
    if "forwarded_hops" in options:
        return len(found) >= int(options["forwarded_hops"])
    return options["forwarded_allow_ips"] != "*" and not all(map(is_trusted, found))


def comparable(client: Any) -> Any:
    host, port = client
    if isinstance(host, str):
        try:
            host = ipaddress.ip_address(host)
        except ValueError:
            host = host.lower()
    return host, port


def seeds() -> Iterator[bytes]:
    values = [
        b"for=192.0.2.1", b"For=192.0.2.1;PROTO=HTTPS;Host=a.example", b'for="192.0.2.1:4711"', b"for=10.0.0.2",
        b'for="[2001:db8::17]:4711";proto=https', b'for="192.0.2.\\1"', b"for=unknown", b"for=_a.b-c", b'for="_a:_b"',
        b"for=6.6.6.6, for=192.0.2.1;by=10.0.0.3, for=10.0.0.2", b"for=6.6.6.6;proto=https\nfor=192.0.2.1", b",, ,",
        b";for=192.0.2.1;;", b'for=192.0.2.1;secret="a, b;\\"c\\"";x=y', b"proto=https", b"for=2001:db8::1", b"for=",
        b"for=192.0.2.1; proto=https", b"for=a;for=b", b'for=192.0.2.1;host="a.example:80"',
        b'host="a b";for=192.0.2.1',
        b'for="192.0.2.1:99999"', b"for=1.2.3.4," * 101, b"for=192.0.2.1;proto=gopher", b'for="[::ffff:10.0.0.1]"',
        b'for=""', b'for="', b"for=192.0.2.1 , for=10.0.0.9 ",
    ]  # fmt: skip
    for value in values:
        for choice in range(len(OPTIONS)):
            yield bytes([choice]) + value


WORDS = (
    b"for=", b"by=", b"proto=https", b"proto=http", b"host=", b'="', b'"', b";", b",", b", ", b"\n", b"\\", b"[", b"]",
    b"for=192.0.2.1", b"for=10.0.0.2", b'for="[2001:db8::1]:80"', b"unknown", b"_x", b"host=a.example", b"\t", b"\x80",
    b":", b"\x7f",
)  # fmt: skip

TARGET = Target("forwarded", check, seeds, WORDS, max_size=1200)
