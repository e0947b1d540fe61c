from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import support
from core.responses import Client
from over_http2 import by_wire, leave_out_what_does_not_apply

SAME = "the same code, wherever the application is called"
BODY = "the application is called once the body is complete"
APART = "head and body come in two reads"
WRITE = "what write() is given leaves when the application returns"
# Tests, by the beginning of their node's last parts, that are not run with --wsgi-threads 0, with the reason.
THREADS_ONLY: dict[str, str] = {
    "test_environ.py": SAME,
    "test_head.py": SAME,
    "test_a_response_that_is_complete_at_once_takes_no_task[http2-inline-POST": APART,
    "TestEventfd": "nothing reports to the event loop",
    "test_the_application_is_called_before_the_body_has_come": BODY,
    "test_an_answer_while_the_body_comes": BODY,
    "test_an_answer_without_the_body": BODY,
    "TestExpect": BODY,
    "test_what_the_application_does_not_read_stays_with_the_client": BODY,
    "TestClientThatLeaves": BODY,
    "test_write[": WRITE,
    "test_write_fails_when_the_client_has_left": WRITE,
    "test_an_empty_piece_sends_the_head[inline-True": WRITE,
}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    leave_out_what_does_not_apply(config, items)
    left_out = [item for item in items if is_inline(item) and needs_threads(item)]
    if left_out:
        items[:] = [item for item in items if item not in left_out]
        config.hook.pytest_deselected(items=left_out)


def is_inline(item: pytest.Item) -> bool:
    callspec = getattr(item, "callspec", None)
    return callspec is not None and callspec.params.get("mode") == "inline"


def needs_threads(item: pytest.Item) -> bool:
    parts = [item.path.name, *item.nodeid.split("::")[1:]]
    return any(part.startswith(tuple(THREADS_ONLY)) for part in parts)


@pytest.fixture(params=["auto", "http2"])
def http(request: pytest.FixtureRequest) -> str:
    wire: str = request.param
    return wire


@pytest.fixture(params=["threads", "inline"])
def mode(request: pytest.FixtureRequest) -> str:
    """Where the application is called: in the threads of a pool, or in the event loop's."""
    mode: str = request.param
    return mode


@pytest.fixture
def start(serve: support.Serve, http: str, mode: str, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Serve a WSGI application: start(app, **config) -> Running.

    Without an access log, an environ is made from a request's head; with one, from the scope that the log needs.
    """
    monkeypatch.setattr("fastserve.serving.life.TICK", 0.01)
    defaults = {"interface": "wsgi", "access_log": False, **({"wsgi_threads": 0} if mode == "inline" else {})}
    return lambda app, **config: by_wire(http, serve(app, **{**defaults, **config}))


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
    """Return the environ that a request gives, with an access log or without: environ_of(raw request, **config)."""

    def ask(request: bytes, **config: Any) -> dict[str, Any]:
        one, other = ask_once(request, access_log=True, **config), ask_once(request, access_log=False, **config)
        of_connection = ("SERVER_PORT", "REMOTE_PORT", "HTTP_HOST", "wsgi.input")
        assert one.keys() == other.keys()
        assert {key: value for key, value in one.items() if key not in of_connection} == {
            key: value for key, value in other.items() if key not in of_connection
        }
        return other

    def ask_once(request: bytes, **config: Any) -> dict[str, Any]:
        seen: list[dict[str, Any]] = []

        def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
            seen.append(environ)
            start_response("200 OK", [])
            return []

        assert Client(start(app, **config).connect()).ask(request).status == 200
        return seen[0]

    return ask
