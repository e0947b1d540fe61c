"""The layer for Django Channels: its interface, as Channels specifies it, and a consumer on two workers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import support
from channels.exceptions import ChannelFull  # type: ignore[import-untyped,unused-ignore]
from support import PATIENCE
from topics.clients import Chat

from fastserve import topics
from fastserve.topics.channels import TopicsLayer

TESTS = Path(__file__).parent.parent
MESSAGE = {"type": "test.message", "text": "Ahoy-hoy!"}


def run(work: Callable[[TopicsLayer], Coroutine[Any, Any, None]], **options: Any) -> None:
    asyncio.run(asyncio.wait_for(work(TopicsLayer(**options)), PATIENCE))


def test_send_and_receive() -> None:
    async def work(layer: TopicsLayer) -> None:
        await layer.send("test-channel-1", MESSAGE)
        assert await layer.receive("test-channel-1") == MESSAGE
        everything = {"type": "x", "bytes": b"\0\xff", "list": [1, None, {"a": 1.5}], "text": "grün"}
        await layer.send("test-channel-1", everything)
        assert await layer.receive("test-channel-1") == everything

    run(work)


def test_capacity() -> None:
    async def work(layer: TopicsLayer) -> None:
        for _ in range(3):
            await layer.send("test-channel-1", MESSAGE)
        with pytest.raises(ChannelFull):
            await layer.send("test-channel-1", MESSAGE)
        for _ in range(5):
            await layer.send("http.request", MESSAGE)

    run(work, capacity=3, channel_capacity={"http.*": 5})


def test_a_channel_of_this_process() -> None:
    async def work(layer: TopicsLayer) -> None:
        name = await layer.new_channel()
        receiving = asyncio.ensure_future(layer.receive(name))
        await asyncio.sleep(0)
        await layer.send(name, MESSAGE)
        assert await receiving == MESSAGE
        early = await layer.new_channel()
        await layer.send(early, MESSAGE)  # before anybody receives
        assert await layer.receive(early) == MESSAGE

    run(work)


def test_several_that_receive() -> None:
    """Each message goes to one of them; one that is cancelled loses none."""

    async def work(layer: TopicsLayer) -> None:
        waiting = [asyncio.ensure_future(layer.receive("a")) for _ in range(3)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        await layer.send("a", {"n": 1})
        await layer.send("a", {"n": 2})
        assert sorted([(await each)["n"] for each in waiting[1:]]) == [1, 2]

    run(work)


def test_groups() -> None:
    async def work(layer: TopicsLayer) -> None:
        names = [await layer.new_channel(prefix=f"test-gr-chan-{number}") for number in range(3)]
        for name in names:
            await layer.group_add("test-group", name)
        await layer.group_add("other", names[0])
        await layer.group_discard("test-group", names[1])
        await layer.group_discard("test-group", "never.there")
        await layer.group_send("test-group", MESSAGE)
        got = [await layer.receive(name) for name in (names[0], names[2])]
        assert got == [MESSAGE, MESSAGE]
        assert got[0] is not got[1]
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(layer.receive(names[1]), 0.01)
        await layer.group_send("other", {"n": 1})
        assert await layer.receive(names[0]) == {"n": 1}

    run(work)


def test_a_full_channel_of_a_group() -> None:
    """It loses messages, with a line in the log, and the others of the group do not."""

    async def work(layer: TopicsLayer) -> None:
        full, well = await layer.new_channel(), await layer.new_channel()
        await layer.group_add("group", full)
        await layer.group_add("group", well)
        for number in range(4):
            await layer.group_send("group", {"n": number})
            assert await layer.receive(well) == {"n": number}
        assert [(await layer.receive(full))["n"] for _ in range(2)] == [0, 1]

    run(work, capacity=2)


def test_what_is_old_is_dropped() -> None:
    async def work(layer: TopicsLayer) -> None:
        await layer.send("a", MESSAGE)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(layer.receive("a"), 0.01)

    run(work, expiry=0)


def test_what_nobody_reads_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("fastserve.topics.channels.time", SimpleNamespace(monotonic=lambda: now[0]))

    async def work(layer: TopicsLayer) -> None:
        await layer.send("a", MESSAGE)
        now[0] = 59
        await layer.send("b", MESSAGE)
        assert await topics.count("channels:channel:a") == 1
        now[0] = 70
        await layer.send("b", MESSAGE)
        assert await topics.count("channels:channel:a") == 0
        assert await topics.count("channels:channel:b") == 1

    run(work)


def test_flush() -> None:
    async def work(layer: TopicsLayer) -> None:
        await layer.send("a", MESSAGE)
        await layer.group_add("group", "b")
        await layer.flush()
        await layer.group_send("group", MESSAGE)
        for name in "ab":
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(layer.receive(name), 0.01)
        await layer.close()

    run(work)


@pytest.mark.parametrize("name", ["a b", "x" * 101, "", 5, "¯\\_(ツ)_/¯"])
def test_names(name: Any) -> None:
    async def work(layer: TopicsLayer) -> None:
        for call in (layer.send(name, MESSAGE), layer.receive(name), layer.group_send(name, MESSAGE)):
            with pytest.raises(TypeError):
                await call

    run(work)


def test_what_json_does_not_have() -> None:
    async def work(layer: TopicsLayer) -> None:
        with pytest.raises(TypeError, match="cannot have a set"):
            await layer.send("a", {"x": {1}})

    run(work)


@pytest.mark.slow
def test_consumers_on_two_workers(command: support.StartCommand) -> None:
    server = command(
        "topics.channels_app:app", "--app-dir", str(TESTS), "--port", "0", "--lifespan", "off", "--workers", "2"
    )
    chats: dict[int, Chat] = {}
    while len(chats) < 2:
        chat = Chat(server, "/")
        chats.setdefault(chat.hear_json()["pid"], chat)
    for words in ("one", "two"):
        for chat in chats.values():
            chat.say(json.dumps({"say": words}))
            assert [each.hear_json() for each in chats.values()] == [{"said": words}] * 2
