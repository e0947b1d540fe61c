"""Background tasks of FastAPI that compute in the event loop: only what is sent after them may wait for them."""

from __future__ import annotations

import threading
from typing import Any

import fastapi
import pytest
import support
from core.responses import Client
from fakes.worker import get


@pytest.mark.usefixtures("no_collections")
def test_a_response_waits_once_for_the_background_task_of_its_route(serve: support.Serve) -> None:
    """Whatever its parameters are, and however rarely it is asked for between requests of busy clients."""
    answered: dict[str, threading.Event] = {}
    in_time: list[bool] = []
    app = fastapi.FastAPI()

    @app.get("/")
    async def hello() -> dict[str, Any]:
        return {}

    @app.get("/{name}/items")
    async def read(name: str, tasks: fastapi.BackgroundTasks) -> str:
        tasks.add_task(block, name)
        return name

    async def block(name: str) -> None:
        # Until the client has its response, which one of them may have to wait for.
        in_time.append(answered[name].wait(0.1 if all(in_time) else support.PATIENCE))

    server = serve(app)
    busy = [Client(server.connect()) for _ in range(8)]
    asking = Client(server.connect())
    for number in range(8):
        for _ in range(20):
            for client in busy:
                client.send(get())
            for client in busy:
                assert client.read().body == b"{}"
        name = f"name{number}"
        answered[name] = threading.Event()
        assert asking.ask(get(f"/{name}/items")).body == b'"%s"' % name.encode()
        answered[name].set()
        assert busy[0].ask(get()).body == b"{}"  # the task has ended
    assert len(in_time) == 8
    assert in_time.count(False) <= 1
