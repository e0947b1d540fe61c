"""Kinds of values that only options of TLS have."""

from __future__ import annotations

import os
import re
from typing import Any

from fastserve.options.values import Integer, Kind

MOST_PORT = 65535
STRICT_TRANSPORT = re.compile(r"max-age=(\d{1,10})(; includeSubDomains(; preload)?)?", re.IGNORECASE)
EXPECTED = "expected seconds, or a value such as 'max-age=31536000; includeSubDomains'"
LEAST_TO_PRELOAD = 31536000  # seconds that the preload lists of browsers require


class PemFiles(Kind):
    """The path of a file, or a list of several; an empty one means None, like a variable that is not set."""

    repeatable = True
    separator = os.pathsep

    def checked(self, value: Any) -> Any:
        listed = list(value) if isinstance(value, list | tuple) else [value]
        for each in listed:
            if not isinstance(each, str | os.PathLike):
                raise TypeError(f"{each!r} is not a string")
        paths = [os.fspath(each) for each in listed]
        if len(paths) > 1 and not all(paths):
            raise ValueError("one of several paths is empty")
        return (paths if len(paths) > 1 else paths[0] or None) if paths else None

    def parsed(self, text: str) -> str:
        return text

    def split(self, text: str) -> list[str]:
        # The name of a single file, which may not exist, may contain the separator.
        parts = [] if os.path.exists(text) else super().split(text)  # noqa: PTH110
        return parts if parts and os.path.exists(parts[0]) else [text]  # noqa: PTH110


class Redirecting(Kind):
    """The port to redirect from, or an address as in --bind."""

    metavar = "PORT"

    def checked(self, value: Any) -> int | str:
        if not isinstance(value, str) or value.isdecimal():
            return Integer(0, MOST_PORT).checked(value)
        from fastserve.net.address import Bind

        if Bind.parse(value).tls is not None:
            raise ValueError(f"{value!r}: expected a port or an address without http://")
        return value


class StrictTransport(Kind):
    """A value of Strict-Transport-Security (RFC 6797 section 6.1), or the seconds of its max-age alone."""

    metavar = "SECONDS"

    def checked(self, value: Any) -> str:
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        if not isinstance(value, str):
            raise TypeError(f"{value!r}: {EXPECTED}")
        text = f"max-age={value}" if value.isdecimal() else value
        found = STRICT_TRANSPORT.fullmatch(text)
        if found is None:
            raise ValueError(f"{value!r}: {EXPECTED}")
        if found[3] and int(found[1]) < LEAST_TO_PRELOAD:
            raise ValueError(f"{value!r}: preload needs a max-age of at least {LEAST_TO_PRELOAD}")
        return text
