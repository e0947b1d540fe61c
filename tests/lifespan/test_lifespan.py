"""Lifespan, by the numbers of the ASGI checklist: 54 to 60, and uvicorn's three modes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import socket
from collections.abc import Callable
from typing import Any

import pytest
import support

import fastserve
from fastserve.lifespan.off import LifespanOff
from fastserve.lifespan.on import STATE_TRANSITION_ERROR, LifespanOn

Log = Callable[[], list[str]]

STARTUP = "INFO Waiting for application startup."
STARTED = "INFO Application startup complete."
UNSUPPORTED = "INFO ASGI 'lifespan' protocol appears unsupported."
SHUTDOWN = "INFO Waiting for application shutdown."
STOPPED = "INFO Application shutdown complete."


def run(app: Any, mode: str = "auto") -> LifespanOn:
    """Take an application through startup and, if it started, shutdown."""

    async def both() -> LifespanOn:
        lifespan = LifespanOn(fastserve.Config(app, lifespan=mode, log_config=None))
        await lifespan.startup()
        if not lifespan.should_exit:
            await lifespan.shutdown()
            assert lifespan.task is not None
            assert lifespan.task.done()
        return lifespan

    return asyncio.run(both())


async def speaking(scope: Any, receive: Any, send: Any) -> None:
    assert await receive() == {"type": "lifespan.startup"}
    await send({"type": "lifespan.startup.complete"})
    assert await receive() == {"type": "lifespan.shutdown"}
    await send({"type": "lifespan.shutdown.complete"})


async def refusing(scope: Any, receive: Any, send: Any) -> None:
    raise RuntimeError("http only")


@pytest.mark.parametrize("mode", ["auto", "on"])
def test_lines(log: Log, mode: str) -> None:
    run(speaking, mode)
    assert log() == [STARTUP, STARTED, SHUTDOWN, STOPPED]


def test_off_does_nothing(log: Log) -> None:
    lifespan = LifespanOff(fastserve.Config(refusing, lifespan="off", log_config=None))
    asyncio.run(lifespan.startup())
    asyncio.run(lifespan.shutdown())
    assert (lifespan.should_exit, lifespan.state, log()) == (False, {}, [])


@pytest.mark.parametrize(("mode", "calls"), [("auto", 1), ("on", 1), ("off", 0)])
def test_item_54_one_lifespan_per_loop(serve: support.Serve, mode: str, calls: int) -> None:
    scopes = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scopes.append(scope)
        if scope["type"] == "lifespan":
            await speaking(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": 204})
        await send({"type": "http.response.body"})

    server = serve(app, lifespan=mode)
    server.fetch()
    server.fetch()
    server.stop()
    assert [scope["type"] for scope in scopes] == ["lifespan"] * calls + ["http"] * 2


def test_item_55_state_and_scope() -> None:
    scopes = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scopes.append(dict(scope))
        scope["state"]["pool"] = "open"
        await speaking(scope, receive, send)

    assert run(app).state == {"pool": "open"}
    assert scopes == [
        {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": {"pool": "open"}}
    ]


def test_item_56_no_connection_before_startup_is_complete(serve: support.Serve) -> None:
    outcome = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        with socket.socket() as client:
            outcome.append(client.connect_ex(("127.0.0.1", port)) != 0)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})

    with support.held_port() as port:
        serve(app, lifespan="on", port=port)
    assert outcome == [True]


def test_item_57_exception_means_unsupported(log: Log, serve: support.Serve) -> None:
    """With auto an application that raises is served without lifespan events; why it raised is there at level debug."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            raise RuntimeError("http only")
        await send({"type": "http.response.start", "status": 204})
        await send({"type": "http.response.body"})

    server = serve(app, lifespan="auto")
    assert server.fetch()[0] == 204
    server.stop()
    lines = log()
    assert lines[1:5] == [
        STARTUP,
        UNSUPPORTED,
        "DEBUG Exception raised by the application for the lifespan scope:",
        STARTED,
    ]
    assert SHUTDOWN not in lines


def test_item_57_exception_is_an_error_with_on(log: Log) -> None:
    lifespan = run(refusing, "on")
    assert lifespan.should_exit
    assert log() == [STARTUP, "ERROR Exception in 'lifespan' protocol\n", "ERROR Application startup failed. Exiting."]


def test_item_57_exit_of_the_application_is_no_exit_of_the_server(log: Log) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise SystemExit(9)

    assert not run(app).should_exit
    assert UNSUPPORTED in log()


