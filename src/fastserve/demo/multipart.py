"""A streaming reader of multipart/form-data (RFC 7578; RFC 2046, section 5.1) that holds at most a part's head."""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_PART_HEAD = 8192
MAX_PARTS = 64
MAX_PADDING = 128

_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?]")
_PARAMETER = re.compile(r""";\s*([!#$%&'*+.^_`|~0-9A-Za-z-]+)\s*=\s*(?:"((?:\\"|[^"])*)"|([^\s;"]*))""")


class MultipartError(ValueError):
    """The body is not well-formed multipart; the text says why."""


@dataclass(frozen=True)
class Part:
    """The head of one part: the form field's name, and the file's name and type if it is a file."""

    name: str
    filename: str | None
    content_type: str


def parameters(value: str) -> dict[str, str]:
    """Return the parameters of a header value such as Content-Type or Content-Disposition, by lower-case name."""
    found: dict[str, str] = {}
    for name, quoted, token in _PARAMETER.findall(value):
        found.setdefault(name.lower(), quoted.replace('\\"', '"') or token)
    return found


def boundary_of(content_type: str) -> bytes | None:
    """Return the boundary of a multipart/form-data type, None for other types. Raises MultipartError if invalid."""
    if content_type.partition(";")[0].strip().lower() != "multipart/form-data":
        return None
    boundary = parameters(content_type).get("boundary", "")
    if not _BOUNDARY.fullmatch(boundary):
        raise MultipartError("the content type has no valid boundary")
    return boundary.encode("ascii")


class MultipartReader:
    """Parses a body given to feed() in pieces of any size; feed() returns Parts, and the bytes of content after each.

    Call close() at the end of the body. Both raise MultipartError. What precedes the first boundary or follows the last
    one is dropped, as RFC 2046 requires.
    """

    def __init__(self, boundary: bytes) -> None:
        self._delimiter = b"\r\n--" + boundary
        # The first boundary has no line break before it when the body starts with it.
        self._buffer = bytearray(b"\r\n")
        self._step = self._preamble
        self._parts = 0
        self._finished = False

    def feed(self, data: bytes) -> list[Part | bytes]:
        """Return what `data` completes: a Part at each head, then its content, which may take many calls."""
        self._buffer += data
        events: list[Part | bytes] = []
        while self._step(events):
            pass
        return events

    def close(self) -> None:
        """Raise MultipartError if the closing boundary has not been seen."""
        if not self._finished:
            raise MultipartError("the body ends before its closing boundary")

    # Each step consumes what it can and returns whether the next step has something to do.

    def _preamble(self, events: list[Part | bytes]) -> bool:
        _, found = self._take_content()
        if found:
            self._step = self._delimiter_end
        return found

    def _delimiter_end(self, events: list[Part | bytes]) -> bool:
        if len(self._buffer) < 2:
            return False
        if self._buffer.startswith(b"--"):
            self._finished = True
            self._step = self._epilogue
            return True
        end = self._buffer.find(b"\r\n", 0, MAX_PADDING + 2)
        if end < 0 and len(self._buffer) < MAX_PADDING + 2:
            return False
        if end < 0 or self._buffer[:end].strip(b" \t"):
            raise MultipartError("a boundary does not end its line")
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise MultipartError(f"the form has more than {MAX_PARTS} parts")
        # The line break stays, so that a head without fields is found like any other.
        del self._buffer[:end]
        self._step = self._head
        return True

    def _head(self, events: list[Part | bytes]) -> bool:
        end = self._buffer.find(b"\r\n\r\n", 0, MAX_PART_HEAD + 4)
        if end < 0:
            if len(self._buffer) >= MAX_PART_HEAD + 4:
                raise MultipartError(f"the head of a part is longer than {MAX_PART_HEAD} bytes")
            return False
        events.append(_part(bytes(self._buffer[2:end])))
        del self._buffer[: end + 4]
        self._step = self._content
        return True

    def _content(self, events: list[Part | bytes]) -> bool:
        content, found = self._take_content()
        if content:
            events.append(content)
        if found:
            self._step = self._delimiter_end
        return found

    def _epilogue(self, events: list[Part | bytes]) -> bool:
        self._buffer.clear()
        return False

    def _take_content(self) -> tuple[bytes, bool]:
        """Remove what certainly precedes the next delimiter, and the delimiter if it is complete (then return True)."""
        end = self._buffer.find(self._delimiter)
        found = end >= 0
        if not found:
            # The last bytes may be the beginning of a delimiter.
            end = max(0, len(self._buffer) - len(self._delimiter) + 1)
        with memoryview(self._buffer) as view:
            content = bytes(view[:end])
        del self._buffer[: end + len(self._delimiter) if found else end]
        return content, found


def _part(head: bytes) -> Part:
    fields: dict[str, str] = {}
    for line in head.decode("utf-8", "replace").split("\r\n"):
        name, colon, value = line.partition(":")
        if line and not colon:
            raise MultipartError("a part has a header line without a colon")
        fields.setdefault(name.strip().lower(), value.strip())
    disposition = fields.get("content-disposition", "")
    if disposition.partition(";")[0].strip().lower() != "form-data":
        raise MultipartError("a part has no content-disposition of form-data")
    found = parameters(disposition)
    filename = found.get("filename")
    return Part(
        name=_form_unquote(found.get("name", "")),
        filename=None if filename is None else _form_unquote(filename),
        content_type=fields.get("content-type", ""),
    )


def _form_unquote(text: str) -> str:
    """Undo the three escapes that browsers use in names (WHATWG HTML, "multipart/form-data encoding algorithm")."""
    return text.replace("%22", '"').replace("%0D", "\r").replace("%0A", "\n")
