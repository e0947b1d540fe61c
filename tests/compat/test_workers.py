"""Real applications on two workers: each of them serves all of it, and replacing them costs no request."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest
from compat.conftest import TIMEOUT, Start
from supervisors.clients import Visitors, ready, replace_workers, stopped
from support import Command
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

Check = Callable[[httpx.Client], None]

SERVICE_RESTART = 1012


def fastapi(client: httpx.Client) -> None:
    item = {"name": "cup", "price": 1.5, "tags": ["blue"]}
    assert client.get("/").json() == {"hello": "world"}
    assert client.post("/items", json=item).json() == item
    assert client.post("/items", json={"name": "cup", "price": -1}).status_code == 422


def django(client: httpx.Client) -> None:
    assert client.get("/").text == "hello from a view in a thread"
    assert client.post("/json/", json={"a": [1]}).json() == {"took": {"a": [1]}}
    assert client.get("/stream/").text.count("\n") == 500


def flask(client: httpx.Client) -> None:
    assert client.get("/").text == "hello from Flask"
    assert client.post("/form", data={"a": "\xe4", "b": "2"}).json() == {"a": "\xe4", "b": "2"}


APPS = [
    ("fastapi_app:app", "asgi3", fastapi),
    ("django_app:application", "asgi3", django),
    ("flask_app:app", "wsgi", flask),
]


def new_client(server: Command) -> httpx.Client:
    return httpx.Client(base_url=server.url, timeout=TIMEOUT, trust_env=False)


def start_workers(start: Start, app: str, *options: str) -> Command:
    patient = ("--timeout-worker-healthcheck", "60")  # with workers that a test has stopped
    return start(app, "--workers", "2", "--log-level", "debug", "--no-access-log", *patient, *options)


def assert_clean_stop(server: Command) -> None:
    assert server.stop() == 0
    assert [line for line in server.lines if line.startswith(("ERROR", "WARNING"))] == []


@pytest.mark.parametrize(("app", "interface", "check"), APPS)
def test_application(start: Start, app: str, interface: str, check: Check) -> None:
    server = start_workers(start, app, "--interface", interface)
    pids = ready(server, 2)
    for sleeper in pids:
        with stopped(sleeper), new_client(server) as client:  # the other one responds
            check(client)
    with Visitors(lambda: new_client(server), check) as visitors:
        replace_workers(server, pids)
        visitors.wait(3)
    assert visitors.failures == []
    assert_clean_stop(server)


def opened(server: Command) -> ClientConnection:
    return connect(f"{server.url.replace('http', 'ws')}/echo", proxy=None, open_timeout=TIMEOUT)


def echoes(client: ClientConnection) -> None:
    for message in ("text", b"bytes", "\xe4" * 40_000):
        client.send(message)
        assert client.recv(TIMEOUT) == message


def test_websockets(start: Start) -> None:
    """Those of a worker that is replaced are told to come again, and can do so at once."""
    server = start_workers(start, "websocket_app:app", "--timeout-keep-alive", "1")  # so long they stay
    pids = ready(server, 2)
    for sleeper in pids:
        with stopped(sleeper), opened(server) as client:
            echoes(client)

    def visit(client: ClientConnection) -> None:
        try:
            echoes(client)
        except ConnectionClosed as exc:
            told.append(0 if exc.rcvd is None else exc.rcvd.code)
            with opened(server) as another:
                echoes(another)

    told: list[int] = []
    with Visitors(lambda: opened(server), visit) as visitors:
        replace_workers(server, pids)
        visitors.wait(3)
    assert visitors.failures == []
    assert len(told) >= 3
    assert set(told) == {SERVICE_RESTART}
    assert_clean_stop(server)
