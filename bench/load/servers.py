"""The servers and the command line of each: one worker, uvloop, a free port, the access log as the row says."""

from __future__ import annotations

import compileall
import contextlib
import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import metadata, util
from pathlib import Path

from bench.load import files
from bench.load.certificate import certificate
from bench.load.rows import ALONE, OVER_HTTP1, Row

_HOST = "127.0.0.1"


@dataclass(frozen=True)
class Server:
    """How to start one server for a row; `package` is its distribution, whose absence stops the run with a sentence.

    `environment` is added to the child's: the comparison of two commits puts each one's build on PYTHONPATH.
    `deflate` is false for one that never compresses WebSocket messages, `wsgi` for one that serves no WSGI application,
    `static` true for one that serves files without an application. `cannot` has other rows that it does not serve, each
    with the reason. With `over_http1` it serves the rows of HTTP/2 alone, over HTTP/1.1; with `only_wsgi` the rows of
    WSGI alone.
    """

    name: str
    package: str
    arguments: Callable[[Row], list[str]]
    environment: dict[str, str] = field(default_factory=dict)
    deflate: bool = True
    wsgi: bool = True
    static: bool = False
    cannot: Mapping[str, str] = field(default_factory=dict)
    over_http1: bool = False
    only_wsgi: bool = False

    def command(self, row: Row) -> list[str]:
        return [sys.executable, "-m", *self.arguments(row)]

    def serves(self, row: Row) -> bool:
        if self.name == "floor":
            return row.floor is not None
        if self.name == ALONE:
            return row.alone
        if self.over_http1 and (not row.streams or row.kind != "cpu"):
            return False
        if self.only_wsgi and not row.wsgi:
            return False
        return not self.reason_against(row)

    def reason_against(self, row: Row) -> str:
        """Return why a peer cannot serve a row; empty for one that can, and where there is nothing to say."""
        if row.wsgi and not self.wsgi:
            return "serves no WSGI applications"
        if row.static and not self.static:
            return "serves no static files"
        if row.echo is not None and row.echo.deflate and not self.deflate:
            return "compresses no WebSocket messages"
        return self.cannot.get(row.name, "")

    def asked(self, row: Row) -> Row:
        """Return the row as it is asked of this server."""
        return row.on_http1() if self.over_http1 else row


def _wsgi(row: Row) -> list[str]:
    return ["--interface", "wsgi"] if row.wsgi else []


def _tls(row: Row, chain: str = "--ssl-certfile", key: str = "--ssl-keyfile") -> list[str]:
    return [chain, certificate().chain, key, certificate().key] if row.tls else []


def _static(row: Row, option: str, route: str = "/static=") -> list[str]:
    return [option, f"{route}{files.directory()}"] if row.static else []


def _fastserve(row: Row) -> list[str]:
    log = "--access-log" if row.access_log else "--no-access-log"
    form = ["--access-log-format", "json"] if row.json_log else []
    more = [*form, *_wsgi(row), *_tls(row), *_static(row, "--static")]
    return ["fastserve", row.app, "--host", _HOST, "--port", "0", log, *more]


def _fastserve_inline(row: Row) -> list[str]:
    return [*_fastserve(row), "--wsgi-threads", "0"]


def _uvicorn(row: Row) -> list[str]:
    log = "--access-log" if row.access_log else "--no-access-log"
    http = ["zttp", "--http2"] if row.streams else ["httptools"]
    server = ["uvicorn", row.app, "--host", _HOST, "--port", "0", "--loop", "uvloop", "--http", *http, log]
    return [*server, *_wsgi(row), *_tls(row)]


def _uvicorn_fast(row: Row) -> list[str]:
    return [*_uvicorn(row), "--no-proxy-headers", "--no-server-header", "--no-date-header", "--ws", "none"]


def _on_zuvloop(arguments: Callable[[Row], list[str]]) -> Callable[[Row], list[str]]:
    return lambda row: [*arguments(row), "--loop", "zuvloop"]  # of two --loop the last one counts


def _granian(row: Row) -> list[str]:
    log = "--access-log" if row.access_log else "--no-access-log"
    # It serves no more than 1024 connections at a time unless told.
    many = ["--backpressure", str(2 * row.connections)] if row.kind == "idle" else []
    interface = "wsgi" if row.wsgi else "asgi"
    server = ["granian", "--interface", interface, "--host", _HOST, "--port", "0", "--workers", "1", "--loop", "uvloop"]
    return [*server, *many, *_tls(row, "--ssl-certificate"), *_static(row, "--static-path-mount", ""), log, row.app]


def _hypercorn(row: Row) -> list[str]:
    log = ["--access-logfile", "-"] if row.access_log else []
    tls = _tls(row, "--certfile", "--keyfile")
    app = f"wsgi:{row.app}" if row.wsgi else row.app
    return ["hypercorn", "--bind", f"{_HOST}:0", "--workers", "1", "--worker-class", "uvloop", *tls, *log, app]


def _h2corn(row: Row) -> list[str]:
    log = "--access-log" if row.access_log else "--no-access-log"
    server = ["h2corn", row.app, "--bind", f"{_HOST}:0", "--workers", "1", "--loop", "uvloop"]
    return [*server, log, *_tls(row, "--certfile", "--keyfile")]


