"""The interface of encode/broadcaster: the same program with that package and with ours."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import broadcaster
import pytest
from support import PATIENCE

from fastserve.topics import broadcast


@pytest.fixture(params=[broadcaster, broadcast], ids=["broadcaster", "ours"])
def module(request: pytest.FixtureRequest) -> Any:
    return request.param


def test_events(module: Any) -> None:
    async def work() -> None:
        async with module.Broadcast("memory://") as broadcasting:
            async with broadcasting.subscribe("room") as one, broadcasting.subscribe("room") as two:
                await broadcasting.publish("other", "nobody hears it")
                for text in ("hello", "again"):
                    await broadcasting.publish("room", text)
                for subscriber in (one, two):
                    event = await subscriber.get()
                    assert (event.channel, event.message) == ("room", "hello")
                    async for found in subscriber:
                        assert found.message == "again"
                        break
            unsubscribed = sys.modules[module.Broadcast.__module__].Unsubscribed
            with pytest.raises(unsubscribed):
                await one.get()

    asyncio.run(asyncio.wait_for(work(), PATIENCE))


def test_a_wait_that_is_cancelled_loses_nothing() -> None:
    async def work() -> None:
        async with broadcast.Broadcast() as broadcasting, broadcasting.subscribe("room") as subscriber:
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(subscriber.get(), 0.01)
            await broadcasting.publish("room", b"x")
            assert await subscriber.get() == broadcast.Event("room", b"x")
            waiting = asyncio.ensure_future(subscriber.get())
            await asyncio.sleep(0)
            await broadcasting.disconnect()
            with pytest.raises(broadcast.Unsubscribed):
                await waiting
            assert [event async for event in subscriber] == []

    asyncio.run(asyncio.wait_for(work(), PATIENCE))
