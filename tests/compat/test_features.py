"""What users of frameworks touch, on fastserve and on uvicorn as the control: a row of the table is a line.

Each row is asked of the core, over HTTP/1.1 and HTTP/2, of the implementation over h11 and of uvicorn, must come back
as it says from each, and from all of them the same, field for field; where one differs, the row says why.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from compat.features import TESTS, App, Ask, Http2Client, Row, answers, same
from support import Command

STARLETTE = App("features_starlette:app")
ROOTED = App("features_starlette:app", ("--root-path", "/root"))
UNTRUSTING = App("features_starlette:app", ("--forwarded-allow-ips", "192.0.2.1"))
DJANGO = App("features_django:app")
DJANGO_ROOTED = App("features_django:app", ("--root-path", "/root"))
LITESTAR = App("features_litestar:app")
QUART = App("features_quart:app")
QUART_ROOTED = App("features_quart:app", ("--root-path", "/root"))
FLASK = App("flask_app:app", ("--interface", "wsgi"))
A2WSGI = App("features_starlette:a2wsgi")

LARGE = bytes(range(256)) * 12000
SIZE = len(LARGE)
BIG = b"x" * 500_000
PROXY = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "203.0.113.9", "Host": "site.example"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
JSON = {"Content-Type": "application/json"}
MULTIPART = {"Content-Type": "multipart/form-data; boundary=b"}
UPLOAD = (
    b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.bin"\r\n\r\n' + BIG + b"\r\n"
    b'--b\r\nContent-Disposition: form-data; name="note"\r\n\r\nGr\xc3\xbc\xc3\x9fe\r\n--b--\r\n'
)
GZIP = {"Accept-Encoding": "gzip"}
PREFLIGHT = {"Origin": "https://example.org", "Access-Control-Request-Method": "PUT"}
FIRST_10 = {"content-range": f"bytes 0-9/{SIZE}", "content-length": "10"}
OLD, FUTURE = "Thu, 01 Jan 1970 00:00:00 GMT", "Fri, 01 Jan 2100 00:00:00 GMT"


UNTERMINATED = "fastserve says wsgi.input_terminated, so that Flask reads a body without a length; a2wsgi does not"


def row(app: App, *asks: Ask, differs: str = "") -> Row:
    return Row(app, asks, differs)


def files(app: App, path: str) -> Iterator[Row]:
    """Rows of a framework that serves ranges of the file at `path`."""
    yield row(app, Ask(f"GET {path}", 200, has={"content-length": str(SIZE)}, is_=LARGE))
    yield row(app, Ask(f"HEAD {path}", 200, has={"content-length": str(SIZE)}, is_=b""))
    yield row(app, Ask(f"GET {path}", 206, {"Range": "bytes=0-9"}, has=FIRST_10, is_=LARGE[:10]))
    yield row(app, Ask(f"HEAD {path}", 206, {"Range": "bytes=0-9"}, has=FIRST_10, is_=b""))
    yield row(app, Ask(f"GET {path}", 206, {"Range": f"bytes={SIZE - 5}-"}, is_=LARGE[-5:]))
    yield row(app, Ask(f"GET {path}", 206, {"Range": "bytes=100-2000000"}, is_=LARGE[100:2000001]))
    yield row(app, Ask(f"GET {path}", 416, {"Range": f"bytes={SIZE}-"}))


def conditions(app: App, path: str) -> Iterator[Row]:
    """Rows of a framework that answers conditional requests for the file at `path`."""
    yield row(app, Ask(f"GET {path}", 304, {"If-Modified-Since": FUTURE}, is_=b""))
    yield row(app, Ask(f"GET {path}", 200, {"If-Modified-Since": OLD}))
    yield row(app, Ask(f"GET {path}", 200, {"If-None-Match": '"another"'}))


def unread(app: App, path: str, status: int = 401) -> Iterator[Row]:
    """Rows of an endpoint that answers without reading: what comes next on the connection is not mistaken."""
    for body in (b"", b"x", BIG, [b"a" * 1000] * 3, [BIG]):
        yield row(app, *[Ask(f"POST {path}", status, body=body)] * 3)


ROWS = [
    # Files
    *files(STARLETTE, "/file/large.bin"),
    row(STARLETTE, Ask("GET /fastapi/file", has={"content-length": str(SIZE)}, is_=LARGE)),
    row(STARLETTE, Ask("GET /fastapi/file", 206, {"Range": "bytes=0-9"}, has=FIRST_10, is_=LARGE[:10])),
    row(STARLETTE, Ask("HEAD /fastapi/file", 405)),
    *files(STARLETTE, "/static/large.bin"),
    *files(STARLETTE, "/fastapi/static/large.bin"),
    *files(QUART, "/file"),
    *files(QUART, "/static/large.bin"),
    *files(FLASK, "/file/large.bin"),
    *conditions(STARLETTE, "/static/large.bin"),
    *conditions(QUART, "/file"),
    *conditions(FLASK, "/file/large.bin"),
    *conditions(DJANGO, "/static/large.bin"),
    row(STARLETTE, Ask("GET /file/large.bin", 206, {"Range": "bytes=-5"}, is_=LARGE[-5:])),
    row(STARLETTE, Ask("GET /static/large.bin", 206, {"Range": "bytes=-5"}, is_=LARGE[-5:])),
    row(FLASK, Ask("GET /file/large.bin", 206, {"Range": "bytes=-5"}, is_=LARGE[-5:])),
    row(QUART, Ask("GET /file", 500, {"Range": "bytes=-5"})),  # a fault of Quart's
    row(STARLETTE, Ask("GET /file/large.bin", 206, {"Range": "bytes=0-3,10-13"}, has={"content-type": "multipart.*"})),
    row(STARLETTE, Ask("GET /file/large.bin", 400, {"Range": "lines=1-2"})),
    row(STARLETTE, Ask("GET /file/large.bin", 200, {"Range": "bytes=0-9", "If-Range": '"another"'}, is_=LARGE)),
    row(STARLETTE, Ask("GET /file/empty.txt", has={"content-length": "0"}, is_=b"")),
    row(STARLETTE, Ask("GET /file/small.txt", has={"content-type": "text/plain.*", "x-own": "header", "etag": ".+"})),
    row(STARLETTE, Ask("GET /file/none.txt", 500)),
    row(STARLETTE, Ask("GET /attachment", 203, has={"content-disposition": ".*utf-8''gr%C3%BC%C3%9Fe.txt"})),
    row(STARLETTE, Ask("GET /static/none.txt", 404)),
    row(STARLETTE, Ask("GET /static/%2e%2e/secret", 404)),
    row(STARLETTE, Ask("POST /static/small.txt", 405, body=b"x")),
    row(STARLETTE, Ask("GET /static/page", 307, has={"location": r"http://127\.0\.0\.1:\d+/static/page/"})),
    row(STARLETTE, Ask("GET /static/page/", has={"content-type": "text/html.*"}, is_=b"<h1>page</h1>")),
    row(DJANGO, Ask("GET /file/", has={"content-length": str(SIZE), "content-disposition": ".*utf-8''.*"}, is_=LARGE)),
    row(DJANGO, Ask("HEAD /file/", has={"content-length": str(SIZE)}, is_=b"")),
    row(DJANGO, Ask("GET /static/none.txt", 404)),
    row(LITESTAR, Ask("GET /file", has={"content-length": str(SIZE), "etag": ".+"}, is_=LARGE)),
    row(LITESTAR, Ask("GET /static/small.txt", is_=b"a small file\n")),
    row(LITESTAR, Ask("HEAD /static/small.txt", has={"content-length": "13"}, is_=b"")),
    row(LITESTAR, Ask("GET /static/page/", is_=b"<h1>page</h1>")),
    row(LITESTAR, Ask("GET /static/none.txt", 404)),
    row(QUART, Ask("GET /files/none.txt", 404, holds='"nothing at":"/files/none.txt"')),
    row(QUART, Ask("GET /files/small.txt", is_=b"a small file\n")),
    row(A2WSGI, Ask("GET /file/large.bin", has={"content-length": str(SIZE)}, is_=LARGE)),
    row(A2WSGI, Ask("GET /file/large.bin", 206, {"Range": "bytes=0-9"}, is_=LARGE[:10])),
    row(A2WSGI, Ask("HEAD /file/large.bin", has={"content-length": str(SIZE)}, is_=b"")),
    row(STARLETTE, Ask("GET /a2wsgi/file/large.bin", 206, {"Range": "bytes=-5"}, is_=LARGE[-5:])),
    row(STARLETTE, Ask("GET /own/file/large.bin", 206, {"Range": "bytes=-5"}, is_=LARGE[-5:])),
    row(STARLETTE, Ask("HEAD /own/file/large.bin", has={"content-length": str(SIZE)}, is_=b"")),
    row(STARLETTE, Ask("GET /wsgi/file/large.bin", 206, {"Range": "bytes=-5"}, is_=LARGE[-5:])),
    # Uploads, read and unread
    *unread(STARLETTE, "/ignore"),
    *unread(STARLETTE, "/fastapi/unread", 413),
    *unread(STARLETTE, "/nowhere", 404),
    *unread(DJANGO, "/unread/"),
    *unread(LITESTAR, "/unread"),
    *unread(QUART, "/unread"),
    *unread(FLASK, "/forbidden", 405),
    *unread(A2WSGI, "/forbidden", 405),
    row(STARLETTE, *[Ask("POST /first", body=BIG, is_=b"1")] * 3),
    row(STARLETTE, Ask("POST /echo", body=BIG, is_=BIG), Ask("PUT /echo", body=[b"a", b"bc"], is_=b"abc")),
    row(STARLETTE, Ask("POST /sizes", body=[BIG, BIG, b"1"], is_=b"1000001")),
    row(STARLETTE, Ask("POST /sizes", body=b"", is_=b"0")),
    row(STARLETTE, Ask("DELETE /echo", body=b"a body", is_=b"a body")),
    row(STARLETTE, Ask("POST /form", 200, FORM, b"a=%C3%A4&b=1+2", is_='{"a":"ä","b":"1 2"}'.encode())),
    row(STARLETTE, Ask("POST /form", 200, MULTIPART, UPLOAD, is_='{"file":["a.bin",500000],"note":"Grüße"}'.encode())),
    row(STARLETTE, Ask("POST /fastapi/upload", 200, MULTIPART, UPLOAD, holds='"note":"Grüße"')),
    row(STARLETTE, Ask("POST /echo", 200, {"Expect": "100-continue"}, b"waited for", is_=b"waited for")),
    row(DJANGO, Ask("POST /see/", 200, MULTIPART, UPLOAD, holds='"FILES": {"file": ["a.bin", 500000]}')),
    row(DJANGO, Ask("POST /see/", 200, FORM, b"a=1&a=2", holds='"POST": {"a": ["1", "2"]}')),
    row(DJANGO, Ask("POST /piecewise/", body=[BIG, b"1"], is_=b"500001")),
    row(DJANGO, Ask("POST /piecewise/", body=BIG, is_=b"500000")),
    row(LITESTAR, Ask("POST /upload", 201, MULTIPART, UPLOAD.replace(b'"file"', b'"data"'), holds='"size":500000')),
    row(LITESTAR, Ask("POST /items", 201, JSON, b'{"name":"cup","price":1.5}', is_=b'{"name":"cup","price":1.5}')),
    row(QUART, Ask("POST /see", 200, MULTIPART, UPLOAD, holds='"files":{"file":["a.bin",500000]}')),
    row(QUART, Ask("POST /see", 200, FORM, b"a=1&a=2", holds='"form":{"a":["1","2"]}')),
    row(QUART, Ask("POST /pieces", body=[BIG, b"1"], is_=b"500001")),
    row(FLASK, Ask("POST /form", 200, FORM, b"a=%C3%A4", is_=b'{"a":"\\u00e4"}\n')),
    row(FLASK, Ask("POST /upload", 200, MULTIPART, UPLOAD, holds='"size":500000')),
    row(A2WSGI, Ask("POST /upload", 200, MULTIPART, UPLOAD, holds='"size":500000')),
    row(A2WSGI, Ask("POST /digest", body=[BIG, b"1"], holds='"size":0')),  # Flask does not know of its body
    row(FLASK, Ask("POST /digest", body=[BIG, b"1"], holds='"size":500001'), differs=UNTERMINATED),
    row(STARLETTE, Ask("POST /a2wsgi/upload", 200, MULTIPART, UPLOAD, holds='"size":500000')),
    row(STARLETTE, Ask("POST /own/upload", 200, MULTIPART, UPLOAD, holds='"size":500000')),
    row(STARLETTE, *[Ask("POST /own/forbidden", 405, body=BIG)] * 3),
    row(STARLETTE, Ask("POST /wsgi/upload", 200, MULTIPART, UPLOAD, holds='"size":500000')),
    # Sessions and cookies
    row(
        STARLETTE,
        Ask("GET /count", is_=b"1"),
        Ask("GET /count", is_=b"2"),
        Ask("GET /forget"),
        Ask("GET /count", is_=b"1"),
    ),
    row(DJANGO, Ask("GET /count/", is_=b"1"), Ask("GET /count/", is_=b"2"), Ask("GET /count/", is_=b"3")),
    row(DJANGO, Ask("GET /say/", 302), Ask("GET /heard/", is_=b"said"), Ask("GET /heard/", is_=b"")),
    row(LITESTAR, Ask("GET /count", is_=b"1"), Ask("GET /count", is_=b"2")),
    row(QUART, Ask("GET /count", is_=b"1"), Ask("GET /count", is_=b"2")),
    row(QUART, Ask("GET /say", 302), Ask("GET /heard", is_=b"said"), Ask("GET /heard", is_=b"")),
    row(FLASK, Ask("GET /count", is_=b"1"), Ask("GET /count", is_=b"2")),
    row(A2WSGI, Ask("GET /count", is_=b"1"), Ask("GET /count", is_=b"2")),
    row(STARLETTE, Ask("GET /own/count", is_=b"1"), Ask("GET /own/count", is_=b"2")),
    row(STARLETTE, Ask("GET /own/stream", holds="499\n"), Ask("GET /own/boom", 500), Ask("GET /own/")),
    row(STARLETTE, Ask("GET /wsgi/count", is_=b"1"), Ask("GET /wsgi/count", is_=b"2")),
    row(STARLETTE, Ask("GET /cookies", has={"set-cookie": "first=1; HttpOnly; Path=/; SameSite=strict"})),
    row(LITESTAR, Ask("GET /cookies", 200, has={"set-cookie": "second=2.*"})),
    row(QUART, Ask("GET /cookies", has={"set-cookie": "first=1.*"})),
    row(STARLETTE, Ask("GET /see", 200, {"Cookie": 'a=1; b="two words"; c'}, holds='"a":"1"')),
    row(DJANGO, Ask("GET /see/", 200, {"Cookie": "a=1; b=2"}, holds='"COOKIES": {"a": "1", "b": "2"}')),
    row(DJANGO, Ask("POST /guarded/", 403, body=b"x")),
    # Addresses: proxies, mounts, root_path
    row(STARLETTE, Ask("GET /see", 200, PROXY, holds='"link":"https://site.example/see"')),
    row(STARLETTE, Ask("GET /see", 200, PROXY, holds='"client":"203.0.113.9"')),
    row(
        STARLETTE,
        Ask("GET /see", 200, {**PROXY, "X-Forwarded-For": "1.2.3.4, 203.0.113.9"}, holds='"203.0.113.9"'),
    ),
    row(STARLETTE, Ask("GET /see", 200, {**PROXY, "X-Forwarded-For": "203.0.113.9, 127.0.0.1"}, holds='"203.0.113.9"')),
    row(UNTRUSTING, Ask("GET /see", 200, PROXY, holds='"link":"http://site.example/see"')),
    row(UNTRUSTING, Ask("GET /see", 200, PROXY, holds='"client":"127.0.0.1"')),
    row(STARLETTE, Ask("GET /slashed", 307, PROXY, has={"location": "https://site.example/slashed/"})),
    row(STARLETTE, Ask("GET /redirect", 303, PROXY, has={"location": "https://site.example/see"})),
    row(STARLETTE, Ask("GET /below/see", holds='"root_path":"/below"')),
    row(STARLETTE, Ask("GET /below/redirect", 303, PROXY, has={"location": "https://site.example/(below/)?see"})),
    row(STARLETTE, Ask("GET /below/static/small.txt", is_=b"a small file\n")),
    row(STARLETTE, Ask("GET /below/slashed", 307, has={"location": ".*/below/slashed/"})),
    row(STARLETTE, Ask("GET /see", 200, {"Host": "api.example"}, holds='"url":"http://api.example/see"')),
    row(STARLETTE, Ask("GET /secure/see", 307, {"Host": "site.example"}, has={"location": "https://site.example/.*"})),
    row(STARLETTE, Ask("GET /secure/see", 200, PROXY, holds='"scheme":"https"')),
    row(STARLETTE, Ask("GET /secure/see", 400, {**PROXY, "Host": "other.example"})),
    row(ROOTED, Ask("GET /see", holds='"root_path":"/root"')),
    row(ROOTED, Ask("GET /see", holds='"path":"/root/see"')),
    row(ROOTED, Ask("GET /below/see", holds='"root_path":"/root/below"')),
    row(ROOTED, Ask("GET /redirect", 303, PROXY, has={"location": "https://site.example/root/see"})),
    row(ROOTED, Ask("GET /slashed", 307, PROXY, has={"location": "https://site.example/root/slashed/"})),
    row(ROOTED, Ask("GET /static/small.txt", is_=b"a small file\n")),
    row(ROOTED, Ask("GET /fastapi/openapi.json", holds='"servers":[{"url":"/root/fastapi"}]')),
    row(ROOTED, Ask("GET /a2wsgi/seen/x", 200, PROXY, holds='"own":"https://site.example/root/a2wsgi/"')),
    row(ROOTED, Ask("GET /own/seen/x", 200, PROXY, holds='"own":"https://site.example/root/own/"')),
    row(ROOTED, Ask("GET /wsgi/seen/x", 200, PROXY, holds='"own":"https://site.example/root/wsgi/"')),
    row(DJANGO, Ask("GET /see/", 200, PROXY, holds='"uri": "https://site.example/see/"')),
    row(DJANGO, Ask("GET /see/", 200, PROXY, holds='"REMOTE_ADDR": "203.0.113.9"')),
    row(DJANGO, Ask("GET /see/", 200, PROXY, holds='"secure": true')),
    row(DJANGO, Ask("GET /see/", 400, {"Host": "evil.example"})),
    row(DJANGO, Ask("GET /see?a=1", 301, PROXY, has={"location": r"/see/\?a=1"})),
    row(DJANGO_ROOTED, Ask("GET /see/", holds='"link": "/root/see/"')),
    row(DJANGO_ROOTED, Ask("GET /see/", holds='"SCRIPT_NAME": "/root"')),
    row(DJANGO_ROOTED, Ask("GET /say/", 302, has={"location": "/root/heard/"})),
    row(LITESTAR, Ask("GET /see", 200, PROXY, holds='"url":"https://site.example/see"')),
    row(LITESTAR, Ask("GET /see", 200, PROXY, holds='"client":"203.0.113.9"')),
    row(QUART, Ask("GET /see", 200, PROXY, holds='"link":"https://site.example/see"')),
    row(QUART, Ask("GET /see", 200, PROXY, holds='"remote":"203.0.113.9"')),
    row(QUART, Ask("GET /slashed", 308, PROXY, has={"location": "https://site.example/slashed/"})),
    row(QUART_ROOTED, Ask("GET /see", 200, PROXY, holds='"link":"https://site.example/root/see"')),
    row(FLASK, Ask("GET /seen/x", 200, PROXY, holds='"own":"https://site.example/"')),
    row(FLASK, Ask("GET /seen/x", 200, PROXY, holds='"address":"203.0.113.9"')),
    row(A2WSGI, Ask("GET /seen/x", 200, PROXY, holds='"own":"https://site.example/"')),
    row(A2WSGI, Ask("GET /seen/x", 200, PROXY, holds='"address":"203.0.113.9"')),
    row(STARLETTE, Ask("GET /a2wsgi/seen/%C3%BC%20b?a=1", holds='"rest":"\\u00fc b"')),
    row(STARLETTE, Ask("GET /own/seen/%C3%BC%20b?a=1", holds='"rest":"\\u00fc b"')),
    row(STARLETTE, Ask("GET /wsgi/seen/%C3%BC%20b?a=1", holds='"rest":"\\u00fc b"')),
    # Targets, fields, methods
    row(STARLETTE, Ask("GET /see?a=1&a=2&b=&c", holds='"query":[["a","1"],["a","2"],["b",""],["c",""]]')),
    row(STARLETTE, Ask("GET /see?", holds='"query":[]')),
    row(STARLETTE, Ask("GET /see?q=a+b%20c%26d&u=%C3%A4", holds='["q","a b c&d"],["u","ä"]')),
    row(STARLETTE, Ask("GET /see/%C3%BC%2Fx%20y", holds='"path":"/see/ü/x y","raw_path":"/see/%C3%BC%2Fx%20y"')),
    row(STARLETTE, Ask("GET /see//double///slash", holds='"path":"/see//double///slash"')),
    row(STARLETTE, Ask("GET /see/../see", holds='"path":"/see/../see"')),
    row(STARLETTE, Ask("GET /see/;p=1?x=1;y", holds='"path":"/see/;p=1"')),
    row(STARLETTE, Ask("PATCH /see", holds='"method":"PATCH"')),
    row(STARLETTE, Ask("OPTIONS /see", holds='"method":"OPTIONS"')),
    row(STARLETTE, Ask("TRACE /see", 405)),
    row(STARLETTE, Ask("HEAD /see", 200, is_=b"")),
    row(STARLETTE, Ask("DELETE /slashed/", 405)),
    row(STARLETTE, Ask("GET /see", 200, {"X-List": "1, 2"}, holds='"accept":["1, 2"]')),
    row(
        STARLETTE,
        Ask("GET /headers", has={"x-latin": "gr\xfc\xdfe", "x-empty": "", "x-long": "l+", "x-many": "2"}),
    ),
    row(STARLETTE, *[Ask("GET /status/204", 204, is_=b""), Ask("GET /status/304", 304, is_=b""), Ask("GET /see")]),
    row(STARLETTE, Ask("GET /status/299", 299)),
    row(STARLETTE, Ask("GET /status/599", 599)),
    row(STARLETTE, Ask("GET /private", 403), Ask("GET /private", 200, {"X-User": "ann"}, is_=b"ann")),
    row(STARLETTE, Ask("OPTIONS /see", 200, PREFLIGHT, has={"access-control-allow-origin": "https://example.org"})),
    row(STARLETTE, Ask("GET /see", 200, {"Origin": "https://example.org"}, has={"access-control-allow-origin": ".+"})),
    row(DJANGO, Ask("GET /see/?a=1&a=%C3%A4", holds='"GET": {"a": ["1", "\\u00e4"]}')),
    row(LITESTAR, Ask("GET /see?q=1&q=2", holds='"q":["1","2"]')),
    row(LITESTAR, Ask("OPTIONS /see", 204, PREFLIGHT, has={"access-control-allow-origin": "https://example.org"})),
    row(LITESTAR, Ask("GET /header", 200, {"X-Many": "value"}, is_=b"value"), Ask("GET /header", 400)),
    row(LITESTAR, Ask("DELETE /items/3", 204, is_=b""), Ask("GET /items/3", 405)),
    row(LITESTAR, Ask("POST /items", 400, JSON, b'{"name":1}')),
    row(LITESTAR, Ask("GET /redirect", 303, has={"location": "/see"})),
    row(LITESTAR, Ask("GET /schema/openapi.json", holds='"/items/{number}"')),
    row(QUART, Ask("GET /see?a=1&a=2", holds='"args":{"a":["1","2"]}')),
    row(QUART, Ask("GET /teapot", 418)),
    row(QUART, Ask("OPTIONS /see", has={"allow": ".*POST.*", "x-after": "before"})),
    row(QUART, Ask("HEAD /see", is_=b"", has={"content-length": r"\d+"})),
    row(FLASK, Ask("OPTIONS /form", has={"allow": ".*POST.*"})),
    row(FLASK, Ask("HEAD /", has={"content-length": "16"}, is_=b"")),
    row(FLASK, Ask("GET /forbidden", 403)),
    row(FLASK, Ask("GET /boom", 500, holds="Internal Server Error")),
    row(A2WSGI, Ask("GET /boom", 500, holds="Internal Server Error")),
    row(A2WSGI, Ask("HEAD /", has={"content-length": "16"}, is_=b"")),
    # FastAPI
    row(STARLETTE, Ask("POST /fastapi/items", 201, JSON, b'{"name":"cup","price":1}', holds='"session":"a session"')),
    row(STARLETTE, Ask("POST /fastapi/items", 422, JSON, b'{"name":"c"}', holds="string_too_short")),
    row(STARLETTE, Ask("POST /fastapi/items", 422, JSON, b"{", holds="json_invalid")),
    row(STARLETTE, Ask("GET /fastapi/items/3", is_=b'{"name":"cup","price":3.0}')),
    row(STARLETTE, Ask("GET /fastapi/items/10", 404, has={"x-error": "none"})),
    row(STARLETTE, Ask("GET /fastapi/items/x", 422, holds="int_parsing")),
    row(STARLETTE, Ask("DELETE /fastapi/items/3", 204, is_=b""), Ask("GET /fastapi/items/3")),
    row(
        STARLETTE,
        Ask("GET /fastapi/parts", 200, {"User-Agent": "u", "X-Many": "1", "Cookie": "kept=k"}, holds='["1"],"k"]'),
    ),
    row(STARLETTE, Ask("GET /fastapi/me", 401, has={"www-authenticate": "Bearer"})),
    row(STARLETTE, Ask("GET /fastapi/me", 200, {"Authorization": "Bearer t"}, is_=b'"t"')),
    row(STARLETTE, Ask("GET /fastapi/documentation", holds="/fastapi/openapi.json")),
    row(STARLETTE, Ask("GET /fastapi/sub/openapi.json", holds='"servers":[{"url":"/fastapi/sub"}]')),
    # Streams and compression
    row(STARLETTE, Ask("GET /stream", 202, has={"transfer-encoding": "chunked"}, is_=b"0\n1\n2\n"), Ask("GET /see")),
    row(STARLETTE, Ask("HEAD /stream", 202, is_=b""), Ask("GET /see")),
    row(STARLETTE, Ask("GET /stream?n=0", 202, is_=b"")),
    row(STARLETTE, Ask("GET /threaded", has={"content-length": "70001"}, is_=b"a" + b"c" * 70_000)),
    row(STARLETTE, Ask("GET /gzip/large", 200, GZIP, has={"content-encoding": "gzip"})),
    row(STARLETTE, Ask("GET /gzip/large", has={"content-length": "18000"})),
    row(STARLETTE, Ask("GET /gzip/stream?n=5000", 202, GZIP, has={"content-encoding": "gzip"})),
    row(DJANGO, Ask("GET /large/", 200, GZIP, has={"content-encoding": "gzip"})),
    row(DJANGO, Ask("GET /stream/", is_=b"".join(b"%d\n" % number for number in range(100)))),
    row(LITESTAR, Ask("GET /stream", is_=b"0\n1\n2\n", has={"transfer-encoding": "chunked"})),
    row(LITESTAR, Ask("GET /large", 200, GZIP, has={"content-encoding": "gzip"})),
    row(QUART, Ask("GET /stream", 202, has={"x-own": "header", "transfer-encoding": "chunked"})),
    row(FLASK, Ask("GET /stream", holds="499\n")),
    row(A2WSGI, Ask("GET /stream", holds="499\n")),
]

SERVERS = {"core": ["fastserve"], "h11": ["fastserve", "--http", "h11"], "uvicorn": ["uvicorn"]}
Served = Callable[[str, App], Command]


@pytest.fixture(scope="module")
def served(files: Path) -> Iterator[Served]:
    """Start each server with each application once: served("core", app) -> Command."""
    (files / "page").mkdir()
    (files / "page" / "index.html").write_text("<h1>page</h1>")
    running: dict[tuple[str, App], Command] = {}

    def start(name: str, app: App) -> Command:
        if (name, app) not in running:
            module, *options = SERVERS[name]
            argv = [sys.executable, "-m", module, f"compat.apps.{app.name}", "--app-dir", str(TESTS), "--port", "0"]
            argv += [*options, *app.options]
            running[name, app] = Command(argv, env={"COMPAT_FILES": str(files), "PYTHONHASHSEED": "0"}, cwd=TESTS)
        return running[name, app]

    yield start
    for process in running.values():
        process.close()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_row(served: Served, row: Row) -> None:
    for name in SERVERS:
        served(name, row.app)  # they start together
    core, h11 = ([*answers(served(name, row.app), row)] for name in ("core", "h11"))
    uvicorn = [*answers(served("uvicorn", row.app), row, checked=not row.differs)]
    for one, other in zip(core, h11, strict=True):
        assert same(one, other), f"{one}\n{other}"
    http2 = [*answers(served("core", row.app), row, kind=Http2Client)]
    for one, other in zip(core, http2, strict=True):
        assert same(one, other), f"{one}\n{other}"
    different = [(one, other) for one, other in zip(core, uvicorn, strict=True) if not same(one, other)]
    assert bool(different) == bool(row.differs), different
