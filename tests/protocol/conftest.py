from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import support
from fakes.net import Net
from garbage import assert_nothing_lives
from protocol.apps import App
from protocol.wire import Wire

Connect = Callable[..., Wire]
MakeNet = Callable[..., Net]


@pytest.fixture
def http() -> str:
    """The protocol that `connect` serves with: a test file that has more of them overrides this."""
    return "auto"


@pytest.fixture
def connect(serve: support.Serve, http: str, caplog: pytest.LogCaptureFixture) -> Iterator[Connect]:
    """Serve an application and connect to it: connect(app, **config) -> Wire; without an application, once more."""
    wires: list[Wire] = []
    running: list[support.Running] = []

    def make(app: App | None = None, **config: Any) -> Wire:
        if app is not None:
            running.append(serve(app, **{"access_log": False, "http": http, **config}))
        wires.append(Wire(running[-1].connect()))
        return wires[-1]

    yield make
    for wire in wires:
        wire.close()
    forget_tracebacks(caplog)


def forget_tracebacks(caplog: pytest.LogCaptureFixture) -> None:
    """A traceback in a captured record keeps what the application's frames hold."""
    for record in caplog.get_records("call"):
        record.exc_info = None


@pytest.fixture
def net() -> Iterator[MakeNet]:
    """Make workers without a network: net(app, **settings) -> Net. They must leave nothing behind."""
    nets: list[Net] = []

    def make(app: Any, **settings: Any) -> Net:
        nets.append(Net(app, **settings))
        return nets[-1]

    yield make
    while nets:
        nets.pop().close()
    assert_nothing_lives()
