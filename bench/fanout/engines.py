"""python -m bench.fanout.engines: processor time of a message between processes, through a directory and through Redis.

A process publishes; this one receives, by three nodes of a directory, and by one node over Redis (redis-server). The
time that a message takes is that of one at a time, with a pause before each.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import uvloop

from bench.fanout.__main__ import redis
from fastserve._core.topics.message import Message
from fastserve.topics.engines import engine_at
from fastserve.topics.node import MAX_SIZE, Node
from fastserve.topics.redis import RedisEngine

MESSAGES = 30_000
T = TypeVar("T")
TIMED = 2_000  # of which the time is taken
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
            topics.publish("room", f"{time.monotonic_ns():<128}")
            if number % int(sys.argv[3]) == 0:
                await asyncio.sleep(0.001)
        return (time.process_time() - began) / count * 1e6
    print(asyncio.run_coroutine_threadsafe(publish(), loop).result())
"""


class Counting(Node):
    """A node that notes when it has received everything, and how long each message took."""

    expected: int

    def receive(self, message: Message, exclude: str | None) -> None:
        super().receive(message, exclude)
        self.expected -= 1
        if self.expected < self.timed:
            self.times.append((time.monotonic_ns() - int(message.text)) / 1e3)
        if self.expected == 0:
            self.everything.set()

    def without_subscribers(self) -> None:
        """Have Redis send messages that have no subscriber here, as it does until it has been told."""
        assert isinstance(self.engine, RedisEngine) and self.engine._channels is not None
        pushed = self.engine._channels.pushed

        def count(reply: list[Any]) -> None:
            pushed(reply)
            self.expected -= reply[0] == b"message"
            if self.expected == 0:
                self.everything.set()

        self.engine._channels.pushed = count
        self.engine._channels.tell("SUBSCRIBE", "fastserve:room")

    def expect(self, messages: int, timed: bool) -> None:
        self.expected, self.timed = messages, messages if timed else 0
        self.times: list[float] = []
        self.everything = asyncio.Event()


async def receive(
    url: str, nodes: int, subscribers: int, burst: int, messages: int = MESSAGES
) -> tuple[float, float, float]:
    """Return microseconds of the publisher a message, of this process a message that a node has received, and p50.

    p50 is of the time that a message takes to a node, 0 where there is more than one in a turn.
    """
    loop = asyncio.get_running_loop()
    made = [Counting(loop, engine_at(url, MAX_SIZE, "fastserve:")) for _ in range(nodes)]
    for node in made:
        node.expect(messages, burst == 1)
        await node.started()
        for _ in range(subscribers):
            node.hub.listen("room", lambda message, exclude: None)
        await node.carried(["room"])
        if not subscribers:
            node.without_subscribers()
        node.hub.listen("ready", lambda message, exclude: None)
    argv = [sys.executable, "-c", PUBLISHER, url, str(messages), str(burst)]
    publisher = await asyncio.create_subprocess_exec(*argv, stdout=subprocess.PIPE)
    began = time.process_time()
    await asyncio.wait_for(asyncio.gather(*(node.everything.wait() for node in made)), 300)
    spent = time.process_time() - began
    told, _ = await publisher.communicate()
    for node in made:
        await node.stop()
    times = sorted(each for node in made for each in node.times)
    return float(told), spent / (nodes * messages) * 1e6, times[len(times) // 2] if times else 0


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run it in the loop that a server has."""
    with contextlib.closing(uvloop.new_event_loop()) as loop:
        return loop.run_until_complete(work)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.fanout.engines", description=__doc__)
    parser.add_argument("--burst", type=int, default=20, help="messages after which the publisher gives way")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        url = f"unix:{Path(folder, 'd')}"
        published, received, _ = run(receive(url, 3, 1, given.burst))
        _, _, median = run(receive(url, 1, 1, 1, TIMED))
        print(f"directory: {published:.1f} us to publish to 3, {received:.1f} us to receive, p50 {median:.0f} us")
        with redis(folder) as path:
            url = f"redis+unix://{path}"
            published, received, _ = run(receive(url, 1, 1, given.burst))
            _, alone, _ = run(receive(url, 1, 0, given.burst))
            print(f"Redis: {published:.1f} us to publish, {received:.1f} us to receive, {alone:.1f} us for nobody here")


if __name__ == "__main__":
    main()
