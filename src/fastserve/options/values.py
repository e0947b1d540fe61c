"""Kinds of option values: what a text on the command line or in the environment means, what programs may pass."""

from __future__ import annotations

import os
import re
import sys
from typing import Any

HIGHEST = 2**62 - 1  # of limits in the core
LARGEST_INT = 2**31 - 1
REQUEST_PATH = re.compile(r"/[!\"$->@-~]*\Z")  # visible ASCII but for # and ?
HOST_NAME = re.compile(r"(?:(?:\*\.)?[a-z0-9_-]+(?:\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\])\Z")
TOPICS_SCHEMES = ("unix", "redis", "rediss", "redis+unix", "nats", "tls")
LONGEST = 10**9 - 1  # seconds that the core can wait, 31 years


class Kind:
    """A kind of value: its name in --help, whether its options repeat, and which values are valid."""

    metavar = "TEXT"
    repeatable = False
    separator: str | None = None  # between repeated values in the environment, None for whitespace

    def checked(self, value: Any) -> Any:
        """Return the value as the server uses it. Raises TypeError or ValueError if it is not of this kind."""
        return value

    def parsed(self, text: str) -> Any:
        """Return the value of a command line's or environment's text. Raises ValueError."""
        return self.checked(text)

    def split(self, text: str) -> list[str]:
        """Return the values of a repeatable option in the environment."""
        return [each for each in text.split(self.separator) if each]

    def from_file(self, value: Any) -> Any:
        """Return the value of one in a file of options, a list for repeatable kinds. Raises TypeError or ValueError."""
        if self.repeatable:
            if not isinstance(value, list | str):
                raise TypeError(f"{value!r}: expected a list of strings")
            return [self.item_from_file(each) for each in ([value] if isinstance(value, str) else value)]
        return self.item_from_file(value)

    def item_from_file(self, value: Any) -> Any:
        """Return a single value of a configuration file. Raises TypeError or ValueError."""
        if isinstance(value, str):
            return self.parsed(value)
        if self.repeatable:
            raise TypeError(f"{value!r} is not a string")
        return self.checked(value)


class Text(Kind):
    """A string, or a path given as one."""

    def checked(self, value: Any) -> str:
        if isinstance(value, os.PathLike):
            value = os.fspath(value)
        if not isinstance(value, str):
            raise TypeError(f"{value!r} is not a string")
        return value


class Prefix(Text):
    """The beginning of a path, without a slash at its end: what follows begins with one."""

    def checked(self, value: Any) -> str:
        return super().checked(value).rstrip("/")


class OptionalText(Text):
    """A string of which an empty one means None, like a variable that is not set."""

    def checked(self, value: Any) -> Any:
        return super().checked(value) or None


class SocketPath(Text):
    """The path of a UNIX socket; with an empty one the kernel would choose a name that no client knows."""

    def checked(self, value: Any) -> str:
        path = super().checked(value)
        if not path:
            raise ValueError(f"{path!r}: expected a path")
        return path


class RequestPath(OptionalText):
    """The path of a request as it is sent, without a query; an empty one means None."""

    def checked(self, value: Any) -> Any:
        path = super().checked(value)
        if path and not REQUEST_PATH.match(path):
            raise ValueError(f"{path!r}: expected a path, as in /healthz")
        return path


class Integer(Kind):
    """A whole number within bounds, as such, in digits or, as 1e6 is, as a float."""

    metavar = "INTEGER"

    def __init__(self, least: int, most: int = LARGEST_INT) -> None:
        self.least = least
        self.most = most

    def checked(self, value: Any) -> int:
        number = value
        if isinstance(value, str):
            try:
                number = int(value)
            except ValueError:
                number = None
        elif isinstance(value, float) and value.is_integer():
            number = int(value)
        if not isinstance(number, int) or isinstance(number, bool):
            raise TypeError(f"{value!r}: expected a whole number")
        if not self.least <= number <= self.most:
            low = number < self.least and self.most >= LARGEST_INT  # a limit of the machine, which -1 does not exceed
            bounds = f">= {self.least}" if low else f"from {self.least} to {self.most}"
            raise ValueError(f"{number}: expected a whole number {bounds}")
        return number


