"""`--ssl-redirect` from outside: what a client gets where there is no TLS, on each kind of socket and process."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import support
from core.responses import Client, read_one, read_responses
from fakes.worker import get
from supervisors.clients import ready, replace_workers
from supervisors.test_binds import ACTIVATE
from tls.pki import Pki, TlsRunning
from tls.test_server import show

import fastserve

Serve = Callable[..., TlsRunning]
TOKEN = "/.well-known/acme-challenge/token"


def redirect_port(server: TlsRunning) -> int:
    return int(server.server.servers[1].sockets[0].getsockname()[1])


def plain(port: int, data: bytes, host: str = "127.0.0.1") -> bytes:
    """Return what comes until the server closes the connection."""
    with socket.create_connection((host, port), support.PATIENCE) as sock:
        sock.sendall(data)
        return support.read_all(sock)


def request(target: str = "/", host: str = "localhost", fields: str = "", method: str = "GET") -> bytes:
    return f"{method} {target} HTTP/1.1\r\nHost: {host}\r\n{fields}Connection: close\r\n\r\n".encode()


def located(response: bytes) -> tuple[int, str | None]:
    found = read_one(response)
    return found.status, dict(found.headers).get(b"location", b"").decode() or None


async def seen(scope: Any, receive: Any, send: Any) -> None:
    body = json.dumps([scope["scheme"], scope["path"], "tls" in scope["extensions"]]).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


class TestResponses:
    def test_http1(self, serve: Serve, pki: Pki) -> None:
        server = serve(seen, ssl_redirect=0, root_path="/root")
        port = redirect_port(server)
        here = f"localhost:{port}"
        goal = f"https://localhost:{server.port}"
        assert located(plain(port, request("/a%20b?c=d", here))) == (301, f"{goal}/a%20b?c=d")
        post = f"POST /p HTTP/1.1\r\nHost: {here}\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc"
        assert located(plain(port, post.encode())) == (308, f"{goal}/p")
        assert located(plain(port, request("/", "evil.example"))) == (421, None)
        assert located(plain(port, request("*", here, method="OPTIONS"))) == (308, f"{goal}/")
        assert located(plain(port, b"GET / HTTP/1.0\r\n\r\n")) == (400, None)
        # A target in absolute form decides, and not Host.
        assert located(plain(port, request("http://evil.example/", here))) == (421, None)
        assert located(plain(port, request(f"http://{here}/x?y", "evil.example"))) == (301, f"{goal}/x?y")
        for target in ("/a\x01", "/a\x7f", "/a\r\nx: y\0", "evil.example", "http://evil.example@localhost/"):
            assert located(plain(port, request(target, here)))[0] in (400, 421), target
        assert located(plain(port, request("//evil.example/[", here))) == (301, f"{goal}//evil.example/[")
        assert server.fetch()[0] == 200

    def test_requests_of_one_connection(self, serve: Serve) -> None:
        """It is kept, pipelined requests are in order, and a body is not mistaken for a request."""
        server = serve(seen, ssl_redirect=0)
        port = redirect_port(server)
        body = b"POST /b HTTP/1.1\r\nHost: localhost\r\nContent-Length: 6\r\n\r\nGET / "
        data = plain(port, get("/a", "Host: localhost").replace(b"Host: x\r\n", b"") + body + request("/c"))
        assert [line.split()[1] for line in data.split(b"\r\n") if line.startswith(b"location")] == [
            b"https://localhost/a",
            b"https://localhost/b",
            b"https://localhost/c",
        ]

    def test_http2_by_prior_knowledge(self, serve: Serve) -> None:
        server = serve(seen, ssl_redirect=0)
        port = redirect_port(server)
        argv = [
            "curl",
            "--silent",
            "--http2-prior-knowledge",
            "--write-out",
            "%{http_version} %{http_code} %{redirect_url}",
        ]
        url = f"http://localhost:{port}/x"
        done = subprocess.run([*argv, url], capture_output=True, text=True, timeout=support.PATIENCE, check=True)
        assert done.stdout == f"2 301 https://localhost:{server.port}/x"

    def test_followed_by_a_client(self, serve: Serve, pki: Pki) -> None:
        server = serve(seen, ssl_redirect=0)
        url = f"http://localhost:{redirect_port(server)}/x"
        argv = ["curl", "--silent", "--fail", "--location", "--post301", "--cacert", pki.ca, "--data", "body", url]
        done = subprocess.run(argv, capture_output=True, timeout=support.PATIENCE, check=True)
        assert json.loads(done.stdout) == ["https", "/x", True]

    def test_websocket(self, serve: Serve, log: Callable[[], list[str]]) -> None:
        """An upgrade is a request like others, of which the log says nothing."""
        server = serve(seen, ssl_redirect=0)
        fields = (
            "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            "Connection: Upgrade\r\n"
        )
        data = request("/ws", fields=fields).replace(b"Connection: close\r\n", b"")
        port = redirect_port(server)
        with socket.create_connection(("127.0.0.1", port), support.PATIENCE) as sock:
            sock.sendall(data + request())
            assert [each.status for each in read_responses(support.read_all(sock))] == [301, 301]
        assert not [line for line in log() if "upgrade" in line]

    @pytest.mark.parametrize("options", [{}, {"http": "h11"}])
    def test_challenge_gets_to_the_application(self, serve: Serve, options: dict[str, Any]) -> None:
        server = serve(seen, ssl_redirect=0, **options)
        port = redirect_port(server)
        assert json.loads(read_one(plain(port, request(TOKEN, "new.example"))).body) == ["http", TOKEN, False]
        assert located(plain(port, request(f"{TOKEN}/../x")))[0] == 301

    def test_health(self, serve: Serve) -> None:
        server = serve(seen, ssl_redirect=0, health="/healthz")
        assert read_one(plain(redirect_port(server), request("/healthz", "10.0.0.1"))).body == b"ok"

    def test_names_follow_the_certificate(self, serve: Serve, pki: Pki, tmp_path: Path) -> None:
        files = [tmp_path / "c.pem", tmp_path / "k.pem"]
        for hosts, (wanted, refused) in (
            (("a.example",), ("a.example", "b.example")),
            (("b.example",), ("b.example", "a.example")),
        ):
            for made, file in zip(pki.issue(hosts[0], hosts=hosts), files, strict=True):
                file.write_bytes(Path(made).read_bytes())
            if hosts == ("a.example",):
                server = serve(seen, ssl_redirect=0, ssl_certfile=str(files[0]), ssl_keyfile=str(files[1]))
            else:
                server.server.reload_certificates()
            port = redirect_port(server)
            assert located(plain(port, request("/", wanted))) == (301, f"https://{wanted}/")
            assert located(plain(port, request("/", refused))) == (421, None)


class TestLimits:
    """They are those of every connection."""

    def test_slow_and_idle_clients(self, serve: Serve) -> None:
        server = serve(seen, ssl_redirect=0, timeout_request_head=0.05, timeout_keep_alive=0.05)
        port = redirect_port(server)
        assert plain(port, b"GET / HTT").startswith(b"HTTP/1.1 408 ")
        assert plain(port, b"") == b""
        kept = request().replace(b"Connection: close\r\n", b"")
        assert located(plain(port, kept))[0] == 301

    def test_sizes(self, serve: Serve) -> None:
        server = serve(seen, ssl_redirect=0, limit_request_line=100, limit_request_head=200, limit_request_body=10)
        port = redirect_port(server)
        assert located(plain(port, request("/" + "x" * 200)))[0] == 414
        assert located(plain(port, request(fields=f"X: {'x' * 300}\r\n")))[0] == 431
        assert located(plain(port, request(fields="Content-Length: 11\r\n", method="POST")))[0] == 413

    def test_what_is_tls(self, serve: Serve) -> None:
        """A client that speaks TLS there is told so in the clear, or closed."""
        server = serve(seen, ssl_redirect=0)
        answer = plain(redirect_port(server), b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200))
        assert answer.startswith(b"HTTP/1.1 400 ")


class TestStop:
    def test_it_does_not_wait_for_idle_clients(self, serve: Serve) -> None:
        server = serve(seen, ssl_redirect=0)
        sock = socket.create_connection(("127.0.0.1", redirect_port(server)), support.PATIENCE)
        with sock:
            assert Client(sock).ask(request().replace(b"Connection: close\r\n", b"")).status == 301
            assert len(server.server.server_state.connections) == 1
            server.server.should_exit = True
            assert sock.recv(1) == b""
            server.join()

    def test_it_waits_for_a_challenge(self, serve: Serve) -> None:
        called, release = threading.Event(), asyncio.Event()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            called.set()
            await release.wait()
            await seen(scope, receive, send)

        server = serve(app, ssl_redirect=0)
        with socket.create_connection(("127.0.0.1", redirect_port(server)), support.PATIENCE) as sock:
            sock.sendall(request(TOKEN).replace(b"Connection: close\r\n", b""))
            assert called.wait(support.PATIENCE)
            server.server.should_exit = True
            while not server.server.server_state.stopping:
                server.go_round()
            server.server.loop.call_soon_threadsafe(release.set)
            response = read_one(support.read_all(sock))
        assert response.status == 200
        assert (b"connection", b"close") in response.headers
        server.join()


def test_ipv6(serve: Serve, pki: Pki) -> None:
    made = pki.issue("six", hosts=("::1",))
    options = dict(zip(("ssl_certfile", "ssl_keyfile"), made, strict=True))
    server = serve(seen, host="::1", ssl_redirect=0, **options)
    port = redirect_port(server)
    assert located(plain(port, request("/", f"[::1]:{port}"), "::1")) == (301, f"https://[::1]:{server.port}/")
    assert located(plain(port, request("/", f"[::2]:{port}"), "::1")) == (421, None)


def test_unix_socket(serve: Serve, tmp_path: Path) -> None:
    path = str(tmp_path / "redirect")
    server = serve(seen, ssl_redirect=f"unix:{path}")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(support.PATIENCE)
        sock.connect(path)
        sock.sendall(request("/x"))
        assert located(support.read_all(sock)) == (301, "https://localhost/x")
    server.stop()
    assert not os.path.exists(path)  # noqa: PTH110


def test_ssl_redirect() -> None:
    """One for each host, none for those without TLS."""
    binds = ["127.0.0.1:1", "127.0.0.1:2", "[::1]:3", "http://0.0.0.0:4", "unix:x"]
    config = fastserve.Config(show, log_config=None, bind=binds, ssl_certfile="c", ssl_redirect=80)
    assert [(place.host, place.port) for place in config.redirects] == [("127.0.0.1", 80), ("::1", 80)]


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [(), ("--workers", "2"), ("--workers", "2", "--reuse-port"), ("--reload",)])
def test_processes(start: support.StartCommand, pki: Pki, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """The parent binds the port, and each worker redirects there, also after a reload."""
    options = ["--lifespan", "off", "--ssl-redirect", "0", "--log-level", "debug", *arguments]
    server = start("secure", *options, cwd=tmp_path)  # in which nothing changes
    port = int(server.wait_line(r"Redirecting to HTTPS from port (\d+)$")[1])
    pids = ready(server, 2) if "--workers" in arguments else []

    def check() -> None:
        for _ in range(4):
            assert located(plain(port, request("/x", f"localhost:{port}"))) == (
                301,
                f"https://localhost:{server.port}/x",
            )
            assert located(plain(port, request(TOKEN)))[0] == 200
        context = pki.trusting()
        with context.wrap_socket(server.connect(), server_hostname="localhost") as sock:
            sock.sendall(request())
            assert b'"scheme": "https"' in support.read_all(sock)

    check()
    if pids:
        replace_workers(server, pids)
        check()
    server.stop()
    assert [line for line in server.lines if line.startswith(("ERROR", "WARNING"))] == []
    with pytest.raises(ConnectionRefusedError):
        plain(port, request())


@pytest.mark.slow
@pytest.mark.parametrize(("option", "code"), [("fd://4", 0), ("80", 2)])
def test_socket_activation(pki: Pki, option: str, code: int) -> None:
    """Of the sockets that systemd passes, the one that is named redirects."""
    with contextlib.ExitStack() as stack:
        secure, redirecting = (stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(2))
        fds = (secure.fileno(), redirecting.fileno())
        args = ["shell_apps:app", "--app-dir", support.APPS, *pki.arguments, "--ssl-redirect", option]
        environment = {"PASS": " ".join(map(str, fds))}
        server = support.Command([sys.executable, "-c", ACTIVATE, *args], env=environment, pass_fds=fds)
        stack.callback(server.close)
        if code:
            assert server.wait() == code
            (line,) = server.lines
            assert line.startswith("Error: ssl_redirect 80 and addresses without a host and port: give the address")
            return
        server.wait_line("Redirecting to HTTPS")
        port = redirecting.getsockname()[1]
        expected = (301, f"https://localhost:{secure.getsockname()[1]}/")
        assert located(plain(port, request("/", f"localhost:{port}"))) == expected
        with pki.trusting().wrap_socket(
            socket.create_connection(secure.getsockname()), server_hostname="localhost"
        ) as sock:
            sock.sendall(request())
            assert support.read_all(sock).startswith(b"HTTP/1.1 200 ")
        server.stop()
