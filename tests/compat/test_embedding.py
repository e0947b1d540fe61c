"""What programs do with Config, Server and their supervisors beyond running them, with uvicorn as the control."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
import uvicorn.logging
from support import PATIENCE, Command, set_once_listening

import fastserve
import fastserve.logging

TESTS = Path(__file__).parents[1]
PACKAGES: list[Any] = [uvicorn, fastserve]

package = pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)


class App:
    """Responds with its client's address, and lists the messages of its lifespan."""

    def __init__(self) -> None:
        self.lifespan: list[str] = []
        self.given: Any = None  # by the program

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        while scope["type"] == "lifespan":
            message = (await receive())["type"]
            self.lifespan.append(message)
            await send({"type": f"{message}.complete"})
            if message == "lifespan.shutdown":
                return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": f"{scope['client'][0]} {self.given}".encode()})


def config(package: Any, app: Any, **given: Any) -> Any:
    return package.Config(app, **{"port": 0, "log_config": None, "lifespan": "off", **given})


async def serving(server: Any) -> asyncio.Task[None]:
    """Serve in the running loop; return the task once the server listens, which programs learn by a patched method."""
    listens = asyncio.Event()
    set_once_listening(server, listens)
    task: asyncio.Task[None] = asyncio.ensure_future(server.serve())
    await asyncio.wait_for(listens.wait(), PATIENCE)
    return task


