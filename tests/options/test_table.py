"""The table of options itself: what every row must satisfy, and what its kinds accept."""

from __future__ import annotations

import asyncio
import inspect
import os
import ssl
import sys
from pathlib import Path
from typing import Any

import pytest

import fastserve
from fastserve.cli import main
from fastserve.options import table as options
from fastserve.options.processors import usable
from fastserve.options.table import GROUPS, OPTIONS, TABLE, Option, OptionError, Options

# uvicorn's parameters in its order, up to the one after which fastserve's own begin.
# fmt: off
UVICORN_ORDER = [
    "app", "host", "port", "uds", "fd", "loop", "http", "http2", "ws", "ws_max_size", "ws_max_queue",
    "ws_ping_interval", "ws_ping_timeout", "ws_per_message_deflate", "lifespan", "env_file", "log_config",
    "log_level", "access_log", "use_colors", "interface", "reload", "reload_dirs", "reload_delay",
    "reload_includes", "reload_excludes", "workers", "proxy_headers", "server_header", "date_header",
    "forwarded_allow_ips", "root_path", "limit_concurrency", "limit_max_requests", "limit_max_requests_jitter",
    "backlog", "timeout_keep_alive", "timeout_notify", "timeout_graceful_shutdown", "timeout_worker_healthcheck",
    "callback_notify", "ssl_keyfile", "ssl_certfile", "ssl_keyfile_password", "ssl_version", "ssl_cert_reqs",
    "ssl_ca_certs", "ssl_ciphers", "ssl_context_factory", "headers", "factory", "h11_max_incomplete_event_size",
    "reset_contextvars",
]
# fmt: on

LOOP = asyncio.SelectorEventLoop()  # not run, as that of a program which awaits serve() is not by the server
LOOP.close()

