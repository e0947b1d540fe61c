"""The corpus of raw requests: reads corpus/*.txt.

A case in such a file:

    == name of the case
    | POST /a HTTP/1.1          a line of the request; CRLF is added, except where the line ends in a backslash
    |3* X: y                    three such lines
    app POST /a "body"          one line for each call of the application: method, target, body ("" can be left out);
                                "..." at the end says that the rest of the request never came
    field x: y                  a field that the application's last call has, in the order of these lines
    -> 100 200 keep             status of each response, then what the server does afterwards:
                                keep: it is ready for another request; close: it closes; wait: it wants more of this one

In request lines and bodies \\xNN, \\r, \\n, \\t and \\\\ stand for bytes, and \\{ab*300} for 300 times ab. Empty lines
and lines that begin with # are left out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

FOLDER = Path(__file__).parent / "corpus"
ESCAPE = re.compile(rb"\\(?:x([0-9a-f]{2})|([rnt\\])|\{([^*]+)\*(\d+)\})")
PLAIN = {b"r": b"\r", b"n": b"\n", b"t": b"\t", b"\\": b"\\"}
REQUEST = re.compile(rb"\|(?:(\d+)\*)?(?: (.*))?")
CALL = re.compile(rb'app (\S+) (\S+)(?: "(.*)")?( \.\.\.)?')


@dataclass(frozen=True)
class Expected:
    """A call of the application."""

    method: str
    target: str
    body: bytes
    complete: bool


@dataclass
class Case:
    topic: str
    name: str
    data: bytes = b""
    calls: list[Expected] = field(default_factory=list)
    fields: list[tuple[bytes, bytes]] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    end: str = ""

    @property
    def id(self) -> str:
        return f"{self.topic}: {self.name}"


def unescape(text: bytes) -> bytes:
    def replace(match: re.Match[bytes]) -> bytes:
        if match[1]:
            return bytes([int(match[1], 16)])
        if match[2]:
            return PLAIN[match[2]]
        return unescape(match[3]) * int(match[4])

    return ESCAPE.sub(replace, text)


def request_line(match: re.Match[bytes]) -> bytes:
    text = match[2] or b""
    ended = text.endswith(b"\\") and not text.endswith(b"\\\\")
    return (unescape(text[:-1]) if ended else unescape(text) + b"\r\n") * int(match[1] or 1)


def add_line(case: Case, line: bytes) -> None:
    if match := REQUEST.fullmatch(line):
        case.data += request_line(match)
    elif match := CALL.fullmatch(line):
        target = unescape(match[2]).decode("utf-8")
        case.calls.append(Expected(match[1].decode(), target, unescape(match[3] or b""), not match[4]))
    elif line.startswith(b"field "):
        name, _, value = line[6:].partition(b":")
        case.fields.append((name, unescape(value.strip())))
    elif line.startswith(b"-> "):
        *statuses, case.end = line[3:].decode().split()
        case.statuses = [int(status) for status in statuses]
    else:
        raise ValueError(f"{case.id}: not a line of a case: {line!r}")


def read(path: Path) -> list[Case]:
    cases: list[Case] = []
    for line in path.read_bytes().replace(b"\r\n", b"\n").split(b"\n"):
        if line.startswith(b"== "):
            cases.append(Case(path.stem, line[3:].decode()))
        elif line and not line.startswith(b"#"):
            add_line(cases[-1], line)
    for case in cases:
        if not case.data or case.end not in ("keep", "close", "wait"):
            raise ValueError(f"{case.id}: no request or no outcome")
    return cases


def load() -> list[Case]:
    """Return every case of the corpus."""
    return [case for path in sorted(FOLDER.glob("*.txt")) for case in read(path)]
