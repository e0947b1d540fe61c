"""Gradio's page, whose own middleware compresses its files: an installation of it, served with --sendfile and without.

It brings numpy and pandas, 340 MB in all, so it is installed here and not in the environment of every suite.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import brotli
import pytest
import support

SECONDS = 540

pytestmark = [pytest.mark.packaging, pytest.mark.timeout(SECONDS + 30)]

APPLICATION = """
import fastapi
import gradio

with gradio.Blocks(analytics_enabled=False) as blocks:
    gradio.Textbox()
app = gradio.mount_gradio_app(fastapi.FastAPI(), blocks, path="/")
"""
DROPPED = "ASGI callable returned without starting response."


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("gradio")
    (folder / "page.py").write_text(APPLICATION)
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "install",
            "-q",
            "--no-warn-conflicts",
            "--target",
            folder / "packages",
            "gradio",
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    yield folder
    shutil.rmtree(folder)


def fetch(server: support.Command, path: str, coding: str) -> tuple[bytes, bytes]:
    """Return the head and the body of the response to a client that takes this coding, and does not keep alive."""
    raw = server.request(f"GET {path} HTTP/1.0\r\nHost: test\r\nAccept-Encoding: {coding}\r\n\r\n".encode())
    head, _, body = raw.partition(b"\r\n\r\n")
    return head, body


@pytest.mark.parametrize("options", [[], ["--http", "h11"], ["--sendfile"]])
def test_page_and_files(folder: Path, options: list[str]) -> None:
    """Its middleware drops the messages that it does not know: with --sendfile it has nothing to send."""
    environment = {"PYTHONPATH": str(folder / "packages"), "GRADIO_ANALYTICS_ENABLED": "False", "HOME": str(folder)}
    server = support.command("page:app", "--port", "0", *options, cwd=folder, env=environment)
    try:
        head, page = fetch(server, "/", "identity")
        assert head.startswith(b"HTTP/1.1 200 ")
        script = re.search(rb'assets/[^"]+\.js', page)
        assert script is not None
        path = f"/{script[0].decode()}"
        head, content = fetch(server, path, "identity")
        assert head.startswith(b"HTTP/1.1 200 ")
        head, body = fetch(server, path, "br")
        if "--sendfile" in options:
            assert head.startswith(b"HTTP/1.1 500 ")
        else:
            assert head.startswith(b"HTTP/1.1 200 ")
            assert b"content-encoding: br" in head.lower()
            assert len(body) < len(content) / 2
            assert brotli.decompress(body) == content
        assert server.stop() == -15
    finally:
        server.close()
    assert (DROPPED in server.output) is ("--sendfile" in options)
    assert "Traceback" not in server.output
