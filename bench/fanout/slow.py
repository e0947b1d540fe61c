"""python -m bench.fanout.slow: of 205 clients 5 never read, with each policy; what the others and the memory see of it.

A publisher sends 4 KiB ten times a second. For each policy there is a server of its own: first all read, then five more
join that do not.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from bench.fanout.soak import HANDSHAKE, message
from fastserve import topics

PAUSE = 0.1
SIZE = 4096


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Subscribe a WebSocket with the policy that its query names; publish what a client sends."""
    await receive()
    await send({"type": "websocket.accept"})
    await topics.subscribe(send, "room", slow=os.environ["FANOUT_SLOW"], gap="GAP")
    await send({"type": "websocket.send", "text": "ready"})
    while (got := await receive())["type"] != "websocket.disconnect":
        topics.publish("room", got["text"])


class Crowd:
    def __init__(self, address: tuple[str, int]) -> None:
        self.address = address
        self.times: list[float] = []

    async def join(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection(*self.address)
        writer.write(HANDSHAKE.format("").encode())
        await reader.readuntil(b"\r\n\r\n")
        assert await message(reader) == "ready"
        return reader, writer

    async def follow(self, reader: asyncio.StreamReader) -> None:
        while True:
            sent = float((await message(reader)).split()[0])
            self.times.append((time.monotonic() - sent) * 1e3)

    async def publish(self, writer: asyncio.StreamWriter, seconds: float) -> str:
        """Publish for a while; return what the readers saw."""
        self.times.clear()
        rounds = int(seconds / PAUSE)
        for _ in range(rounds):
            text = f"{time.monotonic()} ".encode().ljust(SIZE, b"x")
            writer.write(b"\x81\xfe" + SIZE.to_bytes(2, "big") + bytes(4) + text)
            await asyncio.sleep(PAUSE)
        await asyncio.sleep(1)
        times = sorted(self.times)
        median, high = times[len(times) // 2], times[-len(times) // 100]
        return f"{len(times) / rounds:.0f} got each, p50 {median:.1f} ms, p99 {high:.1f} ms"

    async def run(self, clients: int, seconds: float, pid: int) -> None:
        joined = [await self.join() for _ in range(clients)]
        following = [asyncio.ensure_future(self.follow(reader)) for reader, _ in joined]
        await self.publish(joined[0][1], 2)
        print(f"  all read:         {await self.publish(joined[0][1], seconds)}; {resident(pid)} KB", flush=True)
        slow = []
        for _ in range(5):
            sock = socket.create_connection(self.address)
            sock.sendall(HANDSHAKE.format("").encode())
            slow.append(sock)
        print(f"  5 do not:         {await self.publish(joined[0][1], seconds)}; {resident(pid)} KB", flush=True)
        print(f"  the same, later:  {await self.publish(joined[0][1], seconds)}; {resident(pid)} KB", flush=True)
        assert not any(each.done() for each in following)
        for each in following:
            each.cancel()


def resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.fanout.slow", description=__doc__)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=8, help="of each of three parts, for each policy")
    given = parser.parse_args()
    for policy in ("close", "oldest", "latest"):
        print(f"{policy}:", flush=True)
        with socket.create_server(("127.0.0.1", 0), backlog=2048) as sock:
            argv = [sys.executable, "-m", "fastserve", "bench.fanout.slow:app", "--fd", str(sock.fileno())]
            argv += [
                "--topics-queue",
                "20",
                "--ws-ping-interval",
                "1000",
                "--log-level",
                "warning",
                "--lifespan",
                "off",
            ]
            environment = os.environ | {"FANOUT_SLOW": policy}
            with subprocess.Popen(argv, pass_fds=[sock.fileno()], env=environment) as server:
                try:
                    asyncio.run(Crowd(sock.getsockname()).run(given.clients, given.seconds, server.pid))
                finally:
                    server.kill()


if __name__ == "__main__":
    main()