# Everything that each row takes from a program, as the server then sees it.
ACCEPTED: dict[str, list[tuple[Any, Any]]] = {
    "host": [("0.0.0.0", "0.0.0.0"), (None, None)],
    "port": [(0, 0), (65535, 65535), ("8080", 8080), (None, None), (80.0, 80)],
    "uds": [("/tmp/x", "/tmp/x"), (None, None)],
    "fd": [(0, 0), (None, None)],
    "loop": [
        ("uvloop", "uvloop"),
        ("mine:loop", "mine:loop"),
        ("none", "none"),
        ("UVLOOP", "uvloop"),
        (None, "none"),
        (LOOP, LOOP),
        (asyncio.SelectorEventLoop, asyncio.SelectorEventLoop),
    ],
    "http": [("httptools", "httptools"), ("llhttp", "llhttp"), ("h11", "h11"), ("mine:Own", "mine:Own"), (int, int)],
    "http2": [(False, False), ("no", False), (True, True), (None, None)],
    "limit_http2_streams": [(1, 1), (65536, 65536)],
    "ws": [
        ("websockets", "websockets"),
        ("wsproto", "wsproto"),
        ("none", "none"),
        (None, "none"),
        ("mine:Class", "mine:Class"),
    ],
    "ws_max_size": [(1, 1), (1e6, 1000000), (2**40, 2**40), (sys.maxsize, 2**62 - 1)],
    "ws_max_queue": [(1, 1), (sys.maxsize, 2**62 - 1)],
    "ws_ping_interval": [(None, None), (0, 0), (0.5, 0.5)],
    "ws_ping_timeout": [(None, None), (0, 0), (0.5, 0.5)],
    "ws_per_message_deflate": [(False, False), (None, False)],
    "lifespan": [("on", "on"), ("off", "off")],
    "env_file": [(None, None)],
    "log_config": [(None, None)],
    "log_level": [("debug", "debug"), ("WARNING", "warning"), ("trace", "trace"), (15, 15), (None, None)],
    "access_log": [(False, False), ("no", False), (1, True), (None, False)],
    "use_colors": [(True, True), (False, False), (None, None)],
    "interface": [("asgi2", "asgi2"), ("asgi3", "asgi3"), ("wsgi", "wsgi")],
    "server_header": [(False, False)],
    "date_header": [(False, False)],
    "proxy_headers": [(False, False)],
    "forwarded_allow_ips": [("*", "*"), (["10.0.0.1", "::1"], ["10.0.0.1", "::1"]), ("", ""), ({"*"}, ["*"])],
    "ssl_certfile": [
        ("x", "x"),
        (Path("x"), "x"),
        (None, None),
        ("", None),
        ([], None),
        (["x"], "x"),
        ((Path("x"), "y"), ["x", "y"]),
    ],
    "ssl_keyfile": [("x", "x"), (None, None), ("", None), (["x"], "x")],
    "ssl_keyfile_password": [("x", "x"), (None, None), ("", None)],
    "ssl_version": [(17, 17), ("17", 17), (ssl.PROTOCOL_TLS_SERVER, 17), (5, 5), (None, 17)],
    "ssl_cert_reqs": [(0, 0), ("2", 2), (ssl.CERT_OPTIONAL, 1), (None, 0)],
    "ssl_ca_certs": [("x", "x"), (None, None), ("", None)],
    "ssl_ciphers": [("x", "x"), (None, None), ("", None)],
    "ssl_context_factory": [(len, len), (None, None)],
    "ssl_hsts": [
        (9, "max-age=9"),
        ("0", "max-age=0"),
        (None, None),
        ("max-age=9; includeSubDomains",) * 2,
        ("max-age=31536000; includeSubDomains; preload",) * 2,
    ],
    "ssl_redirect": [
        (80, 80),
        ("80", 80),
        (0, 0),
        ("0.0.0.0:80", "0.0.0.0:80"),
        ("fd://4", "fd://4"),
        ("unix:x", "unix:x"),
        (None, None),
    ],
    "root_path": [("/api", "/api")],
    "limit_concurrency": [(1, 1), (None, None), (sys.maxsize, 2**62 - 1)],
    "limit_max_requests": [(1, 1), (None, None), (sys.maxsize, 2**62 - 1)],
    "limit_max_requests_jitter": [(0, 0), (7, 7), (None, 0)],
    "backlog": [(0, 0), (7, 7)],
    "timeout_keep_alive": [(0, 0), (0.5, 0.5), ("7", 7), (10**9, 10**9 - 1), (1e300, 10**9 - 1)],
    "timeout_notify": [(1, 1), (None, 30)],
    "timeout_graceful_shutdown": [(0, 0), (1.5, 1.5), (None, None)],
    "callback_notify": [(len, len), (None, None)],
    "headers": [([("a", "b")], [("a", "b")]), ([["a", "b"]], [("a", "b")]), (None, []), ([], [])],
    "factory": [(True, True)],
    "reset_contextvars": [(True, True)],
    "limit_request_line": [(1, 1)],
    "limit_request_head": [(1, 1)],
    "limit_request_fields": [(1, 1)],
    "limit_request_body": [(0, 0), (1, 1)],
    "timeout_request_head": [(0, 0), (2.5, 2.5)],
    "timeout_request_body": [(0, 0), (2.5, 2.5)],
    "timeout_write": [(0, 0), (2.5, 2.5)],
    "wsgi_threads": [(0, 0), ("20", 20)],
    "app_dir": [(None, None)],
    "reload": [(True, True), ("yes", True), (None, False)],
    "reload_dirs": [(None, []), ("src", []), ([Path("src")], [])],
    "reload_delay": [(0, 0), (1.5, 1.5), (None, 0.25)],
    "reload_includes": [(None, []), ("*.x", []), (["*.x", "*.y"], [])],
    "reload_excludes": [(None, []), ("*.x", []), (["*.x", "*.y"], [])],
    "workers": [(1, 1), (0, 1), (4, 4), ("4", 4), ("auto", usable()), ("AUTO", usable()), (None, 1)],
    "timeout_worker_healthcheck": [(1, 1), (None, 5)],
    "bind": [
        (None, None),
        ("h:1", ["h:1"]),
        (["h:0", "[::1]:1", ":2", "unix:/x", "fd://3", "http://h:1"],) * 2,
    ],
    "reuse_port": [(True, True)],
    "pid_file": [(None, None), ("x", "x"), (Path("x"), "x")],
    "workers_lifetime": [(None, None), (1.5, 1.5)],
    "workers_max_rss": [(None, None), (1, 1), ("2k", 2048), ("1.5M", 1572864), ("1GiB", 1 << 30), ("1T", 1 << 40)],
    "shutdown_delay": [(0, 0), (1.5, 1.5)],
    "sendfile": [(True, True)],
    "timeout_worker_blocked": [(None, None), (1, 1), ("60", 60)],
    "workers_affinity": [(True, True)],
    "preload": [(True, True)],
    "uds_permissions": [(None, None)],
    "workers_lifetime_jitter": [(0, 0)],
    "disconnect": [("silent", "silent"), ("raise", "raise")],
    "topics": [(None, None), ("", None), ("module:Class", "module:Class")],
    "topics_prefix": [("fastserve:", "fastserve:"), ("", "")],
    "topics_queue": [(1, 1), ("1000", 1000)],
    "topics_queue_size": [(1, 1), ("64K", 65536)],
    "topics_max_size": [(1, 1), ("1M", 1 << 20)],
    "access_log_format": [("default", "default"), ("json:ecs", "json:ecs"), ("%(h)s %%", "%(h)s %%")],
    "access_log_file": [(None, None), ("", None)],  # a name opens the file: tests/logs/test_access_file.py
    "access_log_skip": [(None, None), ("/a,/b*", ["/a", "/b*"]), (["/a", " /b , /c"], ["/a", "/b", "/c"])],
    "access_log_sample": [(0, 0), ("0.5", 0.5), (1, 1)],
    "log_slow": [(None, None), (0.5, 0.5), ("2", 2)],
    "request_id_header": [(None, None), ("", None), ("X-Request-Id", "X-Request-Id")],
    "log_format": [("default", "default"), ("JSON", "json")],
    "metrics_bind": [(None, None), ("h:1", ["h:1"]), (["h:0", "unix:/x"],) * 2],
    "metrics_routes": [(True, True)],
    "metrics_per_worker": [(True, True)],
    "control_socket": [(None, None), ("/run/control", "/run/control"), ("", None)],
    "control_socket_mode": [(None, None)],
    "static": [(None, None), ("/s=public", ["/s=public"]), (["/=a", "/b/=c=d"],) * 2],
    "static_headers": [(None, None)],
    "static_expires": [(None, None)],
    "health": [(None, None), ("", None), ("/healthz", "/healthz")],
    "shutdown_green": [(0, 0)],
    "proxy_headers_family": [("x-forwarded", "x-forwarded"), ("Forwarded", "forwarded")],
    "forwarded_hops": [(None, None), ("2", 2)],
    "forwarded_host": [(True, True), ("no", False)],
    "forwarded_prefix": [(True, True), (None, False)],
    "client_ip_header": [(None, None), ("", None), ("X-Real-IP", "X-Real-IP")],
    "root_path_mode": [("ADD", "add")],
    "worker_class": [("Thread", "thread")],
    "limit_requests": [(None, None), (1, 1), ("20", 20)],
    "queue": [(1000, 1000)],
    "queue_timeout": [(0.5, 0.5)],
    "limit_connections": [(None, None), (1, 1), ("20", 20)],
    "proxy_protocol": [("V2", "v2")],
    "proxy_protocol_from": [(None, None)],
    "allowed_hosts": [(None, None), ("A.example, *.b", ["a.example", "*.b"]), (["[::1]", "x"], ["[::1]", "x"])],
    "h11_max_incomplete_event_size": [(1, 1), (None, None)],
}

