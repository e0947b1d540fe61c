from __future__ import annotations

import gc
import signal
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import support

# A shell's background job and nohup start with these ignored, and every process of the tests would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(scope="session", autouse=True)
def noted_random_numbers() -> None:
    """Have Hypothesis note its random numbers: once what refers to them is frozen it cannot see that anything does."""
    if "hypothesis" in sys.modules:
        from hypothesis import given, strategies

        given(strategies.none())(lambda _: None)()


@pytest.fixture(scope="module", autouse=True)
def quick_collections(noted_random_numbers: None) -> None:
    """Many tests collect garbage, to see that nothing is left: leave out what was there before their module."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def no_collections() -> Iterator[None]:
    """The server does not take a step for slow in which the garbage collector ran, be it for another thread."""
    gc.disable()
    yield
    gc.enable()


@pytest.fixture
def serve(caplog: pytest.LogCaptureFixture) -> Iterator[support.Serve]:
    """Start servers in threads: serve(app, **config) -> Running. They stop at the end and must leave nothing behind."""
    running: list[support.Running] = []

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
        support.assert_nothing_lives()


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
