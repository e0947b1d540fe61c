"""Django Channels: its consumers call receive and send by asgiref's async_to_sync."""

from __future__ import annotations

import httpx
import httpx_ws
import pytest
from support import PATIENCE, Command

from .conftest import Start


@pytest.fixture(scope="module")
def server(start: Start) -> Command:
    return start("channels_app:application")


@pytest.mark.parametrize("kind", ["threaded", "async"])
def test_websocket_consumers(server: Command, kind: str) -> None:
    session: httpx_ws.WebSocketSession
    with httpx.Client(timeout=PATIENCE) as client, httpx_ws.connect_ws(f"{server.url}/{kind}", client) as session:
        for number in range(3):
            session.send_text(str(number))
            assert session.receive_text(timeout=60) == f"{kind} {number}"


def test_http_consumer(client: httpx.Client) -> None:
    assert client.post("/", content=b"body").text == "took body"
