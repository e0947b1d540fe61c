"""The servers that are compared: each publishes when its control connection says so, and tells its processor time."""

from __future__ import annotations

import asyncio
import ctypes
import os
import socket
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


class Application:
    """Opens a WebSocket or a stream for each client, and publishes to all of them as `kind` says."""

    def __init__(self, kind: str, text: str, burst: int) -> None:
        self.kind = kind
        self.text = text
        self.burst = burst
        self.sends: list[Any] = []
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
        elif scope["type"] == "http":
            own = f"of-{id(scope)}"  # whose history is what a client waits for
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

    async def control(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, warm: int) -> None:
        rounds, began = 0, 0.0
        while (word := await reader.read(1)) == b"g":
            if rounds == warm:
                began = time.process_time()
            rounds += 1
            await self.publish()
        assert word == b"e"
        print(time.process_time() - began, flush=True)
        os._exit(0)


def serve(server: Any, kind: str, clients: int, text: str, burst: int, warm: int) -> None:
    """Serve with `server`, fastserve's or uvicorn's module, on a port of the kernel's choice; print the two ports."""
    application = Application(kind, text, burst)

    class Controlled(server.Server):  # type: ignore[misc]
        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets)
            control = await asyncio.start_server(lambda r, w: application.control(r, w, warm), "127.0.0.1", 0)
            ports = [each.sockets[0].getsockname()[1] for each in (self.servers[0], control)]
            print(*ports, flush=True)

    options: dict[str, Any] = {}
    if server.__name__ == "fastserve" and "FANOUT_REDIS" in os.environ:
        options["topics"] = f"redis+unix://{os.environ['FANOUT_REDIS']}"
    config = server.Config(
        application,
        port=0,
        log_level="error",
        access_log=False,
        ws_per_message_deflate=False,
        ws_ping_interval=None,  # the receiver does not respond to pings
        lifespan="off",
        **options,
    )
    Controlled(config).run()


def serve_floor(clients: int, size: int, burst: int, warm: int) -> None:
    """Send to as many plain sockets, in C: what no server can go below."""
    folder = tempfile.mkdtemp()
    source, library = Path(folder, "sends.c"), Path(folder, "sends.so")
    source.write_text(SENDS)
    subprocess.run(["gcc", "-O2", "-shared", "-fPIC", "-o", library, source], check=True)
    fan_out = ctypes.CDLL(str(library)).fan_out
    with (
        socket.create_server(("127.0.0.1", 0), backlog=1024) as listener,
        socket.create_server(("127.0.0.1", 0)) as control,
    ):
        print(listener.getsockname()[1], control.getsockname()[1], flush=True)
        told = control.accept()[0]
        connected = [accepted(listener) for _ in range(clients)]
        numbers = (ctypes.c_int * clients)(*(each.fileno() for each in connected))
        data, rounds, began = b"x" * size * burst, 0, 0.0
        while told.recv(1) == b"g":
            if rounds == warm:
                began = time.process_time()
            rounds += 1
            assert fan_out(numbers, clients, data, len(data)) == clients
        print(time.process_time() - began, flush=True)


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
    serve(importlib.import_module(name), kind, clients, "x" * (size - 4), burst, warm)


if __name__ == "__main__":
    main()
