from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import support
from core.responses import Client
from over_http2 import by_wire, leave_out_what_does_not_apply


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    leave_out_what_does_not_apply(config, items)


@pytest.fixture(params=["auto", "http2"])
def http(request: pytest.FixtureRequest) -> str:
    wire: str = request.param
    return wire


@pytest.fixture
def start(serve: support.Serve, http: str, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Serve a WSGI application: start(app, **config) -> Running."""
    monkeypatch.setattr("fastserve.server.TICK", 0.01)
    return lambda app, **config: by_wire(http, serve(app, interface="wsgi", **config))


@pytest.fixture
def client(start: Callable[..., support.Running]) -> Callable[..., Client]:
    """Serve a WSGI application and connect to it: client(app, **config) -> Client."""
    return lambda app, **config: Client(start(app, **config).connect())


@pytest.fixture
def log(serve: support.Serve, caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[], list[str]]]:
    """Return a function that gives the server's warnings and errors so far, each with what was raised."""
    caplog.set_level(logging.WARNING, logger="fastserve")

    def line(record: logging.LogRecord) -> str:
        raised = record.exc_info[1] if record.exc_info else None
        what = f" {type(raised).__name__}: {raised}" if raised is not None else ""
        return f"{record.levelname} {record.getMessage().strip()}{what}"

    yield lambda: [line(record) for record in caplog.records]
    for record in caplog.get_records("call"):
        record.exc_info = None


@pytest.fixture
def environ_of(start: Callable[..., support.Running]) -> Callable[..., dict[str, Any]]:
    """Return the environ that a request gives: environ_of(raw request, **config)."""

    def ask(request: bytes, **config: Any) -> dict[str, Any]:
        seen: list[dict[str, Any]] = []

        def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
            seen.append(environ)
            start_response("200 OK", [])
            return []

        assert Client(start(app, **config).connect()).ask(request).status == 200
        return seen[0]

    return ask
