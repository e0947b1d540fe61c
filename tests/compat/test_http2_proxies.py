"""Proxies that speak HTTP/2 to the server: HAProxy, nginx for gRPC, and Apache."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import front
import httpx
import pytest
from support import PATIENCE, Command, held_port
from support import command as start_command

from .apps.http2_app import EVENTS
from .conftest import TESTS, TIMEOUT, texts_at_once

pytestmark = pytest.mark.programs

BODY = bytes(range(256)) * 12_000

HAPROXY = """
defaults
    mode http
    timeout connect 60s
    timeout client 60s
    timeout server 60s
frontend http1
    bind {folder}/http1.sock
    default_backend server
frontend http2
    bind {folder}/http2.sock proto h2
    default_backend server
backend server
    http-reuse always
    server server 127.0.0.1:{port} proto h2
"""
NGINX = """
{user}
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log stderr;
events {{ }}
http {{
    access_log off;
    client_max_body_size 0;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    upstream server {{
        server 127.0.0.1:{port};
        keepalive 4;
    }}
    server {{
        listen unix:{folder}/http2.sock http2;
        location / {{ grpc_pass grpc://server; }}
    }}
}}
"""
APACHE = """
ServerName localhost
ServerRoot {folder}
PidFile {folder}/apache.pid
ErrorLog {folder}/error.log
Listen 127.0.0.1:{own}
LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule proxy_module {modules}/mod_proxy.so
LoadModule proxy_http2_module {modules}/mod_proxy_http2.so
ProxyPass / h2c://127.0.0.1:{port}/
"""
MODULES = Path("/usr/lib/apache2/modules")


@pytest.fixture(scope="module")
def server() -> Iterator[Command]:
    process = start_command("compat.apps.http2_app:app", "--app-dir", str(TESTS), "--port", "0")
    process.wait_line(r"running on http")
    yield process
    process.close()


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A folder whose path is short enough for a UNIX socket."""
    with tempfile.TemporaryDirectory(prefix="h2-") as name:
        yield Path(name)


def started(argv: list[str], connect: Callable[[], socket.socket]) -> Command:
    """Start a proxy that does not say when it listens, and return once it does, or has ended."""
    process = Command(argv)
    front.accepts(process, connect)
    return process


def started_on(path: Path, argv: list[str]) -> Command:
    def connect() -> socket.socket:
        sock = socket.socket(socket.AF_UNIX)
        try:
            sock.settimeout(PATIENCE)
            sock.connect(str(path))
        except OSError:
            sock.close()
            raise
        return sock

    process = started(argv, connect)
    assert process.process.poll() is None, process.output
    return process


@pytest.fixture(scope="module")
def haproxy(server: Command, folder: Path) -> Iterator[Path]:
    """Start HAProxy; return the folder of its sockets."""
    argv = [front.program("haproxy"), "-db", "-f", str(folder / "haproxy.cfg")]
    (folder / "haproxy.cfg").write_text(HAPROXY.format(folder=folder, port=server.port))
    process = started_on(folder / "http2.sock", argv)
    yield folder
    process.close()


@pytest.fixture(scope="module")
def nginx(server: Command) -> Iterator[Path]:
    argv = [front.program("nginx"), "-e", "stderr", "-c"]
    with tempfile.TemporaryDirectory(prefix="h2-") as name:
        user = "user root;" if os.getuid() == 0 else ""
        (Path(name) / "nginx.conf").write_text(NGINX.format(folder=name, port=server.port, user=user))
        process = started_on(Path(name) / "http2.sock", [*argv, f"{name}/nginx.conf", "-p", name])
        yield Path(name)
        process.close()


@pytest.fixture(scope="module")
def apache(server: Command, folder: Path) -> Iterator[str]:
    """Start Apache; return its URL."""
    argv = [front.program("apache2"), "-f", str(folder / "apache.conf"), "-D", "FOREGROUND", "-X"]
    with held_port() as own:
        text = APACHE.format(folder=folder, port=server.port, own=own, modules=MODULES)
        (folder / "apache.conf").write_text(text)
        process = started(argv, lambda: socket.create_connection(("127.0.0.1", own), PATIENCE))
        assert process.process.poll() is None, process.output
        yield f"http://127.0.0.1:{own}"
        process.close()


def check(url: str, **transport: Any) -> None:
    """Ask, through a proxy, for what a server does."""
    with httpx.Client(base_url=url, transport=httpx.HTTPTransport(**transport), timeout=TIMEOUT) as client:
        assert client.get("/a").text == "GET /a 2"
        assert client.post("/whole", content=BODY).content == BODY
        assert (
            client.post("/whole", content=(BODY[at : at + 9999] for at in range(0, 99990, 9999))).content
            == BODY[:99990]
        )
        assert len(client.get("/size/3000000").content) == 3_000_000
        head = client.head("/size/100")
        assert (head.status_code, head.headers["content-length"], head.content) == (200, "100", b"")
        assert client.get("/events").text == "".join(f"data: {number}\n\n" for number in range(EVENTS))
        assert client.post("/", content=bytes(300_000)).text == "POST / 2"  # which nobody reads
    texts = texts_at_once((f"{url}/{at}" for at in range(200)), **transport)
    assert texts == [f"GET /{at} 2" for at in range(200)]


class TestHaproxy:
    def test_http1_in_front(self, haproxy: Path) -> None:
        check("http://app.example", uds=str(haproxy / "http1.sock"))

    def test_http2_in_front(self, haproxy: Path) -> None:
        check("http://app.example", uds=str(haproxy / "http2.sock"), http1=False, http2=True)

    def test_client_that_leaves(self, haproxy: Path, server: Command) -> None:
        """Its stream alone ends, and the connection serves the others."""
        transport = httpx.HTTPTransport(uds=str(haproxy / "http1.sock"))
        with httpx.Client(base_url="http://app.example", transport=transport, timeout=TIMEOUT) as client:
            for _ in range(20):
                with client.stream("GET", "/live") as response:
                    assert next(response.iter_bytes()) == b"data: event\n\n"
            assert client.get("/a").text == "GET /a 2"
        assert not [line for line in server.lines if "ERROR" in line or "WARNING" in line]


class TestGrpc:
    @pytest.mark.parametrize("proxy", ["haproxy", "nginx"])
    def test_calls(self, request: pytest.FixtureRequest, proxy: str) -> None:
        grpc: Any = pytest.importorskip("grpc")
        folder = request.getfixturevalue(proxy)
        with grpc.insecure_channel(f"unix:{folder / 'http2.sock'}") as channel:
            for size in (0, 1, 100_000, 3_000_000):
                assert channel.unary_unary("/echo.Echo/Unary")(bytes(size), timeout=TIMEOUT) == bytes(size)
            messages = [b"%d" % at * at for at in range(200)]
            assert list(channel.stream_stream("/echo.Echo/Stream")(iter(messages), timeout=TIMEOUT)) == messages
            with pytest.raises(grpc.RpcError) as caught:
                channel.unary_unary("/echo.Echo/Fail")(b"x", timeout=TIMEOUT)
            assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.INVALID_ARGUMENT, "as asked")


def test_apache(apache: str) -> None:
    check(apache)
