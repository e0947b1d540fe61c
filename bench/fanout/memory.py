"""python -m bench.fanout.memory: bytes of Python's memory that a subscription takes.

A connection's first, and each further; the connections are there before. What the core has of malloc is not counted: 8
bytes a subscription in its topic, and from the first message on a ring of 32 bytes a connection.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import tracemalloc
from typing import Any

import fastserve
from fastserve import topics

FURTHER = 10
HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


class Client(asyncio.Protocol):
    """Reads and forgets."""

    def connection_made(self, transport: Any) -> None:
        transport.write(HANDSHAKE)


def used() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


async def measure(clients: int) -> None:
    sends: list[Any] = []
    there = asyncio.Event()

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        sends.append(send)
        if len(sends) == clients:
            there.set()
        while (await receive())["type"] != "websocket.disconnect":
            pass

    server = fastserve.Server(fastserve.Config(application, port=0, lifespan="off", log_level="error"))
    serving = asyncio.ensure_future(server.serve())
    while not server.started:  # noqa: ASYNC110  # its task makes it so
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    loop = asyncio.get_running_loop()
    transports = [(await loop.create_connection(Client, "127.0.0.1", port))[0] for _ in range(clients)]
    await there.wait()
    await topics.subscribe(sends.pop(), "room-0")  # what is made once
    tracemalloc.start()
    sizes = [used()]
    for number in range(FURTHER + 1):
        for send in sends:
            await topics.subscribe(send, f"room-{number}")
        topics.publish(f"room-{number}", "x")
        await asyncio.sleep(0.1)
        sizes.append(used())
    print(f"first: {(sizes[1] - sizes[0]) / len(sends):.0f} bytes")
    print(f"each further: {(sizes[-1] - sizes[1]) / FURTHER / len(sends):.0f} bytes")
    for transport in transports:
        transport.close()
    server.should_exit = True
    await serving


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.fanout.memory", description=__doc__)
    parser.add_argument("--clients", type=int, default=400)
    asyncio.run(measure(parser.parse_args().clients))


if __name__ == "__main__":
    main()
