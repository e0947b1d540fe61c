from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import support
from core.responses import Client
from garbage import assert_nothing_lives
from protocol.wire import Wire
from tls.pki import Pki, TlsRunning
from tls.pki import serve as serve_tls


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture(params=["uvloop", "asyncio"])
def loop(request: pytest.FixtureRequest) -> str:
    """Run a test on both event loops: their TLS is not the same."""
    name: str = request.param
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed")
    return name


@pytest.fixture(autouse=True)
def quick_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastserve.serving.life.TICK", 0.01)


@pytest.fixture
def serve(pki: Pki, loop: str, caplog: pytest.LogCaptureFixture) -> Iterator[Callable[..., TlsRunning]]:
    """As the fixture of that name for plain connections, with TLS: its tests run here as well."""
    running: list[TlsRunning] = []

    def start(app: Any, **config: Any) -> TlsRunning:
        running.append(serve_tls(pki, app, **{"loop": loop, **config}))
        return running[-1]

    yield start
    for server in reversed(running):
        server.stop()
    for when in ("call", "teardown"):  # the tracebacks hold what is looked for next
        for record in caplog.get_records(when):
            record.exc_info = None
        caplog.get_records(when).clear()
    assert_nothing_lives()


@pytest.fixture
def log(serve: Any, caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """Return a function that gives all warnings and errors so far, asyncio's as well, as "LEVEL message"."""
    caplog.set_level(logging.WARNING)
    return lambda: [f"{record.levelname} {record.getMessage().strip()}" for record in caplog.records]


@pytest.fixture
def client(serve: Callable[..., TlsRunning]) -> Callable[..., Client]:
    """Serve an application and connect to it: client(app, **config) -> Client."""
    return lambda app, **config: Client(serve(app, **config).connect())


@pytest.fixture
def connect(serve: Callable[..., TlsRunning]) -> Iterator[Callable[..., Wire]]:
    """Serve an application and connect to it: connect(app, **config) -> Wire; without an application, once more."""
    wires: list[Wire] = []
    running: list[TlsRunning] = []

    def make(app: Any = None, **config: Any) -> Wire:
        if app is not None:
            running.append(serve(app, **{"access_log": False, **config}))
        wires.append(Wire(running[-1].connect()))
        return wires[-1]

    yield make
    for wire in wires:
        wire.close()


@pytest.fixture
def start(pki: Pki, command: support.StartCommand) -> support.StartCommand:
    """Start a command that serves an application of shell_apps.py over TLS: start("app", "--log-level", "debug").

    The certificate is that of `pki`, unless an argument names another one.
    """
    folder = support.APPS

    def run(app: str, *args: str, **options: Any) -> support.Command:
        certificate = () if "--ssl-certfile" in args else pki.arguments
        return command(f"shell_apps:{app}", "--port", "0", "--app-dir", folder, *certificate, *args, **options)

    return run
