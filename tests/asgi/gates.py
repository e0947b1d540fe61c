"""Ways for a test's thread and an application to wait for each other without waiting by the clock."""

from __future__ import annotations

import asyncio
import concurrent.futures
import socket
from collections.abc import Callable
from typing import Any

from core.responses import Client
from fakes.worker import get


class Gate:
    """The application awaits wait() until the test calls open()."""

    def __init__(self) -> None:
        self.future: concurrent.futures.Future[None] = concurrent.futures.Future()

    def open(self) -> None:
        self.future.set_result(None)

    async def wait(self) -> None:
        await asyncio.shield(asyncio.wrap_future(self.future))

    @staticmethod
    async def passed() -> None:
        """Go once around the loop."""
        await asyncio.sleep(0)


def push(sock: socket.socket, barrier: Callable[[], object], limit: int) -> int:
    """Send zeros until the server takes no more, or to `limit`; return how many it took.

    `barrier` asks the server something on another connection: what comes back shows that its loop has gone round.
    """
    timeout = sock.gettimeout()
    sock.setblocking(False)
    accepted, idle, piece = 0, 0, bytes(65536)
    while accepted < limit and idle < 5:
        try:
            accepted += sock.send(piece[: limit - accepted])
            idle = 0
        except BlockingIOError:
            barrier()
            idle += 1
    sock.settimeout(timeout)
    return accepted


def catch_up(running: Any) -> None:
    """Return once the server has dealt with what clients have done so far; its application must respond to /barrier.

    The response alone does not show that: a new connection's first request may run before the end of an older one.
    """
    Client(running.connect()).ask(get("/barrier"))
    running.go_round()
