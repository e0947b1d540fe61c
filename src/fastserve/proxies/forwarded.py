"""The Forwarded header (RFC 7239): the whole grammar, and no extension of it."""

from __future__ import annotations

import re

from fastserve._core.grammar import TOKEN
from fastserve.middleware.proxy_headers import IDENTIFIER, Client, checked

MOST = 100  # elements

PAIR = re.compile(rf'({TOKEN})=(?:({TOKEN})|"((?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*)")')
ESCAPED = re.compile(r"\\(.)", re.DOTALL)
COMMA = re.compile(r"[ \t]*(?:,[ \t]*)+")
NODE = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\[\]:]+))(?::(?:([0-9]{1,5})|_[A-Za-z0-9._-]+))?")
IPV4 = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}")
SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")

Element = dict[str, str]  # values by parameter, whose names are in lower case


class Malformed(ValueError):
    """A value that does not match the grammar."""


def elements(text: str) -> list[Element]:
    """Return the elements of all Forwarded headers of a request, joined by commas. Raises Malformed."""
    found: list[Element] = []
    at, end = 0, len(text)
    comma = COMMA.match(text)  # empty elements of a list do not count (RFC 9110 section 5.6.1)
    if comma is not None:
        at = comma.end()
    while at < end:
        if len(found) == MOST:
            raise Malformed(f"more than {MOST} elements")
        element, at = pairs(text, at)
        found.append(element)
        comma = COMMA.match(text, at)
        if comma is None and at < end:
            raise Malformed(f"unexpected {text[at]!r} at {at}")
        at = end if comma is None else comma.end()
    return found


def pairs(text: str, at: int) -> tuple[Element, int]:
    """Return the element that begins at an index, and the index of its end. Raises Malformed."""
    element: Element = {}
    while True:
        pair = PAIR.match(text, at)
        if pair is not None:
            at = pair.end()
            name = pair[1].lower()
            if name in element:
                raise Malformed(f"{name} occurs twice in an element")
            element[name] = value = pair[2] if pair[3] is None else ESCAPED.sub(r"\1", pair[3])
            if name in ("for", "by"):
                node(value)
            elif name == "proto" and not SCHEME.fullmatch(value):
                raise Malformed(f"{value!r} is not a scheme")
        if text[at : at + 1] != ";":
            return element, at
        at += 1


def node(text: str) -> Client:
    """Return host and port of a node, 0 for a port that is missing or obfuscated. Raises Malformed."""
    match = NODE.fullmatch(text)
    if match is None:
        raise Malformed(f"{text!r} is not a node")
    host = match[1] or match[2]
    known = ":" in host if match[1] else bool(IDENTIFIER.fullmatch(host) or IPV4.fullmatch(host))
    client = checked((host, int(match[3] or 0)))
    if not known or not client[0]:
        raise Malformed(f"{text!r} is not a node")
    return client
