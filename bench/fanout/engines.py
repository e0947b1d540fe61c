"""python -m bench.fanout.engines: processor time of a message between processes, through a directory and through Redis.

A process publishes; this one receives, by three nodes of a directory, and by one node over Redis (redis-server).
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.fanout.__main__ import redis
from fastserve.topics.engines import engine_at
from fastserve.topics.node import MAX_SIZE, Node

MESSAGES = 30_000
BURST = 20  # after which the publisher gives way
PUBLISHER = """
import sys, time
from fastserve import topics
with topics.connect(sys.argv[1]) as connection:
    loop, node, count = connection._loop, connection._node, int(sys.argv[2])
    import asyncio
    async def publish():
        while not await topics.count("ready") if sys.argv[1].startswith("unix") else False:
            await asyncio.sleep(0.01)
        began = time.process_time()
        for number in range(count):
            topics.publish("room", "x" * 128)
            if number % int(sys.argv[3]) == 0:
                await asyncio.sleep(0.001)
        return (time.process_time() - began) / count * 1e6
    print(asyncio.run_coroutine_threadsafe(publish(), loop).result())
"""


async def receive(url: str, nodes: int, subscribers: int) -> tuple[float, float]:
    """Return microseconds of the publisher a message, and of this process a message that a node has received."""
    loop = asyncio.get_running_loop()
    made = [Node(loop, engine_at(url, MAX_SIZE, "fastserve:")) for _ in range(nodes)]
    got = 0
    everything = asyncio.Event()

    def take(message: Any, exclude: int) -> None:
        nonlocal got
        got += message is not None
        if got == nodes * MESSAGES:
            everything.set()

    for node in made:
        await node.started()
        for _ in range(subscribers):
            node.hub.listen("room", take)
        await node.carried(["room"])
        node.hub.listen("ready", take)
    argv = [sys.executable, "-c", PUBLISHER, url, str(MESSAGES), str(BURST)]
    publisher = await asyncio.create_subprocess_exec(*argv, stdout=subprocess.PIPE)
    began = time.process_time()
    await asyncio.wait_for(everything.wait(), 300)
    spent = time.process_time() - began
    told, _ = await publisher.communicate()
    for node in made:
        await node.stop()
    return float(told), spent / (nodes * MESSAGES) * 1e6


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        published, received = asyncio.run(receive(f"unix:{Path(folder, 'd')}", 3, 1))
        print(f"directory: {published:.1f} us to publish to 3, {received:.1f} us for each to receive")
        with redis(folder) as path:
            published, received = asyncio.run(receive(f"redis+unix://{path}", 1, 1))
            print(f"Redis: {published:.1f} us to publish, {received:.1f} us to receive")


if __name__ == "__main__":
    main()
