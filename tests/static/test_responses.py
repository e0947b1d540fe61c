"""Static files as clients see them, over each protocol."""

from __future__ import annotations

import pytest
from static.conftest import LARGE, LONG_AGO, Site

from fastserve._core.loop.clock import http_date

WHEN = http_date(LONG_AGO).decode()


def test_a_file(site: Site) -> None:
    response = site.ask("/static/small.txt")
    assert (response.status_code, response.content) == (200, b"0123456789")
    assert response.headers["content-type"] == "text/plain; charset=utf-8"
    assert response.headers["content-length"] == "10"
    assert response.headers["last-modified"] == WHEN
    assert response.headers["etag"] == f'"{LONG_AGO * 10**9:x}-a"'
    assert response.headers["accept-ranges"] == "bytes"
    assert response.headers["cache-control"] == "max-age=60"
    assert response.headers["x-static"] == "yes"
    assert response.headers["server"] == "fastserve"
    assert "vary" not in response.headers


@pytest.mark.parametrize(
    ("target", "content"),
    [
        ("/static/large.bin", LARGE),
        ("/static/empty.css", b""),
        ("/static/small.txt?v=1&/../..", b"0123456789"),
        ("/static/inside.txt", b"0123456789"),
        ("/static/sub/index.html", b"<p>index"),
        ("/static/sub/gr%C3%B6%C3%9Fe%201.txt", b"size"),
        ("/%73tatic/%73mall.txt", b"0123456789"),
        ("/static/deep/er/index.html", b"<p>index"),
    ],
)
def test_what_is_served(site: Site, target: str, content: bytes) -> None:
    response = site.ask(target)
    assert (response.status_code, response.content) == (200, content)
    assert response.headers["content-length"] == str(len(content))
    head = site.ask(target, "HEAD")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers == response.headers


@pytest.mark.parametrize(
    "target",
    [
        "/static",
        "/static/",
        "/static/none.txt",
        "/static/sub",
        "/static/sub/",
        "/static/small.txt/",
        "/static/small.txt/x",
        "/static//small.txt",
        "/static/.env",
        "/static/%2eenv",
        "/static/.git/config",
        "/static/../secret.txt",
        "/static/%2e%2e/secret.txt",
        "/static/%2e%2e%2fsecret.txt",
        "/static/..%2fsecret.txt",
        "/static/sub/../../secret.txt",
        "/static/sub/../small.txt",
        "/static/./small.txt",
        "/static/small.txt%00",
        "/static/small.txt%00.html",
        "/static/small%",
        "/static/%ff",
        "/static/outside.txt",
        "/static/up.txt",
        "/static/above/secret.txt",
        "/static/above/public/small.txt",
        "/static/fifo",
        "/static//etc/passwd",
        "/static/%2fetc%2fpasswd",
        "/static/" + "a" * 300,
        "/static/" + "a/" * 900,
    ],
)
def test_what_is_not_served(site: Site, target: str) -> None:
    response = site.ask(target)
    assert (response.status_code, response.content) == (404, b"Not Found")
    assert "x-static" not in response.headers
    assert "cache-control" not in response.headers
    assert site.ask(target, "HEAD").status_code == 404


@pytest.mark.parametrize("target", ["/", "/static.txt", "/statics/small.txt", "/x/../static/small.txt", "/x%zz"])
def test_what_is_the_applications(site: Site, target: str) -> None:
    assert site.ask(target).content.startswith(b"application: ")
    assert site.ask(target, "POST").content.startswith(b"application: ")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("name", ["small.txt", "none.txt"])
