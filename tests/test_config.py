"""Config: what follows from the options, and the application it loads."""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import uvicorn

import fastserve
from fastserve.config import ConfigError
from fastserve.lifespan.off import LifespanOff
from fastserve.lifespan.on import LifespanOn
from fastserve.middleware.asgi2 import ASGI2Middleware
from fastserve.middleware.message_logger import MessageLoggerMiddleware

Log = Callable[[], list[str]]


async def asgi3(scope: Any, receive: Any, send: Any) -> None: ...


def plain_asgi3(scope: Any, receive: Any, send: Any) -> Any:
    return asgi3(scope, receive, send)


def asgi2(scope: Any) -> Any:
    return functools.partial(asgi3, scope)


class Asgi2:
    def __init__(self, scope: Any) -> None: ...

    async def __call__(self, receive: Any, send: Any) -> None: ...


class Asgi3:
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None: ...


class PlainAsgi3:
    def __call__(self, scope: Any, receive: Any, send: Any) -> Any:
        return asgi3(scope, receive, send)


class AwaitableAsgi3:
    def __init__(self, scope: Any, receive: Any, send: Any) -> None: ...

    def __await__(self) -> Any:
        yield


def wrapper(*args: Any, **kwargs: Any) -> Any:
    return asgi3(*args, **kwargs)


async def coroutine_wrapper(*args: Any) -> None: ...


@functools.wraps(asgi3)
def named_wrapper(*args: Any) -> Any:
    return asgi3(*args)


def config(app: Any = asgi3, **given: Any) -> fastserve.Config:
    return fastserve.Config(app, **{"log_config": None, **given})


def loaded(app: Any = asgi3, **given: Any) -> fastserve.Config:
    made = config(app, **given)
    made.load()
    return made


@pytest.mark.parametrize(
    ("app", "interface"),
    [
        (asgi3, "asgi3"),
        (plain_asgi3, "asgi3"),
        (functools.partial(asgi3), "asgi3"),
        (Asgi3(), "asgi3"),
        (Asgi3().__call__, "asgi3"),
        (PlainAsgi3(), "asgi3"),
        (AwaitableAsgi3, "asgi3"),
        (named_wrapper, "asgi3"),
        (coroutine_wrapper, "asgi3"),
        (asgi2, "asgi2"),
        (Asgi2, "asgi2"),
        (wrapper, "asgi2"),
    ],
)
def test_interface(app: Any, interface: str) -> None:
    made = loaded(app)
    assert made.interface == interface
    assert made.asgi_version == ("2.0" if interface == "asgi2" else "3.0")
    assert isinstance(made.served_app, ASGI2Middleware) == (interface == "asgi2")
    if interface == "asgi3":
        assert made.served_app is app


def test_wsgi_has_to_be_told() -> None:
    """A WSGI application is never served as one with auto: it does not start, and a line says what to do."""

    def app(environ: Any, start_response: Any) -> Any:
        raise AssertionError("called")

    for interface in ("auto", "asgi2", "asgi3"):
        with pytest.raises(SystemExit) as caught:
            loaded(app, interface=interface)
        assert caught.value.code == 3
    made = loaded(app, interface="wsgi", wsgi_threads=3, ws="auto")
    assert (made.interface, made.asgi_version, made.ws) == ("wsgi", "3.0", "none")
    assert made.wsgi is not None
    assert made.wsgi is made.served_app
    assert made.wsgi.app == app
    assert made.wsgi.threads is not None
    assert made.wsgi.threads.most == 3


def test_a_wsgi_application_is_not_called_to_see_whether_it_is_a_factory() -> None:
    def app(*args: Any) -> Any:
        raise RuntimeError("two arguments are needed")

    def make(name: str = "x") -> Any:
        return app

    for options in ({}, {"factory": True}):
        wsgi = loaded(make, interface="wsgi", **options).wsgi
        assert wsgi is not None
        assert wsgi.app is app
    wsgi = loaded(app, interface="wsgi").wsgi
    assert wsgi is not None
    assert wsgi.app is app


