"""Starlette's files inside middleware that compresses or counts bodies, with --sendfile and without."""

from __future__ import annotations

import gzip
import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import brotli
import flask
import pytest
import support
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from fastserve.middleware.wsgi import WSGIMiddleware

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

CONTENT = b"a line of text that comes again and again\n" * 10_000
COMPRESSING = {
    "starlette.middleware.gzip:GZipMiddleware": "gzip",
    "asgi_gzip:GZipMiddleware": "gzip",
    "starlette_compress:CompressMiddleware": "zstd",
    "brotli_asgi:BrotliMiddleware": "br",
    "zstd_asgi:ZstdMiddleware": "zstd",
}
DECODERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.decompress,
    "br": brotli.decompress,
    "zstd": zstd.decompress,
}
# They hold the head until a body message comes, and drop every message that they do not know.
DROP_FILES = ("brotli_asgi:BrotliMiddleware", "zstd_asgi:ZstdMiddleware")


@pytest.fixture(params=["/static/page.js", "/response"])
def path(request: pytest.FixtureRequest) -> str:
    """Where a file is: one of StaticFiles, and one of a FileResponse whose path is relative."""
    return str(request.param)


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Starlette:
    (tmp_path / "static").mkdir()
    (tmp_path / "static" / "page.js").write_bytes(CONTENT)
    monkeypatch.chdir(tmp_path)

    async def respond(request: Request) -> Response:
        return FileResponse("static/page.js")

    return Starlette(routes=[Route("/response", respond), Mount("/static", StaticFiles(directory="static"))])


def wrapped(app: Any, name: str) -> Any:
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)(app)


class Counting:
    """Middleware that counts the bytes of bodies."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.size = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def counting(message: Any) -> None:
            self.size += len(message.get("body", b""))
            await send(message)

        await self.app(scope, receive, counting)


@pytest.mark.parametrize("http", ["auto", "h11"])
@pytest.mark.parametrize("name", COMPRESSING)
def test_files_are_compressed(serve: support.Serve, app: Starlette, path: str, name: str, http: str) -> None:
    coding = COMPRESSING[name]
    server = serve(wrapped(app, name), http=http)
    status, headers, body = server.fetch(path, headers={"Accept-Encoding": coding})
    assert (status, headers["content-encoding"]) == (200, coding)
    assert len(body) < len(CONTENT) / 10
    assert DECODERS[coding](body) == CONTENT


@pytest.mark.parametrize("name", COMPRESSING)
def test_sendfile_bypasses_compression(serve: support.Serve, app: Starlette, path: str, name: str) -> None:
    server = serve(wrapped(app, name), sendfile=True)
    status, headers, body = server.fetch(path, headers={"Accept-Encoding": COMPRESSING[name]})
    if name in DROP_FILES:
        assert (status, body) == (500, b"Internal Server Error")
    else:
        assert (status, headers["content-encoding"], body) == (200, None, CONTENT)


@pytest.mark.parametrize("name", COMPRESSING)
def test_files_of_a_mounted_wsgi_application_are_compressed(serve: support.Serve, app: Starlette, name: str) -> None:
    """Flask hands its files over as well, by wsgi.file_wrapper."""
    flask_app = flask.Flask(__name__)
    flask_app.add_url_rule("/", view_func=lambda: flask.send_file(Path("static/page.js").absolute()))
    wsgi = WSGIMiddleware(flask_app)
    app.mount("/flask", wsgi)
    coding = COMPRESSING[name]
    status, headers, body = serve(wrapped(app, name)).fetch("/flask/", headers={"Accept-Encoding": coding})
    assert (status, headers["content-encoding"]) == (200, coding)
    assert DECODERS[coding](body) == CONTENT
    wsgi.close()


@pytest.mark.parametrize(("sendfile", "size"), [(False, len(CONTENT)), (True, 0)])
def test_counted_bytes(serve: support.Serve, app: Starlette, path: str, sendfile: bool, size: int) -> None:
    counting = Counting(app)
    status, headers, body = serve(counting, sendfile=sendfile).fetch(path)
    assert (status, headers["content-length"], body) == (200, str(len(CONTENT)), CONTENT)
    assert counting.size == size


@pytest.mark.parametrize("sendfile", [False, True])
def test_ranges_and_head(serve: support.Serve, app: Starlette, path: str, sendfile: bool) -> None:
    server = serve(app, sendfile=sendfile)
    status, headers, body = server.fetch(path, headers={"Range": "bytes=7-99999"})
    assert (status, headers["content-length"], body) == (206, "99993", CONTENT[7:100_000])
    status, headers, body = server.fetch(path, method="HEAD")
    assert (status, headers["content-length"], body) == (200, str(len(CONTENT)), b"")
