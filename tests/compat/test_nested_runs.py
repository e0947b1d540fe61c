"""Applications that run their event loop within a step of their own (nest_asyncio), with uvicorn as the control."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from support import PATIENCE, Command
from websockets.sync.client import connect

TESTS = Path(__file__).parents[1]


@pytest.fixture(params=["uvicorn", "fastserve"])
def server(request: pytest.FixtureRequest) -> Iterator[Command]:
    argv = [sys.executable, "-m", request.param, "compat.apps.nested_app:app", "--loop", "asyncio", "--port", "0"]
    process = Command(argv, cwd=TESTS)
    process.wait_line("running on")
    yield process
    process.close()


def get(server: Command, path: str) -> str:
    return httpx.get(server.url + path, trust_env=False, timeout=PATIENCE).text


def test_other_requests_are_served_within_it(server: Command) -> None:
    """The nested run ends by one of them."""
    with ThreadPoolExecutor(1) as pool:
        waits = pool.submit(get, server, "/wait")
        assert get(server, "/began") == "/began"
        assert get(server, "/open") == "/open"
        assert waits.result() == "/wait"
    assert server.stop() == -15
    assert "Traceback" not in server.output


def test_a_task_that_listens_hears_that_the_client_has_left(server: Command) -> None:
    """While the headers of the response are being taken."""
    with server.connect() as client:
        client.sendall(b"GET /listen HTTP/1.1\r\nHost: a\r\n\r\n")
        get(server, "/began")
    assert get(server, "/heard") == "http.disconnect"
    assert server.stop() == -15
    assert "Traceback" not in server.output


def test_a_connection_is_read_within_a_run_of_its_own(server: Command) -> None:
    url = server.url.replace("http", "ws", 1)
    with connect(url, open_timeout=PATIENCE, close_timeout=PATIENCE, proxy=None) as websocket:
        websocket.send("wait")
        get(server, "/began")
        websocket.send("more")
        get(server, "/open")
        assert [websocket.recv(PATIENCE) for _ in range(2)] == ["wait", "more"]
    assert server.stop() == -15
    assert "Traceback" not in server.output
