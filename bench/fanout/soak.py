"""python -m bench.fanout.soak: numbered messages to clients that come and go, while what carries them fails.

Three publishers number what a worker has stored for them. Each client leaves and returns at random with the position of
its last message. None may get a message twice, out of order, or miss one without having been told of a gap.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from bench.fanout.__main__ import redis
from fastserve import topics

HANDSHAKE = (
    "GET /?since={} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
RATE = 4  # messages a second of each publisher
STAY = 15.0  # seconds, at most


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Subscribe a WebSocket to the room; store what a request has in its query."""
    query = scope["query_string"].decode()
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        since = query.partition("=")[2] or None
        await topics.subscribe(send, "room", since=since, format="json", gap="GAP")
        await send({"type": "websocket.send", "text": "ready"})
        while (await receive())["type"] != "websocket.disconnect":
            pass
    else:
        try:
            await topics.publish_stored("room", query, history=2000)
            status = 200
        except topics.EngineDown:
            status = 503
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})


class Soak:
    def __init__(self, address: tuple[str, int], clients: int, seconds: float) -> None:
        self.address = address
        self.clients = clients
        self.until = time.monotonic() + seconds
        self.stored: dict[str, set[int]] = {str(name): set() for name in range(3)}
        self.delivered = self.joins = self.gaps = self.missed = self.repeated = self.refused = self.unstored = 0

    async def publish(self, name: str) -> None:
        for number in itertools.count():
            if time.monotonic() > self.until - 5:  # clients get the last ones
                return
            try:
                reader, writer = await asyncio.wait_for(asyncio.open_connection(*self.address), 20)
                writer.write(f"POST /?{name}-{number} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
                response = await asyncio.wait_for(reader.read(), 20)
                writer.close()
            except (OSError, asyncio.TimeoutError):
                response = b""
            if b" 200 " in response[:20]:
                self.stored[name].add(number)
            else:
                self.unstored += 1  # and nobody knows whether it is delivered
            await asyncio.sleep(random.random() * 2 / RATE)

    async def follow(self) -> None:
        since, newest, told = "", dict.fromkeys(self.stored, -1), True
        while time.monotonic() < self.until:
            leave = min(time.monotonic() + random.random() * STAY, self.until)
            try:
                reader, writer = await asyncio.wait_for(asyncio.open_connection(*self.address), 20)
                writer.write(HANDSHAKE.format(since).encode())
                await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)
            except (OSError, asyncio.TimeoutError, asyncio.IncompleteReadError):
                self.refused += 1
                await asyncio.sleep(0.5)
                continue
            self.joins += 1
            with contextlib.suppress(OSError, asyncio.TimeoutError, asyncio.IncompleteReadError):
                while (left := leave - time.monotonic()) > 0:
                    text = await asyncio.wait_for(message(reader), left)
                    if text == "ready":
                        continue
                    if text == "GAP":
                        self.gaps += 1
                        told = True
                    else:
                        since, told = self.take(json.loads(text), newest, told)
            writer.transport.abort()

    def take(self, got: dict[str, str], newest: dict[str, int], told: bool) -> tuple[str, bool]:
        """Check a message against the client's newest of each publisher. A gap holds until each publisher is heard."""
        name, _, text = got["data"].partition("-")
        number = int(text)
        self.delivered += 1
        if number <= newest[name]:
            self.repeated += 1
        elif newest[name] >= 0 and not told:
            self.missed += len(self.stored[name].intersection(range(newest[name] + 1, number)))
        if told:  # what the others have sent before it is in the gap too
            for each in newest:
                newest[each] = -1 if each != name else number
        newest[name] = number
        return got["id"], False

    async def run(self, faults: Callable[[Soak], Awaitable[None]]) -> None:
        work = [self.publish(name) for name in self.stored] + [self.follow() for _ in range(self.clients)]
        await asyncio.gather(*work, faults(self))
        stored = sum(map(len, self.stored.values()))
        print(
            f"  {stored} stored, {self.unstored} not; {self.delivered} delivered to {self.clients} clients"
            f" in {self.joins} stays, {self.refused} not accepted; {self.gaps} gaps told;"
            f" missed untold: {self.missed}, repeated: {self.repeated}",
            flush=True,
        )