class Workers(Integer):
    """A number of processes; 0 means 1, as in uvicorn, and "auto" one for each processor that this process may use."""

    def __init__(self) -> None:
        super().__init__(0)

    def checked(self, value: Any) -> int:
        if isinstance(value, str):
            if value.lower() == "auto":
                from fastserve.options.processors import usable

                return usable()
            if not value.strip().lstrip("+-").isdecimal():
                raise ValueError(f"{value!r}: expected a whole number or auto")
        return super().checked(value) or 1


class Limit(Integer):
    """A whole number that something may not exceed; sys.maxsize and the like mean no limit."""

    def __init__(self, least: int) -> None:
        super().__init__(least, sys.maxsize)

    def checked(self, value: Any) -> int:
        return min(super().checked(value), HIGHEST)


class Number(Integer):
    """One of some numbers, each with a name."""

    def __init__(self, names: dict[int, str]) -> None:
        super().__init__(min(names), max(names))
        self.names = names

    def checked(self, value: Any) -> int:
        try:
            number = super().checked(value)
        except (TypeError, ValueError):
            number = -1
        if number not in self.names:
            choices = ", ".join(f"{number} ({name})" for number, name in self.names.items())
            raise ValueError(f"{value!r} is not one of {choices}")
        return number


class Seconds(Kind):
    """A number of seconds, at least 0, or above 0 if `positive`. Any high number may mean "never"."""

    metavar = "SECONDS"

    def __init__(self, positive: bool = False) -> None:
        self.positive = positive

    def checked(self, value: Any) -> int | float:
        number = value
        if isinstance(value, str):
            try:
                number = float(value)
            except ValueError:
                number = None
        if not isinstance(number, int | float) or isinstance(number, bool):
            raise TypeError(f"{value!r}: expected a number of seconds")
        if not 0 <= number < float("inf"):
            raise ValueError(f"{value!r}: expected seconds >= 0")
        if self.positive and not number:
            raise ValueError(f"{value!r}: expected seconds > 0")
        number = min(number, LONGEST)
        return int(number) if number == int(number) else number


class Boolean(Kind):
    """Yes or no, in a word; None, from a program, means no."""

    metavar = "BOOLEAN"
    words = {  # noqa: RUF012
        **dict.fromkeys(("1", "true", "t", "yes", "y", "on"), True),
        **dict.fromkeys(("0", "false", "f", "no", "n", "off"), False),
    }

    def checked(self, value: Any) -> bool:
        if isinstance(value, str):
            known = self.words.get(value.strip().lower())
            if known is None:
                raise ValueError(f"{value!r}: expected true or false")
            return known
        if value is None:
            return False
        if not isinstance(value, int) or value not in (0, 1):
            raise TypeError(f"{value!r}: expected a boolean")
        return bool(value)


class Switch(Boolean):
    """Yes or no; on the command line --name or --no-name."""


class Flag(Switch):
    """Yes or no, no by default; on the command line --name alone."""


class Choice(Kind):
    """One of some names in any case, or, if `other` describes it, an import string."""

    def __init__(self, names: tuple[str, ...], other: str = "") -> None:
        self.names = names
        self.other = other
        self.metavar = "|".join((*names, other) if other else names)

    def checked(self, value: Any) -> str:
        if isinstance(value, str):
            if value.lower() in self.names:
                return value.lower()
            if self.other and ":" in value:
                return value
        choices = ", ".join(self.names) + (f" or {self.other}" if self.other else "")
        raise ValueError(f"{value!r} is not one of {choices}")


class Protocol(Choice):
    """One of some protocols by name, the import string of another, or from a program its class, or None for "none"."""

    def checked(self, value: Any) -> Any:
        if value is None and "none" in self.names:
            return "none"
        return value if isinstance(value, type) else super().checked(value)


class Loop(Choice):
    """An event loop by name, the import string of a factory, or, from a program, the factory itself.

    A program that awaits serve() may also pass the loop that it runs, which has no effect; None means "none".
    """

    def checked(self, value: Any) -> Any:
        if value is None:
            return "none"
        if callable(value) or hasattr(value, "run_until_complete"):
            return value
        return super().checked(value)


