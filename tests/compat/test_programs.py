"""Frameworks and programs that people serve with uvicorn, each as it comes from PyPI."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from compat.conftest import Start
from support import PATIENCE, Command

TESTS = Path(__file__).parents[1]


@pytest.mark.parametrize("name", ["quart_app", "litestar_app"])
def test_framework(start: Start, name: str) -> None:
    server = start(f"{name}:app")
    with httpx.Client(base_url=server.url, trust_env=False, timeout=PATIENCE) as client:
        assert client.get("/").json() == {"seen": ["started"]}
        assert client.post("/upper", content=b"abc" * 30_000).text == "ABC" * 30_000
        assert client.get("/stream").content == b"0\n1\n2\n"
        assert client.get("/nowhere").status_code == 404
    assert server.stop() == -15
    assert "Application shutdown complete." in server.output
    assert "ERROR" not in server.output


@pytest.fixture(params=["fastserve", "compat"])
def sse(request: pytest.FixtureRequest) -> Iterator[Command]:
    """The server of events, by its own name and by uvicorn's, which sse-starlette imports."""
    module = ["fastserve"] if request.param == "fastserve" else ["fastserve.compat", "-m", "uvicorn"]
    process = Command([sys.executable, "-m", *module, "compat.apps.sse_app:app", "--port", "0"], cwd=TESTS)
    yield process
    process.close()


def test_sse_starlette_ends_its_streams_when_the_server_stops(sse: Command, request: pytest.FixtureRequest) -> None:
    """It patches Server.handle_exit, or finds the server behind the handler of SIGTERM: both must work."""
    patched = sse.get("/patched").endswith(b"true")
    assert patched == ("compat" in request.node.name)
    with httpx.stream("GET", f"{sse.url}/events", trust_env=False, timeout=60) as response:
        lines = response.iter_lines()
        assert next(lines) == "data: first"
        sse.send_signal(15)
        with contextlib.suppress(httpx.RemoteProtocolError):  # sse-starlette ends its task, not its response
            assert list(lines) == [""]
    assert sse.wait() == -15
    # It returned by itself: under uvicorn as well that is all there is to see.
    assert "ASGI callable returned without completing response." in sse.output
    assert "Cancelled task" not in sse.output and "Traceback" not in sse.output


def test_datasette(tmp_path: Path) -> None:
    """A program that calls uvicorn.run itself."""
    argv = [sys.executable, "-m", "fastserve.compat", "-m", "datasette", "--memory", "--port", "0"]
    process = Command(argv, cwd=tmp_path)
    try:
        process.wait_line("Uvicorn running on")
        url = f"{process.url}/_memory.json?sql=select+6*7+as+n&_shape=array"
        answer = httpx.get(url, trust_env=False, timeout=PATIENCE)
        assert json.loads(answer.text) == [{"n": 42}]
        assert answer.headers["server"] == "fastserve"
    finally:
        process.close()
    assert "ERROR" not in process.output
