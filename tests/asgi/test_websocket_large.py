"""The rest of a large message, received straight into its place."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from core.frames import BINARY, FIN, TEXT, binary, frame, text
from support import Serve
from ws import Socket, close, closing, echo

SIZES = (65_535, 131_071, 131_072, 262_144, 1_000_003, 5_000_000)


@pytest.fixture
def client(serve: Serve) -> Iterator[Socket]:
    with Socket(serve(echo, ws_max_size=6_000_000).connect()) as client:
        client.open("/")
        yield client


@pytest.mark.parametrize("size", SIZES)
def test_messages_come_back(client: Socket, size: int) -> None:
    """Whole, one after another, and with the next message in the same packet as the end of the one before."""
    payload = random.Random(size).randbytes(size)
    client.send(binary(payload) + binary(b"next"))
    assert client.frame() == (BINARY, payload)
    assert client.frame() == (BINARY, b"next")
    client.send(frame(BINARY, payload[:70_000]) + frame(FIN, payload[70_000:]))
    assert client.frame() == (BINARY, payload)


@pytest.mark.parametrize("size", SIZES)
def test_texts(client: Socket, size: int) -> None:
    payload = ("aä€😀" * (size // 10 + 1)).encode()[: size // 10 * 10]
    client.send(text(payload))
    assert client.frame() == (TEXT, payload)


def test_text_that_is_none_is_refused_where_it_goes_wrong(client: Socket) -> None:
    client.send(frame(FIN | TEXT, b"a" * 3_000_000 + b"\xff", announced=5_000_000))
    assert client.frame() == closing(1007, "text is not UTF-8")


def test_a_client_that_ends_within_a_message(client: Socket) -> None:
    client.send(frame(FIN | BINARY, bytes(3_000_000), announced=5_000_000))
    client.end()
    assert client.rest() == b""


def test_close_behind_a_message(client: Socket) -> None:
    client.send(binary(bytes(2_000_000)))
    assert client.frame() == (BINARY, bytes(2_000_000))
    client.send(close())
    assert client.frames() == [closing(1000)]
