"""The output buffer, by way of what is put into it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from core.responses import read_one
from fakes.worker import FakeWorker, get, hello

from fastserve._core import counters

Work = Callable[..., FakeWorker]


@pytest.mark.parametrize("size", [0, 1, 9, 10, 15, 16, 255, 256, 4095, 4096, 4097, 65535, 65536, 1 << 20])
def test_lengths_in_decimal_and_hexadecimal(work: Work, size: int) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})
        if scope["path"] == "/chunks":
            await send({"type": "http.response.body", "body": bytes(size), "more_body": True})
        await send({"type": "http.response.body", "body": bytes(size)})

    peer = work(app).connect()
    response = read_one(peer.feed(get()))
    assert (response.get(b"content-length"), response.body) == (b"%d" % size, bytes(size))
    raw = peer.feed(get("/chunks"))
    assert raw.count(b"\r\n%x\r\n" % size) == (2 if size else 1)
    assert read_one(raw).body == bytes(2 * size)


@pytest.mark.parametrize("count", [1, 100, 5000])
def test_it_grows_with_a_head(work: Work, count: int) -> None:
    headers = [(b"name-%d" % number, b"v" * 50) for number in range(count)]
    response = read_one(work(hello(b"x", 200, headers)).connect().feed(get()))
    assert response.headers[:count] == headers


def test_buffers_are_used_again_and_start_empty(work: Work) -> None:
    wire = work(hello(b"short"))
    for _ in range(3):
        peers = [wire.connect() for _ in range(200)]
        for peer in peers:
            peer.put(get())
        wire.settle()
        assert {read_one(peer.take()).body for peer in peers} == {b"short"}
        for peer in peers:
            peer.lose()
    assert counters.live()["buffer"] == 0