class Level(Choice):
    """A log level by name, or, from a program, by number."""

    def checked(self, value: Any) -> Any:
        return value if isinstance(value, int) and not isinstance(value, bool) else super().checked(value)


class File(Kind):
    """A file that exists; from a program also an object in its place."""

    metavar = "PATH"

    def parsed(self, text: str) -> str:
        from pathlib import Path

        if not Path(text).exists():
            raise ValueError(f"path {text!r} does not exist")
        return text

    def item_from_file(self, value: Any) -> str:
        if not isinstance(value, str):
            raise TypeError(f"{value!r}: expected a path")
        return self.parsed(value)


class Directories(Kind):
    """Directories; on the command line they must exist."""

    metavar = "PATH"
    repeatable = True
    separator = os.pathsep

    def checked(self, value: Any) -> list[Any]:
        listed = [value] if isinstance(value, str | os.PathLike) else list(value)
        for each in listed:
            if not isinstance(each, str | os.PathLike):
                raise TypeError(f"{each!r} is not a path")
        return listed

    def parsed(self, text: str) -> str:
        return File().parsed(text)


class Patterns(Kind):
    """Glob patterns."""

    metavar = "PATTERN"
    repeatable = True

    def checked(self, value: Any) -> list[str]:
        listed = [value] if isinstance(value, str) else list(value)
        for each in listed:
            if not isinstance(each, str):
                raise TypeError(f"{each!r} is not a string")
        return listed

    def parsed(self, text: str) -> str:
        return text


class Binds(Patterns):
    """Addresses to listen on."""

    metavar = "ADDRESS"

    def checked(self, value: Any) -> list[str]:
        return [self.parsed(each) for each in super().checked(value)]

    def parsed(self, text: str) -> str:
        from fastserve.net.address import Bind

        Bind.parse(text)
        return text


class Mounts(Patterns):
    """Routes, each with the directory whose files are served below it."""

    metavar = "ROUTE=DIR"

    def checked(self, value: Any) -> list[str]:
        return [self.parsed(each) for each in super().checked(value)]

    def parsed(self, text: str) -> str:
        from fastserve.static.mounts import parts_of

        parts_of(text)
        return text


class Mode(Kind):
    """The permissions of a file, in octal digits, or from a program as a number."""

    metavar = "OCTAL"

    def checked(self, value: Any) -> int:
        number = value
        if isinstance(value, str):
            try:
                number = int(value, 8)
            except ValueError:
                number = None
        if not isinstance(number, int) or isinstance(number, bool):
            raise TypeError(f"{value!r}: expected octal digits, like 660")
        if not 0 <= number <= 0o777:
            raise ValueError(f"{value!r}: expected octal digits from 0 to 777")
        return number

    def item_from_file(self, value: Any) -> int:
        if not isinstance(value, str):  # 660 and 0o660 are different numbers there, and 444 is one of both kinds
            raise TypeError(f'{value!r}: expected octal digits in quotes, like "660"')
        return self.checked(value)


class Size(Kind):
    """A number of bytes, at least 1; as text also with K, M, G or T for powers of 1024."""

    metavar = "BYTES"
    units = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}  # noqa: RUF012

    def checked(self, value: Any) -> int:
        number = value
        if isinstance(value, str):
            text = value.strip().upper().removesuffix("B").removesuffix("I")
            unit = text[-1:] if text[-1:] in self.units else ""
            try:
                number = int(float(text.removesuffix(unit)) * self.units[unit])
            except (ValueError, OverflowError):
                number = None
        if not isinstance(number, int) or isinstance(number, bool):
            raise TypeError(f"{value!r}: expected a number of bytes, like 500000000 or 512M")
        if number < 1:
            raise ValueError(f"{value!r}: expected at least 1 byte")
        return number