@pytest.mark.parametrize("interface", ["asgi2", "asgi3"])
def test_interface_that_is_told(interface: str) -> None:
    made = loaded(wrapper, interface=interface)
    assert (made.interface, isinstance(made.served_app, ASGI2Middleware)) == (interface, interface == "asgi2")


def test_factory(log: Log) -> None:
    assert loaded(lambda: asgi3, factory=True).served_app is asgi3
    assert log() == []


@pytest.mark.parametrize("app", [lambda: asgi3, Asgi3, functools.partial(lambda app: app, asgi3)])
def test_factory_that_is_not_told(log: Log, app: Any) -> None:
    assert loaded(app).interface == "asgi3"
    line = "WARNING ASGI app factory detected. Using it, but please consider setting the --factory flag explicitly."
    assert log() == [line]


def test_factory_that_needs_arguments(log: Log) -> None:
    with pytest.raises(SystemExit) as caught:
        loaded(plain_asgi3, factory=True)
    assert caught.value.code == 3
    assert log()[0].startswith("ERROR Error loading ASGI app factory: TypeError: plain_asgi3() missing 3 required")


@pytest.mark.parametrize(("app", "kind"), [(5, "int"), (None, "NoneType"), (object(), "object")])
def test_application_that_is_not_callable(log: Log, app: Any, kind: str) -> None:
    with pytest.raises(SystemExit) as caught:
        loaded(app)
    assert caught.value.code == 3
    assert log() == [f"ERROR Error loading ASGI app. The application is not callable, it is of type {kind}."]


@pytest.mark.parametrize(
    ("given", "encoded"),
    [
        ({}, [(b"server", b"fastserve")]),
        ({"server_header": False}, []),
        ({"headers": [("X-A", "\xe9")]}, [(b"server", b"fastserve"), (b"x-a", b"\xe9")]),
        ({"headers": [("Server", "mine")]}, [(b"server", b"mine")]),
        ({"headers": [("Server", "mine")], "server_header": False}, [(b"server", b"mine")]),
    ],
)
def test_encoded_headers(given: dict[str, Any], encoded: list[tuple[bytes, bytes]]) -> None:
    assert loaded(**given).encoded_headers == encoded


def test_core_settings() -> None:
    """Every option that concerns the core reaches it."""
    given: dict[str, Any] = {
        "root_path": "/api",
        "timeout_request_head": 1.5,
        "timeout_request_body": 2.5,
        "timeout_write": 3.5,
        "timeout_keep_alive": 4.5,
        "limit_request_line": 101,
        "limit_request_head": 102,
        "limit_request_fields": 103,
        "limit_request_body": 104,
        "limit_concurrency": 105,
        "reset_contextvars": True,
        "sendfile": True,
    }
    settings = config(**given, date_header=False, server_header=False, headers=[("A", "b")]).core_settings()
    assert {name: getattr(settings, name) for name in given} == given
    assert (settings.date, settings.server, settings.default_headers) == (False, None, ((b"a", b"b"),))
    settings = config().core_settings()
    assert (settings.date, settings.server, settings.default_headers) == (True, b"fastserve", ())
    assert (settings.limit_concurrency, settings.reset_contextvars, settings.sendfile) == (0, False, False)


@pytest.mark.parametrize(("mode", "kind"), [("auto", LifespanOn), ("on", LifespanOn), ("off", LifespanOff)])
def test_lifespan_class(mode: str, kind: type) -> None:
    assert loaded(lifespan=mode).lifespan_class is kind


@pytest.mark.parametrize("http", ["auto", "llhttp", "httptools"])
def test_http_protocol_class(http: str) -> None:
    from fastserve._core.connection import Connection

    chosen: Any = loaded(http=http).http_protocol_class
    assert chosen is Connection


def test_derived_values() -> None:
    made = config()
    assert (made.is_ssl, made.use_subprocess, made.should_reload, made.loaded, made.ssl) == (
        False,
        False,
        False,
        False,
        None,
    )
    assert config(interface="asgi2").asgi_version == "2.0"
    assert loaded().loaded


def test_trace_level_logs_messages() -> None:
    logger = logging.getLogger("fastserve.error")
    logger.setLevel(5)
    assert isinstance(loaded().served_app, MessageLoggerMiddleware)
    logger.setLevel(logging.DEBUG)
    assert loaded().served_app is asgi3


