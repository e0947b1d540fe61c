from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from fakes.worker import FakeWorker, get, post

from fastserve._core import counters

Work = Callable[..., FakeWorker]


def test_nothing_lives() -> None:
    assert counters.live() == {"connection": 0, "exchange": 0, "task": 0, "buffer": 0, "websocket": 0, "subscriber": 0}


def test_each_kind_is_counted(work: Work) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})
        await asyncio.get_running_loop().create_future()

    wire = work(app)
    peers = [wire.connect() for _ in range(3)]
    assert counters.live() == {"connection": 3, "exchange": 0, "task": 0, "buffer": 0, "websocket": 0, "subscriber": 0}
    for peer in peers[:2]:
        peer.feed(post(b"x"))
    # The head that the application has given is held in a buffer.
    assert counters.live() == {"connection": 3, "exchange": 2, "task": 2, "buffer": 2, "websocket": 0, "subscriber": 0}


def test_an_idle_connection_holds_nothing(work: Work) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"x" * 100000, "more_body": True})
        await asyncio.sleep(0)
        await send({"type": "http.response.body"})

    peer = work(app).connect()
    for _ in range(3):
        peer.feed(get())
    assert counters.live() == {"connection": 1, "exchange": 0, "task": 0, "buffer": 0, "websocket": 0, "subscriber": 0}