async def message(reader: asyncio.StreamReader) -> str:
    head = await reader.readexactly(2)
    size = head[1]
    if size == 126:
        size = int.from_bytes(await reader.readexactly(2), "big")
    body = await reader.readexactly(size)
    if head[0] & 15 == 8:
        raise ConnectionResetError
    return body.decode()


def soak(clients: int, seconds: float, workers: int, url: str | None, faults: Any) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=2048) as sock:
        argv = [sys.executable, "-m", "fastserve", "bench.fanout.soak:app", "--fd", str(sock.fileno())]
        argv += ["--workers", str(workers), "--log-level", "warning", "--no-access-log", "--lifespan", "off"]
        argv += ["--topics", url] if url else []
        with subprocess.Popen(argv, pass_fds=[sock.fileno()]) as server:
            try:
                asyncio.run(Soak(sock.getsockname(), clients, seconds).run(lambda each: faults(each, server)))
            finally:
                server.terminate()


async def none(each: Soak, server: subprocess.Popen[bytes]) -> None:
    pass


async def of_workers(each: Soak, server: subprocess.Popen[bytes]) -> None:
    """Replace all, kill one, freeze one."""
    left = each.until - time.monotonic()
    await asyncio.sleep(left / 5)
    server.send_signal(signal.SIGHUP)
    await asyncio.sleep(left / 5)
    os.kill(random.choice(children(server.pid)), signal.SIGKILL)
    await asyncio.sleep(left / 5)
    hung = random.choice(children(server.pid))
    os.kill(hung, signal.SIGSTOP)
    await asyncio.sleep(3)
    os.kill(hung, signal.SIGCONT)


def children(parent: int) -> list[int]:
    """Return the workers of a server, without what multiprocessing runs beside them."""
    found = [each for path in Path(f"/proc/{parent}/task").glob("*/children") for each in path.read_text().split()]
    return [int(each) for each in found if b"spawn_main" in Path(f"/proc/{each}/cmdline").read_bytes()]


def of_redis(path: str, restart: Callable[[], None], pid: Callable[[], int]) -> Any:
    async def faults(each: Soak, server: subprocess.Popen[bytes]) -> None:
        """Kill its connections, freeze it, restart it empty, replace the workers."""
        left = each.until - time.monotonic()
        await asyncio.sleep(left / 5)
        argv = ["redis-cli", "-s", path, "CLIENT", "KILL", "TYPE", "pubsub"]
        await asyncio.to_thread(subprocess.run, argv, check=True, stdout=subprocess.DEVNULL)
        await asyncio.sleep(left / 5)
        os.kill(pid(), signal.SIGSTOP)
        await asyncio.sleep(7)
        os.kill(pid(), signal.SIGCONT)
        await asyncio.sleep(left / 5 - 7)
        await asyncio.to_thread(restart)
        await asyncio.sleep(left / 8)
        server.send_signal(signal.SIGHUP)

    return faults


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.fanout.soak", description=__doc__)
    parser.add_argument("--clients", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=60, help="of each of the three parts")
    given = parser.parse_args()
    print("one worker, nothing fails:", flush=True)
    soak(given.clients, given.seconds, 1, None, none)
    print("four workers; replaced, one killed, one hung:", flush=True)
    soak(given.clients, given.seconds, 4, None, of_workers)
    print("two workers, Redis; connections killed, frozen, restarted empty, workers replaced:", flush=True)
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        first = stack.enter_context(contextlib.ExitStack())
        path = first.enter_context(redis(folder))

        def restart() -> None:
            first.close()
            Path(path).unlink(missing_ok=True)
            time.sleep(2)
            first.enter_context(redis(folder))

        def pid() -> int:
            found = subprocess.run(
                ["redis-cli", "-s", path, "INFO", "server"], capture_output=True, text=True, check=True
            )
            return int(found.stdout.partition("process_id:")[2].split()[0])

        soak(given.clients, given.seconds, 2, f"redis+unix://{path}", of_redis(path, restart, memoized(pid)))


def memoized(pid: Callable[[], int]) -> Callable[[], int]:
    """Ask once: a frozen server does not tell."""
    known: list[int] = []

    def asked() -> int:
        if not known:
            known.append(pid())
        return known[0]

    return asked


if __name__ == "__main__":
    main()