REFUSED: dict[str, list[Any]] = {
    "host": [5, b"127.0.0.1"],
    "port": [-1, 65536, "http", True, 80.5],
    "uds": [5, ""],
    "fd": [-1, "x"],
    "loop": ["nonsense", 5],
    "http": ["zttp", "module.Class", 5, None],
    "http2": ["x", 5],
    "limit_http2_streams": [0, 65537, None],
    "ws": ["wsaccel", 5],
    "ws_max_size": [0],
    "ws_max_queue": [0],
    "ws_ping_interval": [-1, "x"],
    "ws_ping_timeout": [-1, "x"],
    "ws_per_message_deflate": ["x"],
    "lifespan": ["maybe", None],
    "log_level": ["loud", True],
    "access_log": ["perhaps", 2],
    "use_colors": ["perhaps"],
    "interface": ["wsgi2", None],
    "server_header": ["x"],
    "date_header": ["x"],
    "proxy_headers": ["x"],
    "forwarded_allow_ips": [5, [5]],
    "ssl_certfile": [5, ["x", 5], ["x", ""]],
    "ssl_keyfile": [5],
    "ssl_keyfile_password": [5],
    "ssl_version": [16, "x"],
    "ssl_cert_reqs": [3, -1, True],
    "ssl_ca_certs": [5],
    "ssl_ciphers": [5],
    "ssl_context_factory": [5],
    "ssl_hsts": [
        "",
        "x",
        -1,
        1.5,
        True,
        "max-age=9; preload",
        "max-age=9; includeSubDomains; preload",
        "max-age=9\r\nx: y",
        "max-age=9;includeSubDomains",
    ],
    "ssl_redirect": ["", "x", -1, 65536, "65536", "http://h:80", "h:x", True, 1.5],
    "root_path": [None, 5],
    "limit_concurrency": [0, -1, "x"],
    "limit_max_requests": [0, "x"],
    "limit_max_requests_jitter": [-1],
    "backlog": [-1, None],
    "timeout_keep_alive": [-1, "x", None, float("nan"), float("inf")],
    "timeout_notify": [-1],
    "timeout_graceful_shutdown": [-1, "x"],
    "callback_notify": [5],
    "headers": [
        [("a",)],
        {"a": "b"},
        [5],
        ["ab"],
        [("a", 5)],
        [("a b", "c")],
        [("a", "b\r\nc")],
        [("a", "\x1b")],
        [("a", "\u20ac")],
        5,
    ],
    "factory": ["x"],
    "reset_contextvars": ["x"],
    "limit_request_line": [0],
    "limit_request_head": [0],
    "limit_request_fields": [0],
    "limit_request_body": [-1],
    "timeout_request_head": [-1],
    "timeout_request_body": [-1],
    "timeout_write": [-1],
    "wsgi_threads": [-1, None, "x"],
    "app_dir": [5],
    "h11_max_incomplete_event_size": [0, "x"],
    "env_file": [],
    "log_config": [],
    "reload": ["x"],
    "reload_dirs": [5, [5]],
    "reload_delay": [-1],
    "reload_includes": [5, [5]],
    "reload_excludes": [5, [5]],
    "workers": [-1, "many", 1.5],
    "timeout_worker_healthcheck": [0],
    "bind": [
        *("", "host", "8000", "host:http", "host:65536", "::1:80", "unix:", "fd://", "fd://x", 5, [5]),
        *("http://", "https://h", "ftp://h:1"),
    ],
    "reuse_port": ["x"],
    "pid_file": [5],
    "workers_lifetime": [-1, 0, "x"],
    "workers_max_rss": [0, "x", "1X", "", 1.5, "1e400"],
    "shutdown_delay": [-1, None],
    "sendfile": ["x"],
    "timeout_worker_blocked": [0, -1, "x", 1.5],
    "workers_affinity": ["x"],
    "preload": ["x"],
    "uds_permissions": ["8", -1, "1777", "", "rw", True],
    "workers_lifetime_jitter": [-1, None],
    "disconnect": ["loud", None],
    "topics": [5],
    "topics_prefix": [None, 5],
    "topics_queue": [0, None, "x"],
    "topics_queue_size": [0, None, "x"],
    "topics_max_size": [0, None, "x"],
    "access_log_format": ["x", "%(zz)s", "%(h)", "100 %", "%(h)10s", "%(h).3f", "%({x}y)s", None, 5],
    "access_log_file": [5],
    "access_log_skip": ["x", 5, [5]],
    "access_log_sample": [-0.1, 1.1, "x", None, True],
    "log_slow": [0, -1, "x"],
    "request_id_header": ["a b", "x:y", 5],
    "log_format": ["xml", None],
    "metrics_bind": ["", "host", "host:http", 5, [5]],
    "metrics_routes": ["x"],
    "metrics_per_worker": ["x"],
    "control_socket": [5],
    "control_socket_mode": ["8", -1, "1777", "", "rw", True],
    "static": ["", "/s", "s=public", "/s=", "=public", "/a b=c", "/a?b=c", "//a=b", 5, [5]],
    "static_headers": [[("a b", "c")], [("a", "b\n")], [("Content-Length", "1")], 5],
    "static_expires": [-1, 0.5, "x", True],
    "health": ["healthz", "/a?b", "/a b", "/ä", 5],
    "shutdown_green": [-1, None],
    "proxy_headers_family": ["both", None, ""],
    "forwarded_hops": [0, 101, "all", True],
    "forwarded_host": ["perhaps", 2],
    "forwarded_prefix": ["perhaps", 2],
    "client_ip_header": ["a b", "x:y", 5],
    "root_path_mode": ["take", None],
    "worker_class": ["gthread", None],
    "limit_requests": [0, -1, "x"],
    "limit_connections": [0, -1, "x"],
    "queue": [-1, None, "x"],
    "queue_timeout": [0, -1, None, "x"],
    "proxy_protocol": ["v3", None, True],
    "proxy_protocol_from": [5, [5]],
    "allowed_hosts": ["a:80", "a b", "*", "a.*", "*.", "::1", 5],
}