@pytest.mark.parametrize("mode", ["auto", "on"])
def test_item_58_startup_failed(log: Log, mode: str) -> None:
    """The application's message is logged, and what it raises after it is not logged again."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no 100% database"})
        raise RuntimeError("no database")

    assert run(app, mode).should_exit
    assert log() == [STARTUP, "ERROR no 100% database", "ERROR Application startup failed. Exiting."]


@pytest.mark.parametrize("mode", ["auto", "on"])
def test_item_58_exit_code(start: support.StartCommand, mode: str) -> None:
    server = start("failing", "--lifespan", mode)
    assert server.wait() == 3
    assert server.lines == [
        f"INFO:     Started server process [{server.pid}]",
        "INFO:     Waiting for application startup.",
        "ERROR:    no database",
        "ERROR:    Application startup failed. Exiting.",
    ]


def test_item_59_shutdown_after_the_connections(start: support.StartCommand) -> None:
    server = start("living")
    server.get()
    assert server.stop() == -signal.SIGTERM
    lines = [line.removeprefix("INFO:     ") for line in server.stderr]
    assert lines[-4:] == [
        "Shutting down",
        "Waiting for application shutdown.",
        "Application shutdown complete.",
        f"Finished server process [{server.pid}]",
    ]
    assert server.stdout[-1] == "application: shutdown"


@pytest.mark.parametrize("mode", ["auto", "on"])
def test_item_59_shutdown_failed(log: Log, mode: str) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.failed", "message": "still open"})

    assert run(app, mode).should_exit
    assert log() == [STARTUP, STARTED, SHUTDOWN, "ERROR still open", "ERROR Application shutdown failed. Exiting."]


@pytest.mark.parametrize("mode", ["auto", "on"])
def test_item_59_exception_at_shutdown_is_not_swallowed(log: Log, mode: str) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        raise RuntimeError("at the end")

    assert run(app, mode).should_exit
    assert log()[3:] == ["ERROR Exception in 'lifespan' protocol\n", "ERROR Application shutdown failed. Exiting."]


def test_exception_while_serving_is_not_swallowed(log: Log) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await asyncio.sleep(0)
        raise RuntimeError("in between")

    async def serve_a_little() -> None:
        lifespan = LifespanOn(fastserve.Config(app, log_config=None))
        await lifespan.startup()
        assert lifespan.task is not None
        await lifespan.task
        await lifespan.shutdown()

    asyncio.run(serve_a_little())
    assert log() == [STARTUP, STARTED, "ERROR Exception in 'lifespan' protocol\n"]


def test_application_that_returns_without_a_word(log: Log) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        """Return at once."""

    assert not run(app).should_exit
    assert log() == [STARTUP, STARTED, SHUTDOWN, STOPPED]


def test_application_that_listens_on_after_shutdown(log: Log) -> None:
    """Its call is cancelled: nothing stays behind that would wait for ever."""
    ended = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            while True:
                kind = (await receive())["type"]
                await send({"type": f"{kind}.complete"})
        finally:
            ended.append(True)

    run(app)
    assert ended == [True]
    assert log() == [STARTUP, STARTED, SHUTDOWN, STOPPED]


@pytest.mark.parametrize(
    "messages",
    [
        ["lifespan.shutdown.complete"],
        ["lifespan.shutdown.failed"],
        ["lifespan.startup.complete", "lifespan.startup.complete"],
        ["lifespan.startup.complete", "lifespan.startup.failed"],
    ],
)
def test_events_out_of_order(messages: list[str]) -> None:
    raised = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            for kind in messages:
                await send({"type": kind})
        except RuntimeError as exc:
            raised.append(str(exc))
            raise

    run(app)
    assert raised == [STATE_TRANSITION_ERROR]


def test_unknown_event() -> None:
    raised = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        with contextlib.suppress(RuntimeError):
            try:
                await send({"type": "http.response.start"})
            except RuntimeError as exc:
                raised.append(str(exc))

    run(app)
    assert raised == ["Unexpected ASGI message 'http.response.start' sent on lifespan protocol."]


def test_item_60_requests_get_shallow_copies(serve: support.Serve) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        state = scope["state"]
        if scope["type"] == "lifespan":
            state["shared"] = []
            await speaking(scope, receive, send)
            return
        state["shared"].append(1)
        state["own"] = state.get("own", 0) + 1
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": json.dumps(state).encode()})

    server = serve(app, lifespan="on")
    assert json.loads(server.fetch()[2]) == {"shared": [1], "own": 1}
    assert json.loads(server.fetch()[2]) == {"shared": [1, 1], "own": 1}
    assert server.server.lifespan.state == {"shared": [1, 1]}