class Headers(Kind):
    """Pairs of a response header's name and value; as text one "Name:Value"."""

    metavar = "NAME:VALUE"
    repeatable = True

    def checked(self, value: Any) -> list[tuple[str, str]]:
        pairs = []
        for pair in value:
            if not isinstance(pair, list | tuple) or len(pair) != 2:
                raise TypeError(f"{pair!r} is not a pair of strings")
            pairs.append(self.pair(*pair))
        return pairs

    def parsed(self, text: str) -> tuple[str, str]:
        name, colon, value = text.partition(":")
        if not colon:
            raise ValueError(f"{text!r} is not of the form Name:Value")
        return self.pair(name, value)

    def item_from_file(self, value: Any) -> tuple[str, str]:
        if isinstance(value, list) and len(value) == 2:
            return self.pair(*value)
        if not isinstance(value, str):
            raise TypeError(f"{value!r} is not a string of the form Name:Value")
        return self.parsed(value)

    def pair(self, name: Any, value: Any) -> tuple[str, str]:
        """Return the pair if it can be a header. Raises TypeError or ValueError."""
        from fastserve._core.settings import checked_headers

        if not isinstance(name, str) or not isinstance(value, str):
            raise TypeError(f"{name!r}: {value!r} is not a pair of strings")
        try:
            checked_headers([(name.encode("latin-1"), value.encode("latin-1"))])
        except UnicodeEncodeError:
            raise ValueError(f"header {name!r} has a character outside latin-1") from None
        return name, value


class Hosts(Text):
    """Names or addresses of hosts, from a program also a list of them."""

    def checked(self, value: Any) -> Any:
        if isinstance(value, str):
            return value
        if not isinstance(value, list | tuple | set | frozenset) or not all(isinstance(host, str) for host in value):
            raise TypeError(f"{value!r} is neither a string nor a list of strings")
        return list(value)


class AccessLogFormat(Text):
    """A format of the access log by name, or a text with atoms."""

    metavar = "FORMAT"

    def checked(self, value: Any) -> str:
        text = super().checked(value)
        if text != "default":
            from fastserve.logging.access_format import check

            check(text)
        return text


class Paths(Patterns):
    """Paths of requests, or prefixes of them that end with *, separated by commas."""

    metavar = "PATH"

    def checked(self, value: Any) -> list[str]:
        paths = [path.strip() for text in super().checked(value) for path in text.split(",") if path.strip()]
        for path in paths:
            if not path.startswith(("/", "*")):
                raise ValueError(f"{path!r}: expected a path, which begins with /")
        return paths

    def parsed(self, text: str) -> str:
        self.checked(text)
        return text


class HostNames(Patterns):
    """Names of hosts, or `*.` and a name for all below it, separated by commas."""

    metavar = "HOST"

    def checked(self, value: Any) -> list[str]:
        names = [name.strip().lower() for text in super().checked(value) for name in text.split(",") if name.strip()]
        for name in names:
            if not HOST_NAME.match(name):
                raise ValueError(f"{name!r}: expected a host without a port, as in example.com or *.example.com")
        return names

    def parsed(self, text: str) -> str:
        self.checked(text)
        return text


class TopicsUrl(OptionalText):
    """The URL of what carries topics, or the import string of a class."""

    def checked(self, value: Any) -> Any:
        url = super().checked(value)
        if url:
            scheme, colon, rest = url.partition(":")
            if not colon or (scheme not in TOPICS_SCHEMES and rest.startswith("/")):
                shown = f"{scheme}:..." if colon else url  # what follows may have a password
                raise ValueError(
                    f"{shown!r}: expected unix:DIR, redis://host, rediss://host, redis+unix:///path, nats://host,"
                    " tls://host or module:Class"
                )
        return url


class Share(Kind):
    """A number from 0 to 1."""

    metavar = "SHARE"

    def checked(self, value: Any) -> float:
        number = value
        if isinstance(value, str):
            try:
                number = float(value)
            except ValueError:
                number = None
        if not isinstance(number, int | float) or isinstance(number, bool):
            raise TypeError(f"{value!r}: expected a number from 0 to 1")
        if not 0 <= number <= 1:
            raise ValueError(f"{value!r}: expected a number from 0 to 1")
        return number


class HeaderName(OptionalText):
    """The name of a header."""

    metavar = "NAME"

    def checked(self, value: Any) -> Any:
        name = super().checked(value)
        if name is not None:
            try:
                Headers().pair(name, "")
            except ValueError:
                raise ValueError(f"{name!r}: expected the name of a header, as in X-Request-Id") from None
        return name


class Callback(Kind):
    """A callable, from a program only."""

    def checked(self, value: Any) -> Any:
        if not callable(value):
            raise TypeError(f"{value!r} is not callable")
        return value
