"""What an application gives to start_response(), checked and in the terms of ASGI."""

from __future__ import annotations

import re
from wsgiref.util import is_hop_by_hop

KNOWN_NAMES = 1000  # header names that are kept with their checked form

TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+").fullmatch
FORBIDDEN = re.compile(r"[\0\r\n]").search  # in a value (RFC 9110 section 5.5)

names: dict[str, bytes] = {}


def status_of(status: str) -> int:
    """Return the code of a status such as "200 OK". Raises TypeError, ValueError."""
    if not isinstance(status, str):
        raise TypeError(f"the status of a response has to be a str, not {type(status).__name__}")
    code, _, _ = status.partition(" ")
    if len(code) != 3 or not code.isdecimal() or not code.isascii() or code < "200":
        raise ValueError(f"{status!r} is not the status of a response, such as '200 OK'")
    return int(code)


def checked_name(name: str) -> bytes:
    """Return the name of a header as it is sent. Raises TypeError, ValueError."""
    if not isinstance(name, str):
        raise TypeError(f"the name of a response header has to be a str, not {type(name).__name__}")
    if not TOKEN(name):
        raise ValueError(f"{name!r} is not the name of a header")
    if is_hop_by_hop(name):
        raise ValueError(f"the header {name!r} is the server's to send, not an application's (PEP 3333)")
    encoded = name.lower().encode()
    if len(names) < KNOWN_NAMES:
        names[name] = encoded
    return encoded


def checked_headers(headers: list[tuple[str, str]]) -> tuple[list[tuple[bytes, bytes]], int]:
    """Return headers in the terms of ASGI, and Content-Length, -1 where there is none. Raises TypeError, ValueError."""
    if not isinstance(headers, list):
        raise TypeError(f"the headers of a response have to be a list, not {type(headers).__name__}")
    checked = []
    length = -1
    for name, value in headers:
        encoded = names.get(name) or checked_name(name)
        if not isinstance(value, str):
            raise TypeError(f"the value of the header {name!r} has to be a str, not {type(value).__name__}")
        if FORBIDDEN(value):
            raise ValueError(f"the value of the header {name!r} has a control character: {value!r}")
        checked.append((encoded, value.encode("latin-1")))
        if encoded == b"content-length":
            if not value.isdecimal() or not value.isascii():
                raise ValueError(f"{value!r} is not a Content-Length")
            length = int(value)
    return checked, length
