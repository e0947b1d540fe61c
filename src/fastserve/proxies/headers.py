"""What the headers of a trusted proxy say about a request: client, scheme, host and prefix."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote

from fastserve.middleware.proxy_headers import (
    ADDRESS,
    SCHEMES,
    Client,
    TrustedHosts,
    checked,
    host_and_port,
    split,
)
from fastserve.proxies import forwarded

if TYPE_CHECKING:
    from fastserve.options.table import Options

LONGEST_PREFIX = 256
PREFIX = re.compile(r"(?:/[A-Za-z0-9._~!$&'()*+,;=:@%-]+)+")
PORT = re.compile(rb"[0-9]{1,5}")

Values = tuple[bytes | None, ...]


class Said(NamedTuple):
    """What a proxy says; None for what it does not say."""

    client: Client | None = None
    scheme: str | None = None
    host: bytes | None = None  # not checked yet
    port: bytes | None = None  # for a `host` without one
    prefix: str | None = None  # percent-encoded


class Headers:
    """Reads the headers that the options name, and no others.

    `fields` are their names in lower case, each with whether several such headers form one list; else the last counts.
    """

    def __init__(self, options: Options, hosts: TrustedHosts) -> None:
        self.hosts = hosts
        self.hops = options.forwarded_hops
        self.own = options.client_ip_header is not None
        self.family = options.proxy_headers_family
        fields = [(options.client_ip_header.lower().encode(), True)] if options.client_ip_header else []
        if self.family == "forwarded":
            fields.append((b"forwarded", True))
        else:
            if not self.own:
                fields.append((b"x-forwarded-for", True))
            fields.append((b"x-forwarded-proto", False))
        self.wants_host, self.wants_prefix = options.forwarded_host, options.forwarded_prefix
        if self.family != "forwarded" and self.wants_host:
            fields += [(b"x-forwarded-host", False), (b"x-forwarded-port", False)]
        if self.wants_prefix:
            fields.append((b"x-forwarded-prefix", False))
        self.fields = tuple(fields)

    def said(self, values: Values) -> Said:
        """Return what the values of `fields` say, each None where there is no such header."""
        rest = iter(values)
        client = one_address(next(rest)) if self.own else None
        if self.family == "forwarded":
            found = self.by_forwarded(next(rest))
            return found._replace(client=client) if self.own else found
        if not self.own:
            client = self.by_list(next(rest))
        scheme = scheme_of(next(rest))
        host, port = (next(rest), next(rest)) if self.wants_host else (None, None)
        prefix = next(rest) if self.wants_prefix else None
        return Said(client, scheme, last(host), checked_port(port), checked_prefix(prefix))

    def by_list(self, value: bytes | None) -> Client | None:
        """Return the client in X-Forwarded-For."""
        if value is None:
            return None
        text = value.decode("latin-1")
        if self.hops is None:
            client = self.hosts.client(text)
        else:
            nodes = split(text)
            client = checked(host_and_port(nodes[-self.hops])) if len(nodes) >= self.hops else ("", 0)
        return client if client[0] else None

    def by_forwarded(self, value: bytes | None) -> Said:
        """Return what the client's element says: the client's address, and how it reached the first proxy."""
        if value is None:
            return Said()
        try:
            element = self.element(forwarded.elements(value.decode("latin-1")))
            client = forwarded.node(element["for"]) if "for" in element else None
        except forwarded.Malformed:
            return Said()
        scheme = element.get("proto", "").lower()
        host = element.get("host") if self.wants_host else None
        return Said(client, scheme if scheme in SCHEMES else None, host.encode("latin-1") if host else None)

    def element(self, found: list[forwarded.Element]) -> forwarded.Element:
        """Return the element of the client, an empty one if there is none."""
        if self.hops is not None:
            return found[-self.hops] if len(found) >= self.hops else {}
        if not self.hosts.all:
            for element in reversed(found):
                if "for" not in element or not self.hosts.trusts(forwarded.node(element["for"])[0]):
                    return element
        return found[0] if found else {}


def scheme_of(value: bytes | None) -> str | None:
    scheme = "" if value is None else value.decode("latin-1").strip()
    return scheme if scheme in SCHEMES else None


def last(value: bytes | None) -> bytes | None:
    """Return the last host of a list: proxies that do not replace the header append to it."""
    return None if value is None else value.rpartition(b",")[2].strip()


def checked_port(value: bytes | None) -> bytes | None:
    port = last(value)
    return port if port and PORT.fullmatch(port) and 0 < int(port) <= 65535 else None


def one_address(value: bytes | None) -> Client | None:
    """Return the client of a header that contains one IP address."""
    if value is None:
        return None
    import ipaddress

    text = value.decode("latin-1").strip()
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return None
    return (text, 0) if ADDRESS.fullmatch(text) else None


def checked_prefix(value: bytes | None) -> str | None:
    """Return a prefix without its final slash, None unless it is a path of plain segments."""
    text = "" if value is None else value.decode("latin-1").strip().removesuffix("/")
    if len(text) > LONGEST_PREFIX or not PREFIX.fullmatch(text):
        return None
    segments = unquote(text).split("/")[1:]
    if any(not each.isprintable() or each in ("", ".", "..") for each in segments):
        return None
    return text
