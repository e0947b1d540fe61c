from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import support
from core.responses import Client
from fakes.worker import TIME
from over_http2 import by_wire, leave_out_what_does_not_apply
from ws import OVER_HTTP1, Clients


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    leave_out_what_does_not_apply(config, items)


@pytest.fixture(autouse=True)
def quick_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server looks ten times as often whether it should stop: most of these tests would wait for that alone."""
    monkeypatch.setattr("fastserve.serving.life.TICK", 0.01)


@pytest.fixture
def http() -> str:
    """The protocol that `serve` and `client` serve with: a test file that has more of them overrides this."""
    return "auto"


@pytest.fixture
def serve(serve: support.Serve, http: str) -> Callable[..., Any]:
    def start(app: object, **config: Any) -> Any:
        wire = config.pop("http", http)
        return by_wire(wire, serve(app, http="auto" if wire == "http2" else wire, **config))

    return start


@pytest.fixture
def log(
    serve: support.Serve, servers: list[support.Running], caplog: pytest.LogCaptureFixture
) -> Iterator[Callable[[], list[str]]]:
    """Return a function that gives the server's warnings and errors so far, as "LEVEL message"."""
    caplog.set_level(logging.WARNING, logger="fastserve")

    def lines() -> list[str]:
        for server in servers:
            server.go_round()
        return [f"{record.levelname} {record.getMessage().strip()}" for record in caplog.records]

    yield lines
    # The tracebacks hold what `serve` is about to look for.
    for record in caplog.get_records("call"):
        record.exc_info = None


@pytest.fixture
def client(serve: support.Serve) -> Callable[..., Client]:
    """Serve an application and connect to it: client(app, **config) -> Client."""

    def connect(app: object, **config: object) -> Client:
        return Client(serve(app, **config).connect())

    return connect


@pytest.fixture(params=[*OVER_HTTP1, "http2"])
def clients(request: pytest.FixtureRequest, serve: support.Serve) -> Iterator[Clients]:
    """Serve applications with each of the implementations of WebSocket, and connect to them.

    That named "h11" is the core's, with HTTP by the implementation over h11; the clients of that named "http2" come
    through a bridge, which makes streams of HTTP/2 of their connections.
    """
    if request.param == "http2":
        clients = Clients(serve, "auto", bridged=True)
    elif request.param == "h11":
        clients = Clients(lambda app, **config: serve(app, **{**config, "http": "h11"}), "auto")
    else:
        clients = Clients(serve, request.param)
    yield clients
    clients.close()


@pytest.fixture
def time_stops() -> Iterator[None]:
    """For the core's clock, but for what the test has go by."""
    TIME.stop()
    yield
    TIME.go_on()
