"""The client manager for python-socketio: its own clients on servers that topics connect."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import socketio  # type: ignore[import-untyped,unused-ignore]
import support
from support import PATIENCE
from topics.nodes import run
from topics.socketio_app import make

from fastserve import topics
from fastserve.topics.socketio import TopicsManager

TESTS = Path(__file__).parent.parent


class Client:
    """A client with what it has heard."""

    def __init__(self) -> None:
        self.client = socketio.AsyncClient(reconnection=False)
        self.heard: asyncio.Queue[Any] = asyncio.Queue()
        self.sid = ""
        self.pid = 0
        self.client.on("said", self.heard.put)
        self.client.on("answer", self.heard.put)
        self.client.on("question", lambda _: "yes")
        self.client.on("disconnect", lambda _: self.heard.put_nowait("thrown out"))

    async def hear(self) -> Any:
        return await asyncio.wait_for(self.heard.get(), PATIENCE)


@asynccontextmanager
async def client(port: int) -> AsyncIterator[Client]:
    made = Client()
    await made.client.connect(f"http://127.0.0.1:{port}", transports=["websocket"])
    try:
        found = await made.client.call("enter", "room", timeout=PATIENCE)
        made.sid, made.pid = found["sid"], found["pid"]
        yield made
    finally:
        await made.client.disconnect()


def test_two_servers(serve: support.Serve, folder: Path) -> None:
    servers = [serve(make(), topics=f"unix:{folder}") for _ in range(2)]

    async def work() -> None:
        async with client(servers[0].port) as one, client(servers[0].port) as near, client(servers[1].port) as far:
            for what in ("hello", {"bytes": b"\0\xff"}, ["grün", None]):
                await one.client.emit("say", {"room": "room", "what": what})
                assert [await each.hear() for each in (one, near, far)] == [what] * 3
            await one.client.emit("say", {"room": "room", "what": "not me", "not_me": True})
            assert [await each.hear() for each in (near, far)] == ["not me"] * 2
            await one.client.emit("ask", far.sid)
            assert await one.hear() == "yes"
            await one.client.emit("invite", {"sid": far.sid, "room": "other"})
            await one.client.emit("say", {"room": "other", "what": "you alone"})
            assert await far.hear() == "you alone"
            with topics.connect(f"unix:{folder}"):
                await TopicsManager(write_only=True).emit("said", "from a script", room="room")
                assert [await each.hear() for each in (one, near, far)] == ["from a script"] * 3
            await one.client.emit("throw_out", far.sid)
            assert await far.hear() == "thrown out"
            assert one.heard.empty()

    run(work)


@pytest.mark.slow
def test_two_workers(command: support.StartCommand) -> None:
    args = ("--app-dir", str(TESTS), "--port", "0", "--lifespan", "off", "--workers", "2")
    server = command("topics.socketio_app:app", *args)
    port = server.port

    async def work() -> None:
        async with AsyncExitStack() as stack:
            clients: dict[int, Client] = {}
            while len(clients) < 2:
                made = await stack.enter_async_context(client(port))
                clients.setdefault(made.pid, made)
            for number, each in enumerate(clients.values()):
                await each.client.emit("say", {"room": "room", "what": number})
                assert [await other.hear() for other in clients.values()] == [number] * 2

    run(work)


def test_what_is_too_large() -> None:
    async def work() -> None:
        with pytest.raises(ValueError, match="at most 1048576 bytes"):
            await TopicsManager(write_only=True).emit("said", "x" * (1 << 20))

    run(work)


def test_the_channel_is_a_topic() -> None:
    with pytest.raises(ValueError, match="the name of a topic"):
        TopicsManager("")
