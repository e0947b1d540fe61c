from __future__ import annotations

import gc
import logging
import signal
from collections.abc import Callable, Generator, Iterator
from typing import Any

import hypothesis
import pytest
import support
from garbage import assert_nothing_lives, collect

# The same inputs in each run, and no clock: a check must not fail by chance. --hypothesis-profile=default has others.
hypothesis.settings.register_profile(
    "repeatable",
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("repeatable")

# A shell's background job and nohup start with these ignored, and every process of the tests would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect no garbage while tests are collected: there is hardly any among the objects, which get more and more."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


@pytest.fixture(scope="session", autouse=True)
def noted_random_numbers() -> None:
    """Have Hypothesis note its random numbers: once what refers to them is frozen it cannot see that anything does."""
    hypothesis.given(hypothesis.strategies.none())(lambda _: None)()


@pytest.fixture(scope="module", autouse=True)
def quick_collections(noted_random_numbers: None) -> None:
    """Many tests collect garbage, to see that nothing is left: leave out what was there before their module."""
    collect()
    gc.freeze()


@pytest.fixture
def no_collections() -> Iterator[None]:
    """The server does not take a step for slow in which the garbage collector ran, be it for another thread."""
    gc.disable()
    yield
    gc.enable()


@pytest.fixture
def servers() -> list[support.Running]:
    """What `serve` has started."""
    return []


@pytest.fixture
def serve(caplog: pytest.LogCaptureFixture, servers: list[support.Running]) -> Iterator[support.Serve]:
    """Start servers in threads: serve(app, **config) -> Running. They stop at the end and must leave nothing behind."""
    running = servers

    def start(app: Any, **config: Any) -> support.Running:
        running.append(support.serve(app, **config))
        return running[-1]

    yield start
    for server in reversed(running):
        server.stop()
    # The tracebacks of kept records hold frames, and so the arguments of applications and (CPython 3.10) of callers.
    for record in [*caplog.get_records("call"), *caplog.records]:
        record.exc_info = None
    if running:
        assert_nothing_lives()


@pytest.fixture
def command() -> Iterator[support.StartCommand]:
    """Start `python -m fastserve` processes: command(*args, env=, cwd=) -> Command. They are ended at the end."""
    commands: list[support.Command] = []

    def start(*args: str, **options: Any) -> support.Command:
        commands.append(support.command(*args, **options))
        return commands[-1]

    yield start
    for process in reversed(commands):
        process.close()


LOGGERS = ("", "fastserve", "fastserve.error", "fastserve.access", "fastserve.asgi", "uvicorn", "uvicorn.access")


@pytest.fixture(autouse=True)
def fresh_loggers() -> Iterator[None]:
    """Give a test the server's loggers as a fresh process has them, and undo what it does to loggers."""
    loggers = [logging.getLogger(name) for name in LOGGERS]
    before = [(each.level, each.propagate, each.disabled, list(each.handlers), list(each.filters)) for each in loggers]
    for logger in loggers[1:]:
        logger.setLevel(logging.NOTSET)
        logger.propagate, logger.disabled, logger.handlers, logger.filters = True, False, [], []
    yield
    for logger, (level, propagate, disabled, handlers, filters) in zip(loggers, before, strict=True):
        logger.setLevel(level)
        logger.propagate, logger.disabled, logger.handlers, logger.filters = propagate, disabled, handlers, filters


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """Return a function that gives the server's log lines so far, as "LEVEL message"."""
    caplog.set_level(logging.DEBUG, logger="fastserve")

    def lines() -> list[str]:
        return [f"{record.levelname} {record.getMessage()}" for record in caplog.records if record.name[:4] == "fast"]

    return lines


@pytest.fixture
def start(command: support.StartCommand) -> support.StartCommand:
    """Start a command that serves an application of shell_apps.py on a free port: start("app", "--log-level", "x")."""

    def run(app: str, *args: str, **options: Any) -> support.Command:
        where = ["--app-dir", support.APPS]
        return command(f"shell_apps:{app}", "--port", "0", *where, *args, **options)

    return run
