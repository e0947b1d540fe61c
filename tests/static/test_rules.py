"""What requests say of a file: conditions, ranges, codings, dates, names. Without a server."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote_from_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastserve._core.loop.clock import http_date
from fastserve.logging.log_config import ConfigError
from fastserve.static.media_types import media_type
from fastserve.static.mounts import decoded, mounts_of, name_of, parts_of
from fastserve.static.rules import Part, codings_of, judge, read_date

ETAG = b'"abc"'
MODIFIED = 784111777
SAME, EARLIER, LATER = (http_date(MODIFIED + seconds) for seconds in (0, -1, 1))
WHOLE = Part(200, 0, 100)


def judged(*fields: tuple[bytes, bytes], method: str = "GET", size: int = 100) -> Part:
    return judge(method, fields, ETAG, MODIFIED, size)


# RFC 9110 section 13.2.2, step by step: each row has what decides first, and what would decide otherwise.
CONDITIONS = [
    (412, [(b"if-match", b'"x"')]),
    (412, [(b"if-match", b'W/"abc"')]),  # strong comparison
    (412, [(b"if-match", b"abc")]),
    (412, [(b"if-match", b"")]),
    (200, [(b"if-match", b'"abc"')]),
    (200, [(b"if-match", b'"x", "abc"')]),
    (200, [(b"if-match", b'"x"'), (b"if-match", b'"abc"')]),
    (200, [(b"if-match", b"*")]),
    (200, [(b"if-match", b'"abc"'), (b"if-unmodified-since", EARLIER)]),
    (412, [(b"if-unmodified-since", EARLIER)]),
    (200, [(b"if-unmodified-since", SAME)]),
    (200, [(b"if-unmodified-since", b"yesterday")]),
    (412, [(b"if-match", b'"x"'), (b"if-none-match", b'"abc"')]),
    (412, [(b"if-unmodified-since", EARLIER), (b"if-none-match", b'"abc"')]),
    (304, [(b"if-match", b'"abc"'), (b"if-none-match", b'"abc"')]),
    (304, [(b"if-none-match", b'"abc"')]),
    (304, [(b"if-none-match", b'W/"abc"')]),  # weak comparison
    (304, [(b"if-none-match", b'"x" ,, "a,b", W/"abc"')]),
    (304, [(b"if-none-match", b" * ")]),
    (200, [(b"if-none-match", b'"x"')]),
    (200, [(b"if-none-match", b'"abc')]),
    (200, [(b"if-none-match", b'"x"'), (b"if-modified-since", SAME)]),
    (304, [(b"if-none-match", b'"abc"'), (b"if-modified-since", EARLIER)]),
    (304, [(b"if-modified-since", SAME)]),
    (304, [(b"if-modified-since", LATER)]),
    (200, [(b"if-modified-since", EARLIER)]),
    (200, [(b"if-modified-since", b"")]),
    (200, [(b"if-modified-since", SAME), (b"if-modified-since", SAME)]),
    (304, [(b"if-none-match", b'"abc"'), (b"range", b"bytes=0-1")]),
    (206, [(b"if-none-match", b'"x"'), (b"range", b"bytes=0-1")]),
    (206, [(b"if-match", b'"abc"'), (b"range", b"bytes=0-1")]),
    (206, [(b"range", b"bytes=0-1"), (b"if-range", b'"abc"')]),
    (200, [(b"range", b"bytes=0-1"), (b"if-range", b'"x"')]),
    (200, [(b"range", b"bytes=0-1"), (b"if-range", b'W/"abc"')]),
    (206, [(b"range", b"bytes=0-1"), (b"if-range", SAME)]),
    (200, [(b"range", b"bytes=0-1"), (b"if-range", LATER)]),
    (200, [(b"range", b"bytes=0-1"), (b"if-range", b"abc")]),
    (200, [(b"range", b"bytes=900-"), (b"if-range", b'"x"')]),
    (200, [(b"if-range", b'"abc"')]),
]


@pytest.mark.parametrize(("status", "fields"), CONDITIONS)
def test_conditions(status: int, fields: list[tuple[bytes, bytes]]) -> None:
    assert judged(*fields).status == status


@pytest.mark.parametrize(
    ("wanted", "part"),
    [
        (b"bytes=0-0", Part(206, 0, 1)),
        (b"bytes=0-99", Part(206, 0, 100)),
        (b"bytes=0-999", Part(206, 0, 100)),
        (b"bytes=99-", Part(206, 99, 1)),
        (b"BYTES=10-19", Part(206, 10, 10)),
        (b"bytes=-1", Part(206, 99, 1)),
        (b"bytes=-100", Part(206, 0, 100)),
        (b"bytes=-101", Part(206, 0, 100)),
        (b"bytes=100-", Part(416)),
        (b"bytes=100-200", Part(416)),
        (b"bytes=-0", Part(416)),
        (b"bytes=2-1", WHOLE),
        (b"bytes=-", WHOLE),
        (b"bytes=a-b", WHOLE),
        (b"bytes=0-1,3-4", WHOLE),
        (b"bytes 0-1", WHOLE),
        (b"lines=0-1", WHOLE),
        (b"bytes=+1-2", WHOLE),
        (b"bytes=0-" + b"9" * 40, WHOLE),
        (b"", WHOLE),
    ],
)
def test_ranges(wanted: bytes, part: Part) -> None:
    assert judged((b"range", wanted)) == part
    assert judged((b"range", wanted), method="HEAD") == WHOLE


def test_a_range_twice_or_of_nothing() -> None:
    assert judged((b"range", b"bytes=0-1"), (b"range", b"bytes=2-3")) == WHOLE
    assert judged((b"range", b"bytes=0-"), size=0) == Part(200, 0, 0)


@pytest.mark.parametrize(
    ("value", "codings"),
    [
        (None, []),
        (b"", []),
        (b"identity", []),
        (b"gzip", [b"gzip"]),
        (b"x-gzip", [b"gzip"]),
        (b"GZIP;Q=0.5", [b"gzip"]),
        (b"gzip, deflate, br, zstd", [b"br", b"zstd", b"gzip"]),
        (b"gzip;q=1.0, br;q=0.5", [b"gzip", b"br"]),
        (b"br;q=0.5, gzip;q=0.501 ,zstd ; q=0.9", [b"zstd", b"gzip", b"br"]),
        (b"*", [b"br", b"zstd", b"gzip"]),
        (b"*;q=0.1, br;q=0", [b"zstd", b"gzip"]),
        (b"gzip;q=0", []),
        (b"gzip;q=0.000", []),
        (b"gzip;q=0.2, identity;q=0.7", []),
        (b"gzip;q=0.7, identity;q=0.7", [b"gzip"]),
        (b"gzip;q=2", []),
        (b"gzip;q=", []),
        (b",, gzip,", [b"gzip"]),
        (b"deflate", []),
    ],
)
def test_codings(value: bytes | None, codings: list[bytes]) -> None:
    assert [coding for coding, _ in codings_of(value)] == codings


def test_the_three_forms_of_a_date() -> None:
    """RFC 9110 section 5.6.7."""
    assert http_date(MODIFIED) == b"Sun, 06 Nov 1994 08:49:37 GMT"
    assert read_date(b"Sun, 06 Nov 1994 08:49:37 GMT") == MODIFIED
    assert read_date(b"Sunday, 06-Nov-94 08:49:37 GMT") == MODIFIED
    assert read_date(b"Sun Nov  6 08:49:37 1994") == MODIFIED
    for wrong in (
        b"",
        b"Sun, 06 Nov 1994 08:49:37",
        b"Sun, 32 Nov 1994 08:49:37 GMT",
        b"Sun, 06 Nov 1994 24:00:00 GMT",
    ):
        assert read_date(wrong) is None


@pytest.mark.parametrize("seconds", [-62135596801, 253402300800, 1 << 62])
def test_a_date_of_no_year(seconds: int) -> None:
    with pytest.raises(ValueError, match="expected seconds of the years 1 to 9999"):
        http_date(seconds)


@given(st.integers(0, 4102444800))
def test_a_date_is_read_as_it_is_written(seconds: int) -> None:
    assert read_date(http_date(seconds)) == seconds


@given(st.binary(max_size=60))
def test_no_value_breaks_a_rule(value: bytes) -> None:
    for name in (b"if-match", b"if-none-match", b"if-modified-since", b"if-unmodified-since", b"range", b"if-range"):
        assert judged((name, value), (b"range", b"bytes=1-2")).status in (200, 206, 304, 412, 416)
    codings_of(value)


@given(st.lists(st.sampled_from([b"..", b".", b"", b"a", b".env", b"%2e", b"\0", b"\xff", b"%2f"]), max_size=6))
def test_no_name_leaves_its_directory(segments: list[bytes]) -> None:
    sent = "/".join(quote_from_bytes(segment, safe="%") for segment in segments).encode()
    name = name_of(decoded(sent))
    if name is not None:
        parts = name.split(b"/")
        assert all(part and not part.startswith(b".") and b"\0" not in part for part in parts)
        assert os.path.normpath(name) == name  # bytes


@pytest.mark.parametrize(
    ("sent", "name"),
    [
        (b"a/b.txt", b"a/b.txt"),
        (b"%61%20b", b"a b"),
        (b"gr%C3%B6%C3%9Fe", "größe".encode()),
        (b"100%25", b"100%"),
        (b"a..b", b"a..b"),
        (b"", None),
        (b"a/", None),
        (b"a//b", None),
        (b"%2e%2e/a", None),
        (b"a%2fb", None),
        (b"a%2Fb", None),
        (b"a%00", None),
        (b"a%", None),
        (b"a%4", None),
        (b"a%zz", None),
        (b".git/config", None),
        (b"a/%2Eenv", None),
    ],
)
def test_names(sent: bytes, name: bytes | None) -> None:
    assert name_of(decoded(sent)) == name


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        (b"a.html", b"text/html; charset=utf-8"),
        (b"a.min.JS", b"text/javascript; charset=utf-8"),
        (b"a.json", b"application/json"),
        (b"a.svg", b"image/svg+xml"),
        (b"a.woff2", b"font/woff2"),
        (b"a.tar.gz", b"application/gzip"),
        (b"html", b"application/octet-stream"),
        (b"x.html/a", b"application/octet-stream"),
        (b"a.", b"application/octet-stream"),
        (b"a.unheardof", b"application/octet-stream"),
    ],
)
def test_media_types(name: bytes, kind: bytes) -> None:
    assert media_type(name) == kind


def test_routes_and_directories(tmp_path: Path) -> None:
    assert parts_of("/a/=b=c") == ("/a", "b=c")
    assert parts_of("/=x") == ("", "x")
    for wrong in ("/a", "=b", "/a=", "a=b", "//a=b", "/a b=c", "/a%20b=c", "/a?b=c", "/ä=b"):
        with pytest.raises(ValueError, match=r"ROUTE=DIR|expected a path"):
            parts_of(wrong)
    found = mounts_of([f"/={tmp_path}", f"/a/b={tmp_path}", f"/a={tmp_path}"])
    assert [mount.route for mount in found] == [b"/a/b", b"/a", b""]
    (tmp_path / "file").touch()
    for name in ("file", "none"):
        with pytest.raises(ConfigError, match=f"^static '/a=.*{name}' cannot be used"):
            mounts_of([f"/a={tmp_path / name}"])
