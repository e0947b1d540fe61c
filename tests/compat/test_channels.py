"""Django Channels: its consumers call receive and send by asgiref's async_to_sync."""

from __future__ import annotations

import httpx
import pytest
from httpx_ws import connect_ws
from support import Command

from .conftest import Start


@pytest.fixture(scope="module")
def server(start: Start) -> Command:
    return start("channels_app:application")


@pytest.mark.parametrize("kind", ["threaded", "async"])
def test_websocket_consumers(server: Command, kind: str) -> None:
    with httpx.Client() as client, connect_ws(f"{server.url}/{kind}", client) as ws:
        for number in range(3):
            ws.send_text(str(number))
            assert ws.receive_text(timeout=5) == f"{kind} {number}"


def test_http_consumer(client: httpx.Client) -> None:
    assert client.post("/", content=b"body").text == "took body"