def values(cases: dict[str, list[Any]]) -> list[Any]:
    return [pytest.param(param, value, id=f"{param}-{value!r}") for param, each in cases.items() for value in each]


def config(**given: Any) -> fastserve.Config:
    return fastserve.Config("a:b", **{"log_config": None, **given})


def test_parameters_stand_in_uvicorns_order() -> None:
    parameters = list(inspect.signature(fastserve.Config).parameters)
    assert parameters[: len(UVICORN_ORDER)] == UVICORN_ORDER
    assert list(inspect.signature(fastserve.run).parameters) == parameters


def test_positional_arguments() -> None:
    made = fastserve.Config("a:b", "0.0.0.0", 9000)
    assert (made.host, made.port) == ("0.0.0.0", 9000)


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.param)
def test_row(option: Option) -> None:
    """A row has help and a known group, accepts its own default, and is on the command line and in the environment."""
    assert option.help.endswith((".", "]"))
    assert option.group in GROUPS
    assert option.checked(option.default) == (option.default if option.param != "headers" else None)
    assert option.environment == f"FASTSERVE_{option.param.upper()}"
    params = {param.name: param for param in main.params}
    assert params[option.param].envvar == option.environment
    assert option.name in params[option.param].opts


def test_every_parameter_is_tested() -> None:
    assert ACCEPTED.keys() == REFUSED.keys() == TABLE.keys()
    assert {name for name in Options.__dataclass_fields__ if name not in TABLE} == {"app"}