async def connected(server: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Return a connection that is kept alive after a first response."""
    port = server.servers[0].sockets[0].getsockname()[1]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\nHost: test\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n")
    await reader.readuntil(b"192.0.2.1 ")
    return reader, writer


@package
def test_loaded_app_has_the_application_inside(package: Any) -> None:
    """Programs hand something to the application after load(), and find the server of theirs by it."""

    class Config(package.Config):  # type: ignore[misc]
        def load(self) -> None:
            super().load()
            self.loaded_app.app.given = "by load"

    async def main() -> None:
        app = App()
        server = package.Server(Config(app, port=0, log_config=None, lifespan="off"))
        task = await serving(server)
        reader, writer = await connected(server)
        await asyncio.wait_for(reader.readuntil(b"by load"), PATIENCE)
        writer.close()
        server.should_exit = True
        await task
        wrapped = server.config.loaded_app
        assert isinstance(wrapped, package.middleware.proxy_headers.ProxyHeadersMiddleware)
        assert wrapped.app is app

    asyncio.run(main())


@package
@pytest.mark.parametrize("how", ["shutdown", "close", "abort"])
def test_connections_can_be_closed(package: Any, how: str) -> None:
    """Programs that stop at once close them by themselves, as do tests of what a client makes of it."""

    async def main() -> None:
        server = package.Server(config(package, App()))
        task = await serving(server)
        reader, writer = await connected(server)
        (connection,) = list(server.server_state.connections)
        getattr(connection if how == "shutdown" else connection.transport, how)()
        await asyncio.wait_for(reader.read(), PATIENCE)
        writer.close()
        server.should_exit = True
        await task
        assert not server.server_state.connections

    asyncio.run(main())


@package
def test_shutdown_of_a_server_whose_serving_was_cancelled(package: Any, caplog: pytest.LogCaptureFixture) -> None:
    """vLLM cancels the task and then calls shutdown(): the application is shut down once, with each line once."""
    caplog.set_level(logging.INFO)

    async def main() -> list[str]:
        app = App()
        server = package.Server(config(package, app, lifespan="on"))
        task = await serving(server)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await server.shutdown()
        return app.lifespan

    assert asyncio.run(main()) == ["lifespan.startup", "lifespan.shutdown"]
    assert caplog.messages.count("Shutting down") == 1
    assert caplog.messages.count("Application shutdown complete.") == 1


@package
def test_a_server_that_runs_again(package: Any) -> None:
    """Its `servers` are those of the present run."""

    async def main(server: Any) -> None:
        task = await serving(server)
        _, writer = await connected(server)
        writer.close()
        server.should_exit = True
        await task

    server = package.Server(config(package, App()))
    asyncio.run(main(server))
    server.should_exit = server.started = False
    asyncio.run(main(server))


@pytest.mark.parametrize("prefix", [[], ["-m", "fastserve.compat"]], ids=["uvicorn", "compat"])
def test_a_forked_process_ends_by_its_signal(prefix: list[str]) -> None:
    """What test suites start by multiprocessing, and terminate()."""
    process = Command([sys.executable, *prefix, "-m", "compat.apps.forked_server"], cwd=TESTS)
    try:
        assert process.wait() == 0
        assert f"exit code {-signal.SIGTERM}" in process.lines
    finally:
        process.close()


@package
def test_colours_of_a_subclass(package: Any) -> None:
    class Levels(package.logging.DefaultFormatter):  # type: ignore[misc]
        level_name_colors = {logging.INFO: lambda name: f"<{name}>"}  # noqa: RUF012  # as programs write it

    class Statuses(package.logging.AccessFormatter):  # type: ignore[misc]
        status_code_colours = {2: lambda text: f"<{text}>"}  # noqa: RUF012

    info, warning = (logging.LogRecord("", level, "", 0, "text", None, None) for level in (20, 30))
    levels = Levels("%(levelprefix)s %(message)s", use_colors=True)
    assert [levels.format(each) for each in (info, warning)] == ["<INFO>:     text", "WARNING:  text"]
    statuses = Statuses("%(status_code)s", use_colors=True)
    assert [statuses.get_status_code(each) for each in (200, 404)] == ["<200 OK>", "404 Not Found"]
    for mine in (package.logging.DefaultFormatter, package.logging.AccessFormatter):
        assert mine.level_name_colors[logging.ERROR]("ERROR") == "\033[31mERROR\033[0m"
    assert package.logging.AccessFormatter.status_code_colours[3]("302") == "\033[33m302\033[0m"


@package
def test_copies_of_the_logging_configuration(package: Any) -> None:
    original = package.config.LOGGING_CONFIG
    copied = {**original, "loggers": original["loggers"].copy()}
    copied["loggers"]["uvicorn.access"] = {"handlers": [], "level": "ERROR"}
    assert copied["loggers"]["uvicorn.access"]["level"] == "ERROR"
    assert original["loggers"]["uvicorn.access"]["level"] == "INFO"
    assert len(copied["loggers"]) == len(original["loggers"])


@pytest.fixture(params=[[], ["-m", "fastserve.compat"]], ids=["uvicorn", "compat"])
def own_workers(request: pytest.FixtureRequest) -> Iterator[Command]:
    process = Command([sys.executable, *request.param, "-m", "compat.apps.own_workers"], cwd=TESTS)
    yield process
    process.close()


def test_workers_that_a_subclass_starts(own_workers: Command) -> None:
    """They are watched over like others: replaced when they end, and stopped with their parent."""
    own_workers.wait_line("Uvicorn running on")
    second = own_workers.wait_line(r"Started server process \[(\d+)\]", count=2)
    os.kill(int(second[1]), signal.SIGKILL)
    own_workers.wait_line("Started server process", count=3)
    assert own_workers.get().startswith(b"HTTP/1.1 200 OK")
    own_workers.send_signal(signal.SIGTERM)
    assert own_workers.wait() == 0
    assert "run() has returned" in own_workers.output
    assert own_workers.output.count("Finished server process") == 2


def test_workers_that_a_subclass_replaces_and_stops(own_workers: Command) -> None:
    """Each is watched over in the place of its predecessor, and none comes to that of one that is popped."""
    started, finished = r"Started server process \[(\d+)\]", "Finished server process"
    own_workers.wait_line(started, count=2)
    own_workers.send_signal(signal.SIGHUP)
    third = int(own_workers.wait_line(started, count=3)[1])
    own_workers.wait_line(finished, count=2)
    os.kill(third, signal.SIGKILL)
    own_workers.wait_line(rf"Child process \[{third}\] died")
    own_workers.wait_line(started, count=5)
    own_workers.send_signal(signal.SIGTTOU)
    own_workers.wait_line(finished, count=3)
    own_workers.send_signal(signal.SIGHUP)
    own_workers.wait_line(started, count=6)
    own_workers.wait_line(finished, count=4)
    assert own_workers.get().startswith(b"HTTP/1.1 200 OK")
    own_workers.send_signal(signal.SIGTERM)
    assert own_workers.wait() == 0
    assert own_workers.output.count("] died") == 1
    assert own_workers.output.count("Started server process") == 6
    assert own_workers.output.count(finished) == 5
