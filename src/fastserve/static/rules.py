"""What the headers of a request mean for a file (RFC 9110 sections 8.8, 12.5.3, 13 and 14), without any I/O."""

from __future__ import annotations

import calendar
import re
import time
from collections.abc import Sequence
from typing import NamedTuple

Fields = Sequence[tuple[bytes, bytes]]

CODINGS = ((b"br", b".br"), (b"zstd", b".zst"), (b"gzip", b".gz"))  # the server's preference first
ENTITY_TAG = re.compile(rb'[ \t,]*((?:W/)?"[\x21\x23-\x7e\x80-\xff]*")[ \t]*(?=,|\Z)')
RANGE = re.compile(rb"bytes=[ \t]*(?:(\d{1,18})-(\d{0,18})|-(\d{1,18}))[ \t]*\Z", re.IGNORECASE)
WEIGHT = re.compile(rb"q=(0(?:\.\d{0,3})?|1(?:\.0{0,3})?)\Z", re.IGNORECASE)
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
CLOCK = r"(?P<hour>\d\d):(?P<minute>\d\d):(?P<second>\d\d)"
MONTH = rf"(?P<month>{'|'.join(MONTHS)})"
DATES = (
    re.compile(rf"[A-Z][a-z]{{2}}, (?P<day>\d\d) {MONTH} (?P<year>\d{{4}}) {CLOCK} GMT"),
    re.compile(rf"[A-Z][a-z]+day, (?P<day>\d\d)-{MONTH}-(?P<year>\d\d) {CLOCK} GMT"),
    re.compile(rf"[A-Z][a-z]{{2}} {MONTH} (?P<day>[ \d]\d) {CLOCK} (?P<year>\d{{4}})"),
)


class Part(NamedTuple):
    """The status of the response and, for 200 and 206, the part of the file that it contains."""

    status: int
    offset: int = 0
    size: int = 0


def joined(fields: Fields, name: bytes) -> bytes | None:
    """Return the value of a list-based field, None if the request does not have it."""
    values = [value for each, value in fields if each == name]
    return b", ".join(values) if values else None


def single(fields: Fields, name: bytes) -> bytes | None:
    """Return the value of a singleton field, None if the request has it not at all or more than once."""
    values = [value for each, value in fields if each == name]
    return values[0] if len(values) == 1 else None


def read_date(value: bytes | None) -> int | None:
    """Parse a date in any of HTTP's three formats; return None for anything else."""
    if value is None:
        return None
    text = value.decode("latin-1")
    for form in DATES:
        found = form.fullmatch(text)
        if found is None:
            continue
        year, month = int(found["year"]), MONTHS.index(found["month"]) + 1
        if year < 100:
            now = time.gmtime().tm_year
            year += now - now % 100
            year -= 100 if year > now + 50 else 0
        day, hour, minute, second = (int(found[part]) for part in ("day", "hour", "minute", "second"))
        if not (1 <= day <= 31 and hour < 24 and minute < 60 and second <= 60):
            return None
        return calendar.timegm((year, month, day, hour, minute, second))
    return None


def names(value: bytes, etag: bytes, *, weakly: bool) -> bool:
    """Return whether a list of entity tags names this one (RFC 9110 section 8.8.3.2)."""
    if value.strip(b" \t") == b"*":
        return True
    at = 0
    while found := ENTITY_TAG.match(value, at):
        tag = found[1]
        if (tag.removeprefix(b"W/") if weakly else tag) == etag:
            return True
        at = found.end()
    return False


def judge(method: str, fields: Fields, etag: bytes, modified: int, size: int) -> Part:
    """Decide what a request for a file gets, in the order of RFC 9110 section 13.2.2.

    `etag` is a strong entity tag, `modified` in whole seconds.
    """
    condition = joined(fields, b"if-match")
    if condition is not None:
        if not names(condition, etag, weakly=False):
            return Part(412)
    else:
        date = read_date(single(fields, b"if-unmodified-since"))
        if date is not None and modified > date:
            return Part(412)
    condition = joined(fields, b"if-none-match")
    if condition is not None:
        if names(condition, etag, weakly=True):
            return Part(304)
    else:
        date = read_date(single(fields, b"if-modified-since"))
        if date is not None and modified <= date:
            return Part(304)
    wanted = single(fields, b"range")
    if method == "GET" and wanted is not None and may_be_partial(single(fields, b"if-range"), etag, modified):
        return part_of(wanted, size)
    return Part(200, 0, size)


def may_be_partial(condition: bytes | None, etag: bytes, modified: int) -> bool:
    """Return whether there is no If-Range, or one that matches the file's state (RFC 9110 section 13.1.5)."""
    if condition is None:
        return True
    if condition.startswith((b'"', b"W/")):
        return condition == etag
    return read_date(condition) == modified


def part_of(wanted: bytes, size: int) -> Part:
    """Return the part that a Range asks for; the whole file for several ranges, other units and invalid values."""
    found = RANGE.match(wanted)
    if found is None or size == 0:
        return Part(200, 0, size)
    first, last, suffix = found.groups()
    if suffix is not None:
        length = min(int(suffix), size)
        return Part(206, size - length, length) if length else Part(416)
    begin = int(first)
    end = int(last) if last else size - 1
    if last and end < begin:
        return Part(200, 0, size)
    return Part(206, begin, min(end, size - 1) - begin + 1) if begin < size else Part(416)


def codings_of(value: bytes | None) -> tuple[tuple[bytes, bytes], ...]:
    """Return the codings that Accept-Encoding prefers to identity, the best first, each with its file name suffix."""
    if value is None:
        return ()
    weights: dict[bytes, float] = {}
    for member in value.lower().split(b","):
        coding, *parameters = (part.strip(b" \t") for part in member.split(b";"))
        weight = 1.0
        for parameter in parameters:
            found = WEIGHT.match(parameter)
            weight = float(found[1]) if found is not None else 0.0
        if coding:
            weights[b"gzip" if coding == b"x-gzip" else coding] = weight
    others = weights.get(b"*", 0.0)
    least = weights.get(b"identity", 0.0)
    wanted = [(weights.get(coding, others), coding, end) for coding, end in CODINGS]
    wanted.sort(key=lambda each: -each[0])  # stable: equal weights stay in the server's order
    return tuple((coding, end) for weight, coding, end in wanted if weight > 0 and weight >= least)