@pytest.mark.parametrize(("param", "case"), values(ACCEPTED))
def test_accepted(param: str, case: tuple[Any, Any]) -> None:
    given, seen = case
    certificate = {"ssl_certfile": "x"} if param.startswith("ssl_") else {}
    assert getattr(config(**{**certificate, param: given}), param) == seen


@pytest.mark.parametrize(
    "param", ["ssl_keyfile", "ssl_keyfile_password", "ssl_version", "ssl_cert_reqs", "ssl_ca_certs", "ssl_ciphers"]
)
def test_tls_without_a_certificate(param: str) -> None:
    """What would have no effect is refused in a line that names what is missing."""
    value = {"ssl_version": 5, "ssl_cert_reqs": 1}.get(param, "x")
    with pytest.raises(OptionError, match=rf"^{param} ?('x')? has no effect without ssl_certfile: give both$"):
        config(**{param: value})
    config(ssl_context_factory=len, **{param: value})


@pytest.mark.parametrize("given", [{"ssl_keyfile": "", "ssl_ca_certs": ""}, {"ssl_ciphers": "TLSv1"}])
def test_nothing_said_of_tls(given: dict[str, str]) -> None:
    """Variables that are not set, and what older uvicorns had for a default, ask for no TLS."""
    assert not config(**given).is_ssl


@pytest.mark.parametrize(("param", "value"), values(REFUSED))
def test_refused(param: str, value: Any) -> None:
    """A value that cannot be is an OptionError, a ValueError, that begins with the name of the parameter."""
    with pytest.raises(OptionError, match=rf"^{param}: .") as caught:
        config(**{param: value})
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    ("param", "text"),
    [("loop", "zuvloop, none or module:factory"), ("http", "auto, llhttp, httptools, h11 or module:Class")],
)
def test_choices_are_named(param: str, text: str) -> None:
    with pytest.raises(OptionError, match=f"'nonsense' is not one of .*{text}$"):
        config(**{param: "nonsense"})


def test_unknown_parameter() -> None:
    with pytest.raises(TypeError, match="nonsense"):
        config(nonsense=1)


def test_choices_have_something_behind_them() -> None:
    assert set(options.LOOPS) == fastserve.config.LOOP_FACTORIES.keys()
    assert set(options.HTTP) == fastserve.config.HTTP_PROTOCOLS.keys()
    assert set(options.WS) == fastserve.config.WS_PROTOCOLS.keys()
    assert set(options.LIFESPAN) == fastserve.config.LIFESPAN.keys()


def test_files_in_a_variable(tmp_path: Path) -> None:
    """They are separated as in PATH; the path of a single one, missing or not, may have that character in it."""
    one, two, odd = (str(tmp_path / name) for name in ("one", "two", f"odd{os.pathsep}one"))
    for path in (one, odd):
        Path(path).touch()
    split = TABLE["ssl_certfile"].kind.split
    both, missing_first = one + os.pathsep + two, two + os.pathsep + one
    assert [split(text) for text in (one, two, odd, both, missing_first, one + os.pathsep)] == [
        [one], [two], [odd], [one, two], [missing_first], [one],
    ]  # fmt: skip
