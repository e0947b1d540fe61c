"""A program that counts, and serves the count over HTTP from its own event loop until it has counted enough."""

import asyncio
import json
import signal
import sys
from typing import Any

import fastserve


class Counter:
    """What the program is really about; the server only shows it."""

    def __init__(self) -> None:
        self.count = 0
        self.enough = asyncio.Event()

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        """An ASGI application: GET shows the count, POST adds one, DELETE ends the program."""
        if scope["type"] != "http":
            return
        self.count += scope["method"] == "POST"
        body = json.dumps({"count": self.count}).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})
        if scope["method"] == "DELETE":
            self.enough.set()


async def main(port: int) -> None:
    counter = Counter()
    # The server takes these signals while it serves, stops, and raises them again for the handlers of before.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    server = fastserve.Server(fastserve.Config(counter.app, port=port, lifespan="off"))
    serving = asyncio.create_task(server.serve())
    # The program ends when it has counted enough, or when the server is told to stop (SIGTERM, Ctrl+C).
    enough = asyncio.create_task(counter.enough.wait())
    await asyncio.wait({serving, enough}, return_when=asyncio.FIRST_COMPLETED)
    server.should_exit = True
    await serving
    print(f"counted to {counter.count}", flush=True)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 8000))
