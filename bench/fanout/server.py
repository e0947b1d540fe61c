"""The servers that are compared: each publishes when its control connection says so, and tells its processor time."""

from __future__ import annotations

import asyncio
import ctypes
import functools
import itertools
import os
import random
import socket
import string
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.fanout.libraries import SOCKETIO, made

SENDS = """
#include <sys/socket.h>
int fan_out(const int *fds, int count, const char *data, int size) {
    int done = 0;
    for (int index = 0; index < count; index++) done += send(fds[index], data, size, MSG_NOSIGNAL) == size;
    return done;
}
"""


class Bare:
    """A loop of send(2) in C: what no server can go below."""

    def __init__(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            source, library = Path(folder, "sends.c"), Path(folder, "sends.so")
            source.write_text(SENDS)
            subprocess.run(["gcc", "-O2", "-shared", "-fPIC", "-o", library, source], check=True)
            self.fan_out = ctypes.CDLL(str(library)).fan_out
        self.spent = 0.0

    def send(self, descriptors: ctypes.Array[ctypes.c_int], size: int, counted: bool) -> None:
        data = b"x" * size
        began = time.process_time()
        assert self.fan_out(descriptors, len(descriptors), data, size) == len(descriptors)
        if counted:
            self.spent += time.process_time() - began


@functools.cache
def connected(port: int) -> ctypes.Array[ctypes.c_int]:
    """Return the descriptors of the connections to a port of this process, in the order of their arrival."""
    found = []
    for descriptor in sorted(int(each.name) for each in Path("/proc/self/fd").iterdir()):
        try:
            sock = socket.socket(fileno=os.dup(descriptor))
        except OSError:
            continue  # not a socket, or the descriptor of the directory
        with sock:
            try:
                if sock.getsockname()[1] == port and sock.getpeername():
                    found.append(descriptor)
            except (OSError, IndexError):
                continue
    return (ctypes.c_int * len(found))(*found)


class Application:
    """Opens a WebSocket or a stream for each client, and publishes to all of them as `kind` says."""

    def __init__(self, kind: str, text: str, burst: int) -> None:
        self.kind = kind
        self.text = text
        self.burst = burst
        self.sends: list[Any] = []
        self.numbers = itertools.count()
        self.library = None if kind in ("topics", "each", "stream", "queue", "loop") else made(kind)
        if "socketio" in kind:
            self.text = text[: len(text) - sum(map(len, SOCKETIO))]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        from fastserve import topics

        if self.library is not None:
            await self.library[0](scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            if self.kind == "topics":
                await topics.subscribe(send, "room")
            elif self.kind == "each":
                await topics.subscribe(send, f"room-{len(self.sends)}")
                self.sends.append(send)
            else:
                self.sends.append(send)
            await send({"type": "websocket.send", "text": "ready"})
            while (await receive())["type"] != "websocket.disconnect":
                pass
        elif self.kind == "queue":
            queue: asyncio.Queue[bytes] = asyncio.Queue()
            headers = [(b"content-type", b"text/event-stream")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": b"data: ready\n\n", "more_body": True})
            self.sends.append(queue)
            while True:
                await send({"type": "http.response.body", "body": await queue.get(), "more_body": True})
        elif scope["path"] == "/plain":
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
            await send({"type": "http.response.body", "body": b"ok"})
        elif scope["type"] == "http":
            own = f"of-{next(self.numbers)}"  # whose history is what a client waits for
            await topics.publish_stored(own, "ready", history=1)
            await topics.stream(scope, receive, send, ["room", own], since={own: "x:0"})

    async def publish(self) -> None:
        from fastserve import topics

        for _ in range(self.burst):
            if self.library is not None:
                await self.library[1](self.text)
            elif self.kind == "each":
                for number in range(len(self.sends)):
                    topics.publish(f"room-{number}", self.text)
            elif self.kind == "queue":
                for queue in self.sends:
                    queue.put_nowait(f"data: {self.text}\n\n".encode())
            elif self.kind == "loop":
                for send in self.sends:
                    await send({"type": "websocket.send", "text": self.text})
            else:
                topics.publish("room", self.text)

    async def control(self, reader: asyncio.StreamReader, bare: Bare, port: int, warm: int) -> None:
        rounds, spent, began = 0, 0.0, 0.0
        publishing = False
        while (word := await reader.read(1)) in (b"g", b"f"):
            if publishing and rounds > warm:
                spent += time.process_time() - began  # with all that has followed
            publishing = word == b"g"
            if publishing:
                rounds += 1
                began = time.process_time()
                await self.publish()
            else:
                bare.send(connected(port), int.from_bytes(await reader.readexactly(4), sys.byteorder), rounds > warm)
        if publishing and rounds > warm:
            spent += time.process_time() - began
        print(spent, bare.spent, flush=True)
        os._exit(0)


def serve(server: Any, kind: str, text: str, burst: int, warm: int, deflate: bool) -> None:
    """Serve with `server`, fastserve's or uvicorn's module, on a port of the kernel's choice; print the two ports."""
    application = Application(kind, text, burst)
    bare = Bare()

    class Controlled(server.Server):  # type: ignore[misc]
        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets)
            port = self.servers[0].sockets[0].getsockname()[1]
            control = await asyncio.start_server(
                lambda reader, _: application.control(reader, bare, port, warm), "127.0.0.1", 0
            )
            ports = [port, control.sockets[0].getsockname()[1]]
            print(*ports, flush=True)

    options: dict[str, Any] = {}
    if server.__name__ == "fastserve" and "FANOUT_REDIS" in os.environ:
        options["topics"] = f"redis+unix://{os.environ['FANOUT_REDIS']}"
    config = server.Config(
        application,
        port=0,
        log_level="error",
        access_log=False,
        ws_per_message_deflate=deflate,
        ws_ping_interval=None,  # the receiver does not respond to pings
        lifespan="off",
        **options,
    )
    Controlled(config).run()


def serve_floor(clients: int, size: int, burst: int, warm: int) -> None:
    """Send to as many plain sockets."""
    bare = Bare()
    with (
        socket.create_server(("127.0.0.1", 0), backlog=1024) as listener,
        socket.create_server(("127.0.0.1", 0)) as control,
    ):
        port = listener.getsockname()[1]
        print(port, control.getsockname()[1], flush=True)
        told = control.accept()[0]
        kept = [accepted(listener) for _ in range(clients)]
        rounds, spent = 0, 0.0
        while (word := told.recv(1)) != b"e":
            if word == b"g":
                rounds += 1
                before = bare.spent
                bare.send(connected(port), size * burst, rounds > warm)
                spent += bare.spent - before
            else:
                bare.send(connected(port), int.from_bytes(told.recv(4), sys.byteorder), rounds > warm)
        print(spent, bare.spent - spent, len(kept), flush=True)


def accepted(listener: socket.socket) -> socket.socket:
    sock = listener.accept()[0]
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.recv(65536)
    sock.sendall(b"ready")
    return sock


def main() -> None:
    row, clients, size, burst, warm = sys.argv[1], *map(int, sys.argv[2:6])
    if row == "floor":
        serve_floor(clients, size, burst, warm)
        return
    import importlib

    name, _, kind = row.partition("-")
    text = "".join(random.Random(0).choices(string.ascii_lowercase[:16], k=size - 4))  # deflate halves it
    serve(importlib.import_module(name), kind.removesuffix("-deflate"), text, burst, warm, kind.endswith("-deflate"))


if __name__ == "__main__":
    main()
