"""Many clients over real sockets: some that never read, some that come and go; nothing is lost silently."""

from __future__ import annotations

import asyncio
import random
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import support
import trustme
from topics.clients import Chat, opened
from topics.rooms import app
from topics.test_memory import about
from websockets.asyncio.client import connect

from fastserve import topics
from fastserve.topics import node


def test_clients_that_never_read(serve: support.Serve) -> None:
    """5 of 50 do not read, with each policy: the others get everything, and what waits is bounded."""
    running = serve(app, topics_queue=10, topics_queue_size="100K")
    slow: list[socket.socket] = []
    for policy in ("close", "oldest", "latest", "close", "oldest"):
        chat = Chat(running, f"/ws/room?slow={policy}&gap=GAP")
        chat.hear()
        slow.append(chat.socket.sock)
    chats = [Chat(running, "/ws/room") for _ in range(45)]
    for chat in chats:
        chat.hear()
    [hub] = [each.hub for each in node.nodes.values() if not each.loop.is_closed()]
    text = "x" * 20_000
    for number in range(100):
        chats[0].say(f"{number} {text}")
        for chat in chats:
            assert chat.hear() == f"{number} {text}"
        assert hub.queued_size <= 5 * 110_000
    while hub.closed < 2 or about(running, "room")["count"] > 48:
        pass
    found = topics.metrics()
    assert (found["topics"], found["closed"], found["published"]) == (1, 2, 100)
    assert found["delivered"] > 4500
    assert found["dropped"] > 0
    assert found["gaps"] > 0
    heard = hear_to_the_end(opened[1], f"99 {text}")  # oldest
    assert heard[-1] == f"99 {text}"
    assert "GAP" in heard
    numbers = [int(each.split()[0]) for each in heard if each != "GAP"]
    assert numbers == sorted(set(numbers))
    heard = hear_to_the_end(opened[2], f"99 {text}")  # latest
    assert heard[-1] == f"99 {text}"
    assert len(heard) < 100


def hear_to_the_end(connection: Any, last: str) -> list[str]:
    heard: list[str] = []
    while not heard or heard[-1] != last:
        heard.append(connection.frame()[1].decode())
    return heard


def test_sequences_of_clients_that_come_and_go(connected: Callable[..., Any]) -> None:
    """3 publishers number their messages; 30 clients leave and return with their positions: none misses one."""
    servers = connected()
    total = 60
    dice = random.Random(5)

    async def publish(name: int) -> None:
        port = servers[name % 2].port
        async with connect(f"ws://127.0.0.1:{port}/ws/room?history=1000", max_queue=None) as ws:
            await ws.recv()
            for number in range(total):
                await ws.send(f"{name} {number}")
                await asyncio.sleep(dice.random() / 100)
            await done.wait()

    async def follow(name: int) -> None:
        import json

        since = ""
        heard: list[str] = []
        while len(heard) < 3 * total:
            port = servers[name % 2].port
            url = f"ws://127.0.0.1:{port}/ws/room?format=json&gap=GAP&quiet=1&since={since or 'none:0'}"
            async with connect(url) as ws:
                if not since:
                    assert await ws.recv() == "GAP"
                for _ in range(dice.randint(1, 2 * total)):
                    message = json.loads(await ws.recv())
                    since = message["id"]
                    heard.append(message["data"])
                    if len(heard) == 3 * total:
                        break
        for publisher in range(3):
            own = [each for each in heard if each.startswith(f"{publisher} ")]
            assert own == [f"{publisher} {number}" for number in range(total)]

    async def main() -> None:
        publishers = [asyncio.ensure_future(publish(name)) for name in range(3)]
        try:
            await asyncio.gather(*(follow(name) for name in range(30)))
        finally:
            done.set()
            await asyncio.gather(*publishers)

    done = asyncio.Event()
    asyncio.run(asyncio.wait_for(main(), support.PATIENCE))


@pytest.mark.parametrize("ws", ["auto", "websockets", "wsproto"])
def test_over_tls_and_deflated(serve: support.Serve, ws: str, tmp_path: Path) -> None:
    """A real client's one inflater reads shared frames and its own."""
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "cert.pem"))
    running = serve(app, ws=ws, ssl_certfile=str(tmp_path / "cert.pem"))
    context = ssl.create_default_context()
    authority.configure_trust(context)

    async def main() -> None:
        url = f"wss://127.0.0.1:{running.port}/ws/room"
        async with connect(url, ssl=context) as one, connect(url, ssl=context) as two:
            await one.recv()
            await two.recv()
            for number in range(20):
                text = f"{number} " * 500
                await (one, two)[number % 2].send(text)
                assert [await one.recv(), await two.recv()] == [text, text]
        for client in (one, two):
            client.transport.close()  # that of Python 3.10 warns otherwise, although the connection has ended

    asyncio.run(asyncio.wait_for(main(), support.PATIENCE))
