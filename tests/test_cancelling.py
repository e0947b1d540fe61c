"""What is said of requests that are cancelled because serve() was."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import pytest

import fastserve


class Starting(fastserve.Server):
    """A server that sets `listening`, in the loop that it serves in."""

    def __init__(self, config: fastserve.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()


@pytest.mark.parametrize(
    ("timeout", "why"), [(None, "serve() was cancelled"), (0.01, "timeout graceful shutdown exceeded")]
)
def test_no_timeout_is_named_where_there_is_none(log: Callable[[], list[str]], timeout: float | None, why: str) -> None:
    inside = asyncio.Event()
    reasons: list[str] = []

    async def stuck(scope: Any, receive: Any, send: Any) -> None:
        inside.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError as exc:
            reasons.append(str(exc))
            raise

    async def main() -> None:
        options: dict[str, Any] = {"port": 0, "lifespan": "off", "log_config": None}
        server = Starting(fastserve.Config(stuck, timeout_graceful_shutdown=timeout, **options))
        serving = asyncio.ensure_future(server.serve())
        await server.listening.wait()
        _, writer = await asyncio.open_connection(*server.servers[0].sockets[0].getsockname())
        writer.write(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
        await inside.wait()
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving
        writer.close()

    asyncio.run(main())
    assert reasons == [f"Task cancelled, {why}"]
    assert f"ERROR Cancel 1 running task(s), {why}" in log()