def _free_port() -> str:
    """Return a port for a server that cannot be told to find one itself."""
    with socket.create_server((_HOST, 0)) as sock:
        return str(sock.getsockname()[1])


def _peregrine(row: Row) -> list[str]:
    log = ["--access-log"] if row.access_log else []
    # It serves no more than 4096 connections at a time unless told, and compresses WebSocket messages when told.
    many = ["--max-connections", str(2 * row.connections)] if row.kind == "idle" else []
    deflate = ["--ws-compress"] if row.echo is not None and row.echo.deflate else []
    protocol = "wsgi" if row.wsgi else "asgi"
    server = ["peregrine", row.app, "--host", _HOST, "--port", _free_port(), "--workers", "1", "--protocol", protocol]
    return [*server, *log, *many, *deflate, *_tls(row, "--tls-cert", "--tls-key"), *_static(row, "--static-dir")]


def _floor(row: Row) -> list[str]:
    return ["bench.load.floor", row.name, *(certificate()[:2] if row.tls else ())]


def _alone(row: Row) -> list[str]:
    return ["bench.load.alone", row.name]


# What h2load says of them: requests that are errored.
_UVICORN_CANNOT = {"h2-1x100": "takes it for a flood, and closes the connection after some 4,000 requests"}
_PEREGRINE_CANNOT = {"h2-1x100": "resets some of the streams where 100 are open on a connection"}

FASTSERVE = Server("fastserve", "fastserve", _fastserve, static=True)
SERVERS: tuple[Server, ...] = (
    FASTSERVE,
    Server("uvicorn", "uvicorn", _uvicorn, cannot=_UVICORN_CANNOT),
    Server("uvicorn-fast", "uvicorn", _uvicorn_fast, cannot=_UVICORN_CANNOT),
    Server("fastserve-zuvloop", "fastserve", _on_zuvloop(_fastserve), static=True),
    Server("uvicorn-zuvloop", "uvicorn", _on_zuvloop(_uvicorn), cannot=_UVICORN_CANNOT),
    Server("granian", "granian", _granian, deflate=False, static=True),
    Server("h2corn", "h2corn", _h2corn, wsgi=False),
    Server("peregrine", "peregrine", _peregrine, static=True, cannot=_PEREGRINE_CANNOT),
    Server("hypercorn", "hypercorn", _hypercorn),
    Server(OVER_HTTP1, "fastserve", _fastserve, over_http1=True),
    Server("fastserve-inline", "fastserve", _fastserve_inline, only_wsgi=True),
    Server(ALONE, "uvloop", _alone),
    Server("floor", "uvloop", _floor, static=True),
)
BY_NAME: dict[str, Server] = {server.name: server for server in SERVERS}
DEFAULT = (
    "fastserve",
    "uvicorn",
    "granian",
    "h2corn",
    "peregrine",
    "hypercorn",
    OVER_HTTP1,
    "fastserve-inline",
    ALONE,
    "floor",
)
REFERENCE = "uvicorn"

# What the rows' applications and the servers' command lines need beside the servers themselves.
_COMPANIONS = ("uvloop", "zuvloop", "httptools", "zttp", "starlette", "fastapi", "pydantic", "a2wsgi", "flask")
_DISTRIBUTIONS = {"peregrine": "peregrine-server"}  # of packages that are called otherwise


def missing(servers: list[Server], rows: list[Row]) -> list[str]:
    """The packages that the servers and rows need and that are not installed."""
    needed = {server.package for server in servers if not server.environment} | {"uvloop"}
    needed |= {"httptools"} if any(server.package == "uvicorn" for server in servers) else set()
    needed |= {name for name in ("starlette", "fastapi", "flask") if any(name in row.app for row in rows)}
    needed |= {"zuvloop"} if any(server.name.endswith("-zuvloop") for server in servers) else set()
    needed |= {"a2wsgi"} if any(row.wsgi for row in rows) and "uvicorn" in needed else set()
    needed |= {"h2"} if any(row.streams for row in rows) else set()
    needed |= (
        {"zttp"}
        if any(row.streams for row in rows) and any(server.package == "uvicorn" for server in servers)
        else set()
    )
    needed |= {"trustme"} if any(row.tls for row in rows) else set()
    return sorted(name for name in needed if util.find_spec(name) is None)


def compile_bytecode(servers: list[Server]) -> None:
    """Compile fastserve and the applications, as pip leaves what it installs.

    Else a source tree is compiled anew at each start where Python may not write bytecode.
    """
    folders = {Path(__file__).parent}
    for server in servers:
        if server.environment:
            folders.add(Path(server.environment["PYTHONPATH"], FASTSERVE.package))
        elif (
            server.package == FASTSERVE.package
            and (found := util.find_spec(FASTSERVE.package)) is not None
            and found.origin
        ):
            folders.add(Path(found.origin).parent)
    for folder in folders:
        compileall.compile_dir(folder, quiet=2)


def versions(servers: list[Server]) -> dict[str, str]:
    """The versions of the servers and of the libraries under them; one that is run from its sources may have none."""
    found: dict[str, str] = {}
    for name in [server.package for server in servers] + list(_COMPANIONS):
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(_DISTRIBUTIONS.get(name, name))
    return found
