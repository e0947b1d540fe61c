"""Messages with values of subclasses, such as members of enumerations, with uvicorn as the control."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from support import PATIENCE, Command
from websockets.exceptions import ConnectionClosedError
from websockets.sync.client import connect

TESTS = Path(__file__).parents[1]
SERVERS = ["uvicorn", "fastserve", "fastserve --ws wsproto", "fastserve --ws websockets-sansio"]


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest) -> Iterator[Command]:
    argv = [sys.executable, "-m", *request.param.split(), "compat.apps.subclasses_app:app", "--port", "0"]
    process = Command(argv, cwd=TESTS)
    process.wait_line("running on")
    yield process
    process.close()


def test_http(server: Command) -> None:
    response = httpx.get(server.url, trust_env=False, timeout=PATIENCE)
    assert (response.status_code, response.headers["x-seen"], response.content) == (201, "yes", b"hello")


def test_websocket(server: Command) -> None:
    url = server.url.replace("http", "ws", 1)
    options: Any = {"open_timeout": PATIENCE, "close_timeout": PATIENCE, "proxy": None}
    with connect(url, subprotocols=["chat"], **options) as websocket:  # type: ignore[list-item]
        assert websocket.response is not None
        assert (websocket.subprotocol, websocket.response.headers["x-seen"]) == ("chat", "yes")
        assert [websocket.recv(PATIENCE) for _ in range(2)] == ["hello", b"hello"]
        with pytest.raises(ConnectionClosedError) as closed:
            websocket.recv(PATIENCE)
    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4001, "left")
