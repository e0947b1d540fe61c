"""Tasks that the loop makes, as under uvicorn: with a task factory, and in debug mode."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Callable
from typing import Any

import pytest
import support
from core.responses import Client
from fakes.worker import get, respond
from protocols import PROTOCOLS

LOOPS = ["asyncio", "uvloop"]


@pytest.fixture(params=PROTOCOLS)
def http(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Factory:
    """A task factory that keeps what it has made; asyncio gives it no options, uvloop some."""

    def __init__(self) -> None:
        self.made: list[Any] = []

    def __call__(self, loop: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = asyncio.Task(coro, loop=loop, **options)
        self.made.append(task)
        return task


def prepared(prepare: Callable[[asyncio.AbstractEventLoop], object], answer: Callable[[], Any]) -> Any:
    """An application whose lifespan prepares the loop, and that responds with what `answer()` returns, in JSON."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await receive()
            prepare(asyncio.get_running_loop())
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
        else:
            await respond(send, json.dumps(answer()).encode())

    return app


@pytest.mark.parametrize("loop", LOOPS)
def test_a_factory_set_in_the_lifespan(serve: support.Serve, loop: str) -> None:
    factory = Factory()
    app = prepared(lambda loop: loop.set_task_factory(factory), lambda: factory.made.index(asyncio.current_task()))
    running = serve(app, loop=loop, lifespan="on")
    client = Client(running.connect())
    numbers = [json.loads(client.ask(get()).body) for _ in range(3)]
    assert len(set(numbers)) == 3
    running.stop()
    factory.made.clear()


@pytest.mark.parametrize("loop", LOOPS)
def test_debug_mode_names_the_slow_task(
    serve: support.Serve, caplog: pytest.LogCaptureFixture, http: str, loop: str
) -> None:
    def be_slow() -> None:
        asyncio.get_running_loop().slow_callback_duration = 0

    caplog.set_level(logging.WARNING, logger="asyncio")
    running = serve(prepared(lambda loop: loop.set_debug(True), be_slow), loop=loop, lifespan="on")
    assert running.fetch()[0] == 200
    running.stop()
    name = "HttpExchange.run" if http == "h11" else "prepared.<locals>.app"
    assert re.search(rf"Executing <Task .* coro=<{re.escape(name)}\(\) ", caplog.text), caplog.text
