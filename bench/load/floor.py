"""The floor: a bare uvloop protocol that answers with one fixed bytes object, so what no Python server can be below.

`python -m bench.load.floor ROW [CERTIFICATE KEY]` serves the answer of a row on a free port until SIGTERM.
"""

from __future__ import annotations

import asyncio
import signal
import ssl
import sys

import uvloop

from bench.load.rows import ROWS, Floor


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


async def serve(floor: Floor, tls: ssl.SSLContext | None) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    server = await loop.create_server(lambda: Protocol(floor), "127.0.0.1", 0, backlog=2048, ssl=tls)
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
    uvloop.run(serve(row.floor, tls))


if __name__ == "__main__":
    main()
