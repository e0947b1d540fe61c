"""Messages of a response that ASGI does not allow, and that applications send because uvicorn takes them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from asgi.messages import START, body, sends
from core.responses import Client
from fakes.worker import get
from protocols import WIRES, protocol_of

Connect = Callable[..., Client]
NONE = {"type": "http.response.body", "body": None}


@pytest.fixture(params=WIRES)
def http(request: pytest.FixtureRequest) -> str:
    return protocol_of(request)


def test_a_body_of_none(client: Connect) -> None:
    connected = client(sends(START, NONE))
    for _ in range(2):
        response = connected.ask(get())
        assert (response.body, response.get(b"content-length")) == (b"", b"0")


def test_pieces_of_none(client: Connect) -> None:
    none = {**NONE, "more_body": True}
    connected = client(sends(START, none, body(b"a", True), none, NONE))
    for _ in range(2):
        assert connected.ask(get()).body == b"a"


def test_headers_of_text_in_ascii(client: Connect) -> None:
    headers = [("X-A", b"1"), (b"x-b", "2"), ("Content-Length", "1"), ("Server", "mine"), ("Transfer-Encoding", "x")]
    connected = client(sends({**START, "headers": headers}, body(b"x")))
    for _ in range(2):
        response = connected.ask(get())
        assert (response.get(b"x-a"), response.get(b"x-b"), response.get(b"server")) == (b"1", b"2", b"mine")
        assert (response.body, response.get(b"content-length")) == (b"x", b"1")


def test_white_space_around_the_value_of_a_header(client: Connect) -> None:
    connected = client(sends({**START, "headers": [(b"x-a", b" 1\t"), (b"content-length", b"1")]}, body(b"x")))
    response = connected.ask(get())
    assert (response.status, (response.get(b"x-a") or b"").strip()) == (200, b"1")