def test_app_dir(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "found_by_app_dir.py").write_text("async def app(scope, receive, send): ...\n")
    monkeypatch.setattr(sys, "path", list(sys.path))
    assert loaded("found_by_app_dir:app", app_dir=tmp_path).interface == "asgi3"
    assert sys.path[0] == str(tmp_path)


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WEB_CONCURRENCY", "FORWARDED_ALLOW_IPS", "GREETING"):
        monkeypatch.setenv(name, "x")  # so that it is put back
        monkeypatch.delenv(name)


@pytest.mark.usefixtures("environment")
def test_env_file(log: Log, tmp_path: Path) -> None:
    pytest.importorskip("dotenv")
    file = tmp_path / "env"
    file.write_text("GREETING=${NAME}!\nNAME=x\n")
    config(env_file=file)
    assert log() == [f"INFO Loading environment from '{file}'"]
    assert os.environ.pop("NAME") == "x"
    assert os.environ["GREETING"] == "!"
    file.write_text("GREETING=again")
    config(env_file=str(file))
    assert os.environ["GREETING"] == "!"


def test_env_file_that_cannot_be_read(tmp_path: Path) -> None:
    pytest.importorskip("dotenv")
    with pytest.raises(ConfigError, match=f"env_file '{tmp_path}' cannot be read: .*Is a directory"):
        config(env_file=str(tmp_path))
    file = tmp_path / "env"
    file.write_bytes(b"A=\xff\n")
    with pytest.raises(ConfigError, match="cannot be read: 'utf-8' codec"):
        config(env_file=str(file))
    assert "A" not in os.environ


@pytest.mark.parametrize("module", [uvicorn, fastserve], ids=lambda module: module.__name__)
def test_env_file_with_other_lines(module: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, log: Log) -> None:
    """As uvicorn, which has python-dotenv's warning without the file's name."""
    pytest.importorskip("dotenv")
    monkeypatch.setattr(os, "environ", os.environ.copy())
    file = tmp_path / "env"
    file.write_text("# a comment\nA=1\n\nthis is not it\nB: 2\nexport C='x\ny'\nD\n")
    module.Config("main:app", env_file=str(file), log_config=None)
    assert [os.environ.get(name) for name in "ABCD"] == ["1", None, "x\ny", None]
    if module is fastserve:
        assert log() == [
            f"WARNING Line {line} of env_file '{file}' is not of the form NAME=VALUE, and is left out."
            for line in (4, 5)
        ] + [f"INFO Loading environment from '{file}'"]


def test_env_file_without_its_library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "dotenv", None)
    with pytest.raises(ConfigError, match=r"env_file needs python-dotenv: install it, or fastserve\[standard\]\."):
        config(env_file=str(tmp_path))


def test_forwarded_allow_ips(monkeypatch: pytest.MonkeyPatch) -> None:
    """The option goes before the environment, and that before the default."""
    monkeypatch.delenv("FORWARDED_ALLOW_IPS", raising=False)
    assert config().forwarded_allow_ips == "127.0.0.1,::1"
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "10.0.0.0/8")
    assert config().forwarded_allow_ips == "10.0.0.0/8"
    assert config(forwarded_allow_ips="").forwarded_allow_ips == ""


def test_configuration_is_hashable_and_its_own() -> None:
    """As uvicorn's: an object with identity, not a value."""
    one, two = config(), config()
    assert one != two
    assert len({one, two}) == 2


def test_subclass() -> None:
    class Mine(fastserve.Config):
        def __init__(self, app: Any, **options: Any) -> None:
            super().__init__(app, port=9, log_config=None, **options)

        def load(self) -> None:
            super().load()
            self.loaded_app = asgi3

    made = Mine(lambda scope: None, host="h")
    made.load()
    assert (made.port, made.host, made.loaded_app) == (9, "h", asgi3)


def test_serving_config_of_a_loop_factory() -> None:
    factory = config(loop="asyncio").get_loop_factory()
    assert factory is not None
    loop = factory()
    try:
        assert isinstance(loop, asyncio.SelectorEventLoop)
    finally:
        loop.close()