def test_other_methods(site: Site, method: str, name: str) -> None:
    response = site.ask(f"/static/{name}", method)
    assert (response.status_code, response.headers["allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize("name", ["small.txt", "large.bin", "app.js"])
def test_not_modified(site: Site, name: str) -> None:
    whole = site.ask(f"/static/{name}")
    etag = whole.headers["etag"]
    for method in ("GET", "HEAD"):
        for fields in (
            {"if_none_match": etag},
            {"if_none_match": f'"x", W/{etag}'},
            {"if_none_match": "*"},
            {"if_none_match": etag, "if_modified_since": WHEN},
            {"if_modified_since": WHEN},
            {"if_none_match": etag, "range": "bytes=0-1"},
        ):
            response = site.ask(f"/static/{name}", method, **fields)
            assert (response.status_code, response.content) == (304, b"")
            for field in ("etag", "last-modified", "cache-control", "x-static", "vary"):
                assert response.headers.get(field) == whole.headers.get(field)
            assert not {"content-type", "content-length"} & response.headers.keys()
    for fields in (
        {"if_none_match": '"x"'},
        {"if_none_match": '"x"', "if_modified_since": WHEN},
        {"if_modified_since": http_date(LONG_AGO - 1).decode()},
        {"if_match": etag},
        {"if_match": etag, "if_unmodified_since": http_date(LONG_AGO - 1).decode()},
    ):
        response = site.ask(f"/static/{name}", **fields)
        assert (response.status_code, response.content) == (200, whole.content)


def test_failed_preconditions(site: Site) -> None:
    etag = site.ask("/static/small.txt").headers["etag"]
    for fields in (
        {"if_match": '"x"'},
        {"if_match": f"W/{etag}"},
        {"if_match": '"x"', "if_none_match": etag},
        {"if_unmodified_since": http_date(LONG_AGO - 1).decode(), "if_none_match": etag},
    ):
        response = site.ask("/static/small.txt", **fields)
        assert (response.status_code, response.content) == (412, b"Precondition Failed")
        assert response.headers["etag"] == etag


@pytest.mark.parametrize("name", ["small.txt", "large.bin"])
def test_ranges(site: Site, name: str) -> None:
    whole = site.ask(f"/static/{name}")
    content, size, etag = whole.content, len(whole.content), whole.headers["etag"]
    for wanted, first, last in (
        ("0-0", 0, 0),
        ("2-4", 2, 4),
        (f"0-{size + 5}", 0, size - 1),
        ("7-", 7, size - 1),
        ("-3", size - 3, size - 1),
        (f"-{size * 2}", 0, size - 1),
    ):
        response = site.ask(f"/static/{name}", range=f"bytes={wanted}", if_range=etag)
        assert (response.status_code, response.content) == (206, content[first : last + 1])
        assert response.headers["content-range"] == f"bytes {first}-{last}/{size}"
        assert response.headers["content-length"] == str(last - first + 1)
        assert response.headers["etag"] == etag
        assert response.headers["x-static"] == "yes"
    response = site.ask(f"/static/{name}", range=f"bytes={size}-")
    assert (response.status_code, response.headers["content-range"]) == (416, f"bytes */{size}")
    for fields in (
        {"range": "bytes=0-1,3-4"},
        {"range": "bytes=x"},
        {"range": "bytes=0-1", "if_range": '"x"'},
        {"range": "bytes=900-", "if_range": http_date(LONG_AGO - 1).decode()},
    ):
        response = site.ask(f"/static/{name}", **fields)
        assert (response.status_code, response.content) == (200, content)
    head = site.ask(f"/static/{name}", "HEAD", range="bytes=0-0")
    assert (head.status_code, head.headers["content-length"]) == (200, str(size))


@pytest.mark.parametrize(
    ("accepted", "coding", "content"),
    [
        ("", None, b"let plain;"),
        ("gzip", "gzip", b"as gz"),
        ("gzip, deflate, br, zstd", "br", b"as br"),
        ("gzip, zstd", "zstd", b"as zst"),
        ("br;q=0.1, gzip;q=0.2", "gzip", b"as gz"),
        ("br;q=0, *;q=0.5", "zstd", b"as zst"),
        ("gzip;q=0", None, b"let plain;"),
        ("gzip;q=0.5, identity", None, b"let plain;"),
    ],
)
def test_compressed_variants(site: Site, accepted: str, coding: str | None, content: bytes) -> None:
    response = site.ask("/static/app.js", accept_encoding=accepted)
    assert (response.status_code, response.content) == (200, content)
    assert response.headers.get("content-encoding") == coding
    assert response.headers["content-type"] == "text/javascript; charset=utf-8"
    assert response.headers["vary"] == "accept-encoding"
    assert (coding or '-a"') in response.headers["etag"]
    etag = response.headers["etag"]
    assert site.ask("/static/app.js", accept_encoding=accepted, if_none_match=etag).status_code == 304
    part = site.ask("/static/app.js", accept_encoding=accepted, range="bytes=1-2")
    assert (part.status_code, part.content) == (206, content[1:3])
    assert part.headers.get("content-encoding") == coding


def test_variants_that_are_missing(site: Site) -> None:
    plain = site.ask("/static/only.js", accept_encoding="br, zstd")
    assert (plain.content, plain.headers["vary"]) == (b"let only;", "accept-encoding")
    assert site.ask("/static/only.js", accept_encoding="br, gzip;q=0.1").content == b"as gz"
    assert "vary" not in site.ask("/static/small.txt", accept_encoding="br, gzip").headers
    itself = site.ask("/static/only.js.gz", accept_encoding="gzip")
    assert (itself.content, itself.headers["content-type"]) == (b"as gz", "application/gzip")
    assert "content-encoding" not in itself.headers


def test_many_at_a_time(site: Site) -> None:
    """Large and small ones on the same connections, which stay open."""
    for _ in range(3):
        for name, size in (("large.bin", len(LARGE)), ("small.txt", 10), ("large.bin", len(LARGE))):
            assert len(site.ask(f"/static/{name}").content) == size
