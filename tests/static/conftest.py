from __future__ import annotations

import os
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import support
from tls.pki import Pki

from fastserve.static import files

LONG_AGO = 1_600_000_000
LARGE = bytes(range(256)) * 20_000  # more than a socket takes at once
WIRES = ("core", "h11", "http2", "tls", "http2-tls")


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Say which path was asked for."""
    body = b"application: " + scope["path"].encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


def put(folder: Path, name: str, content: bytes, age: int = LONG_AGO) -> Path:
    """Make a file that was last modified at a time of its own."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    os.utime(path, (age, age))
    return path


def fill(folder: Path) -> Path:
    """Make a directory as sites have it, with a file beside it that nobody may get."""
    put(folder.parent, "secret.txt", b"secret")
    put(folder, "small.txt", b"0123456789")
    put(folder, "empty.css", b"")
    put(folder, "large.bin", LARGE)
    put(folder, "app.js", b"let plain;")
    for end in ("br", "zst", "gz"):
        put(folder, f"app.js.{end}", f"as {end}".encode())
    put(folder, "only.js", b"let only;")
    put(folder, "only.js.gz", b"as gz")
    put(folder, "sub/index.html", b"<p>index")
    put(folder, "sub/größe 1.txt", b"size")
    put(folder, ".env", b"secret")
    put(folder, ".git/config", b"secret")
    (folder / "inside.txt").symlink_to("small.txt")
    (folder / "outside.txt").symlink_to(folder.parent / "secret.txt")
    (folder / "up.txt").symlink_to("../secret.txt")
    (folder / "above").symlink_to("..")
    os.mkfifo(folder / "fifo")
    return folder


@pytest.fixture(autouse=True, scope="session")
def settled() -> Iterator[None]:
    """Let the core remember files that have just been made."""
    before, files.SETTLED_NS = files.SETTLED_NS, -1
    yield
    files.SETTLED_NS = before


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki"))


class Site:
    """A server of static files over one protocol; each question is put twice, for the second has what is remembered."""

    def __init__(self, wire: str, folder: Path, pki: Pki) -> None:
        self.wire = wire
        tls = "tls" in wire
        self.server = support.serve(
            application,
            http="h11" if wire == "h11" else "auto",
            static=[f"/static={folder}", f"/static/deep/er={folder / 'sub'}"],
            static_headers=[("X-Static", "yes")],
            static_expires=60,
            **(pki.options if tls else {}),
        )
        scheme = "https" if tls else "http"
        verify = ssl.create_default_context(cafile=pki.ca) if tls else True
        http2 = "http2" in wire
        url = f"{scheme}://127.0.0.1:{self.server.port}"
        self.client = httpx.Client(base_url=url, verify=verify, http1=not http2, http2=http2, timeout=support.PATIENCE)

    def ask(self, target: str, method: str = "GET", **headers: str) -> httpx.Response:
        """Ask for a target, which is sent as it is."""
        fields = {"accept-encoding": "", **{name.replace("_", "-"): value for name, value in headers.items()}}
        seen = []
        for _ in range(2):
            with self.client.stream(method, "/", headers=fields, extensions={"target": target.encode()}) as response:
                raw = b"".join(response.iter_raw())
            response.headers.pop("date")
            seen.append((response.status_code, sorted(response.headers.multi_items()), raw))
        assert seen[0] == seen[1]
        response._content = raw
        return response


@pytest.fixture(scope="module", params=WIRES)
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, pki: Pki) -> Iterator[Site]:
    made = Site(request.param, fill(tmp_path_factory.mktemp("site") / "public"), pki)
    with made.client:
        yield made
    made.server.stop()
