"""The floor: a bare uvloop protocol that responds with one fixed bytes object, so what no Python server can be below.

For a static file it sends that file, which stays open, with one write(2) and one sendfile(2).

`python -m bench.load.floor ROW [CERTIFICATE KEY]` serves the response of a row on a free port until SIGTERM.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import os
import signal
import ssl
import sys
from pathlib import Path

import uvloop

from bench.load import files, frames
from bench.load.rows import ROWS, Echo, Floor


class Protocol(asyncio.Protocol):
    """Answers each read; with `body`, each time that many bytes came after a request's head."""

    def __init__(self, floor: Floor) -> None:
        self.answer = floor.answer
        self.body = floor.body
        self.close = floor.close
        self.missing = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.write = transport.write  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        if self.body:
            if self.missing:
                self.missing -= len(data)
            else:
                self.missing = self.body + data.index(b"\r\n\r\n") + 4 - len(data)
            if self.missing:
                return
        self.write(self.answer)
        if self.close:
            self.transport.close()


class File(asyncio.Protocol):
    """Sends a head and a file for each read."""

    left = 0

    def __init__(self, floor: Floor) -> None:
        self.head = floor.answer
        self.size = len(files.FILES[floor.file])
        self.file = descriptor(floor.file)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.socket = os.dup(transport.get_extra_info("socket").fileno())  # a loop waits for its own for itself

    def connection_lost(self, exc: Exception | None) -> None:
        asyncio.get_running_loop().remove_writer(self.socket)
        os.close(self.socket)

    def data_received(self, data: bytes) -> None:
        os.write(self.socket, self.head)
        self.left = self.size
        self.go_on()

    def go_on(self) -> None:
        try:
            while self.left:
                self.left -= os.sendfile(self.socket, self.file, self.size - self.left, self.left)
        except BlockingIOError:
            asyncio.get_running_loop().add_writer(self.socket, self.go_on)
        else:
            asyncio.get_running_loop().remove_writer(self.socket)


@functools.cache
def descriptor(name: str) -> int:
    """Return an open file of those that the rows have."""
    return os.open(Path(files.directory()) / name, os.O_RDONLY)


class WebSocket(asyncio.Protocol):
    """Answers the handshake, then, each time that as many bytes came as a frame of the row has, with the next echo."""

    def __init__(self, echo: Echo) -> None:
        self.size = len(frames.client_frames(echo, frames.Agreed())[0])
        self.answers = itertools.cycle(frames.server_frames(echo))
        self.missing = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.write = transport.write  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        if not self.missing:
            self.write(frames.answer())
            self.missing = self.size
            return
        self.missing -= len(data)
        if not self.missing:
            self.missing = self.size
            self.write(next(self.answers))


async def serve(floor: Floor, echo: Echo | None, tls: ssl.SSLContext | None) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    kind = File if floor.file else Protocol
    make = functools.partial(WebSocket, echo) if echo else functools.partial(kind, floor)
    server = await loop.create_server(make, "127.0.0.1", 0, backlog=2048, ssl=tls)
    await stop.wait()
    server.close()


def main() -> None:
    row = next(row for row in ROWS if row.name == sys.argv[1])
    if row.floor is None:
        sys.exit(f"row {row.name} has no floor")
    tls = None
    if row.tls:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(*sys.argv[2:])
    uvloop.run(serve(row.floor, row.echo, tls))


if __name__ == "__main__":
    main()
