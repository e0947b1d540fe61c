"""The options of topics, each by its name."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
import support
from topics.clients import Chat, post
from topics.own_engine import Own
from topics.rooms import app

from fastserve import topics
from fastserve.topics import node


def test_topics(serve: support.Serve) -> None:
    """module:Class is an engine; it starts with the server, and stops after it."""
    running = serve(app, topics="topics.own_engine:Own")
    own = Own.made
    assert own.calls == ["start"]
    chat = Chat(running, "/ws/room?since=e:0")
    assert chat.hear() == "old"
    assert chat.hear_json()["position"] == "e:1"
    chat.say("new")
    assert chat.hear() == "new"
    chat.leave()
    running.stop()
    publish = ("publish", "room", None)
    assert own.calls == ["start", ("subscribe", "room"), publish, ("unsubscribe", "room"), "stop"]


def test_topics_that_is_not_there() -> None:
    with pytest.raises(RuntimeError) as caught:
        support.serve(app, topics="topics.own_engine:Nothing")
    assert isinstance(caught.value.__cause__, SystemExit)
    assert caught.value.__cause__.code == 3


def test_what_is_required(serve: support.Serve, log: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    """A server starts with an engine that has it, and ends with a line where it has not."""
    monkeypatch.setattr(node, "required", set())
    topics.require("history", "presence")
    serve(app)
    topics.require("hosts")
    with pytest.raises(RuntimeError) as caught:
        serve(app)
    assert isinstance(caught.value.__cause__, SystemExit)
    assert caught.value.__cause__.code == 3
    assert "ERROR topics: MemoryEngine has no hosts" in log()
    with pytest.raises(RuntimeError):
        serve(app, topics="topics.own_engine:Own")
    assert "ERROR topics: Own has no hosts and no presence" in log()
    with pytest.raises(topics.Unsupported):
        asyncio.run(topics.count("room"))
    with pytest.raises(ValueError, match="expected history, presence, processes, hosts, not 'x'"):
        topics.require("x")


def test_what_is_required_too_late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node, "required", set())

    async def late() -> None:
        await topics.count("room")
        topics.require("hosts")

    with pytest.raises(topics.Unsupported, match="MemoryEngine has no hosts"):
        asyncio.run(late())


def hub(running: support.Running) -> Any:
    [found] = [each.hub for each in node.nodes.values() if not each.loop.is_closed()]
    return found


def test_topics_queue(serve: support.Serve) -> None:
    assert hub(serve(app, topics_queue=5)).queue == 5


def test_topics_queue_size(serve: support.Serve) -> None:
    assert hub(serve(app, topics_queue_size="5K")).queue_size == 5120


def test_topics_max_size(serve: support.Serve) -> None:
    rooms = serve(app, topics_max_size=10)
    assert b" 500 " in post(rooms, "/publish/room?text=12345678901", "")
    assert b" 200 " in post(rooms, "/publish/room?text=1234567890", "")
