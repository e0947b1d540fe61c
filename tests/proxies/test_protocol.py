"""The PROXY protocol over real sockets: before HTTP, before TLS, from others, and nothing at all."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
import ssl
import subprocess
from pathlib import Path
from typing import Any

import pytest
import support

from fastserve import Config
from fastserve.options.table import OptionError
from fastserve.proxies.protocol import Expected

from .seen import app, started
from .wire import MEANT, TLVS, raw, v1, v2

REQUEST = b"GET /p HTTP/1.1\r\nHost: app\r\nConnection: close\r\n\r\n"
HTTP = ["auto", "h11"]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("proxied")
    files = {"ssl_keyfile": str(folder / "key.pem"), "ssl_certfile": str(folder / "cert.pem")}
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj",
         "/CN=app", "-keyout", files["ssl_keyfile"], "-out", files["ssl_certfile"]],
        check=True, capture_output=True,
    )  # fmt: skip
    return files


def seen_in(response: bytes) -> Any:
    head, _, body = response.partition(b"\r\n\r\n")
    assert b" 200 " in head, response
    return json.loads(body)


def pieces(sock: socket.socket, data: bytes) -> None:
    """Send octet by octet, each in a packet of its own."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for at in range(len(data)):
        sock.sendall(data[at : at + 1])


def closed(sock: socket.socket) -> bool:
    try:
        return sock.recv(100) == b""
    except ConnectionResetError:
        return True


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("http", HTTP)
class TestServed:
    @pytest.mark.parametrize(
        ("header", "client"),
        [
            (v1(), ["192.0.2.1", 4711]),
            (v2(tlvs=TLVS), ["192.0.2.1", 4711]),
            (v2("2001:db8::1"), ["2001:db8::1", 4711]),
            (b"PROXY UNKNOWN\r\n", None),
            (v2(command=0x20), None),
            (raw(bytes(216), family=0x31), None),
        ],
    )
    def test_proxy_protocol(self, serve: support.Serve, http: str, loop: str, header: bytes, client: Any) -> None:
        """What the header says is in the scope: item 72 of the ASGI checklist."""
        server = started(serve, "http1", http=http, loop=loop, proxy_protocol="auto")
        for send in (socket.socket.sendall, pieces):
            with server.connect() as sock:
                send(sock, header + REQUEST)
                found = seen_in(support.read_all(sock))
                own = list(sock.getsockname())
            assert found["client"] == (client or own)
            assert found["server"] == list(server.address)
            said = found["extensions"].get("fastserve.proxy_protocol")
            if header == v2(tlvs=TLVS):
                assert said == json.loads(json.dumps(MEANT, default=bytes.hex))
            else:
                assert (said is None) == (client is None and header[12:13] != b"\x21")

    def test_before_tls(self, serve: support.Serve, http: str, loop: str, certificate: dict[str, str]) -> None:
        """The header is plain and comes first; with it may come the first octets of TLS."""
        server = started(serve, "http1", http=http, loop=loop, proxy_protocol="v2", **certificate)
        context = ssl.create_default_context(cafile=certificate["ssl_certfile"])
        context.check_hostname = False
        for together in (False, True):
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            tls = context.wrap_bio(incoming, outgoing)
            received = b""
            with server.connect() as sock:
                if not together:
                    sock.sendall(v2())
                pending, sent = v2() if together else b"", False
                while True:
                    try:
                        if not sent:
                            tls.do_handshake()
                            tls.write(REQUEST)
                            sent = True
                        while piece := tls.read(65536):
                            received += piece
                        break
                    except ssl.SSLWantReadError:
                        sock.sendall(pending + outgoing.read())
                        pending = b""
                        data = sock.recv(65536)
                        if data:
                            incoming.write(data)
                        else:
                            incoming.write_eof()
                    except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                        break
            found = seen_in(received)
            assert (found["client"], found["scheme"]) == (["192.0.2.1", 4711], "https")
            assert ("tls" in found["extensions"]) is (http == "auto")

    def test_tls_without_the_header_is_refused(
        self, serve: support.Serve, http: str, loop: str, certificate: dict[str, str]
    ) -> None:
        server = started(serve, "http1", http=http, loop=loop, proxy_protocol="auto", **certificate)
        context = ssl._create_unverified_context()
        with server.connect() as sock, pytest.raises((ssl.SSLError, OSError)):
            context.wrap_socket(sock)


@pytest.mark.parametrize("http", HTTP)
class TestRefused:
    @pytest.mark.parametrize(
        "sent", [REQUEST, b"\x16\x03\x01", raw(bytes(65535)), v1()[:-2] + b"\n", v2()[:12] + b"\x11", b"PROXY TCP4 x"]
    )
    def test_anything_else(self, serve: support.Serve, http: str, sent: bytes, log: Any) -> None:
        """The connection is closed without a word, also at the end of what was no more than a beginning."""
        server = started(serve, "http1", http=http, proxy_protocol="auto")
        with server.connect() as sock:
            with contextlib.suppress(OSError):  # it need not read all of it
                sock.sendall(sent)
                sock.shutdown(socket.SHUT_WR)
            assert closed(sock)
        assert any("Invalid PROXY header received: " in line for line in log())

    def test_header_twice(self, serve: support.Serve, http: str) -> None:
        """The second one is no request."""
        server = started(serve, "http1", http=http, proxy_protocol="auto")
        with server.connect() as sock:
            sock.sendall(v1() + v1() + REQUEST)
            assert support.read_all(sock).startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 501 "))

    def test_proxy_protocol_from(self, serve: support.Serve, http: str, log: Any) -> None:
        """Others are refused, and by default so are all but those of this machine."""
        server = started(serve, "http1", http=http, proxy_protocol="auto", proxy_protocol_from="10.0.0.0/8")
        with server.connect() as sock:
            assert closed(sock)
        assert any("127.0.0.1 is not in --proxy-protocol-from" in line for line in log())

    def test_within_the_time_of_a_head(self, serve: support.Serve, http: str, log: Any) -> None:
        server = started(serve, "http1", http=http, proxy_protocol="v1", timeout_request_head=0.05)
        with server.connect() as sock:
            sock.sendall(v1()[:9])
            assert closed(sock)
        assert any("not complete in time" in line for line in log())

    def test_stop_closes_what_has_not_begun(self, serve: support.Serve, http: str) -> None:
        server = started(serve, "http1", http=http, proxy_protocol="v1", timeout_request_head=0)
        with server.connect() as sock, server.connect() as other:
            other.sendall(v1() + REQUEST)
            seen_in(support.read_all(other))  # so the first one is accepted as well
            server.server.should_exit = True
            assert closed(sock)


def test_the_next_one_has_a_time_as_well() -> None:
    """One timer is for all: it goes on with those that have waited for less."""
    done: asyncio.Event
    expected: Expected

    class Waiting:
        refused = False

        def refuse(self, why: str) -> None:
            expected.forget(self)  # type: ignore[arg-type]
            self.refused = True
            if both[1].refused:
                done.set()

    async def wait() -> None:
        nonlocal done, expected
        done = asyncio.Event()
        expected = Expected(Config("app", log_config=None, proxy_protocol="v1", timeout_request_head=0.01), set())
        for each in both:
            expected.wait(each)  # type: ignore[arg-type]
        expected.waiting[both[1]] += 0.05  # type: ignore[index]
        await asyncio.wait_for(done.wait(), support.PATIENCE)

    both = (Waiting(), Waiting())
    asyncio.run(wait())
    assert both[0].refused


def test_unix_socket(serve: support.Serve, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    serve(app, lifespan="off", uds=str(path), proxy_protocol="v2", proxy_protocol_from="unix:")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(support.PATIENCE)
        sock.connect(str(path))
        sock.sendall(v2() + REQUEST)
        assert seen_in(support.read_all(sock))["client"] == ["192.0.2.1", 4711]


def test_client_is_the_peer_of_x_forwarded_for(serve: support.Serve) -> None:
    """Trust goes by the address in the PROXY header: that of a client is not a proxy's."""
    server = started(serve, "http1", proxy_protocol="v2", forwarded_allow_ips="127.0.0.1,10.0.0.0/8")
    forged = REQUEST.replace(b"\r\n\r\n", b"\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n")
    for peer, client in (("192.0.2.1", ["192.0.2.1", 4711]), ("10.0.0.1", ["6.6.6.6", 0])):
        with server.connect() as sock:
            sock.sendall(v2(peer) + forged)
            assert seen_in(support.read_all(sock))["client"] == client


@pytest.mark.parametrize("options", [{}, {"http": "h11"}, {"ws": "websockets"}, {"ws": "wsproto"}])
def test_websocket(serve: support.Serve, options: dict[str, Any]) -> None:
    from websockets.sync.client import connect

    server = started(serve, "http1", proxy_protocol="v1", **options)
    sock = server.connect()
    sock.sendall(v1())
    with connect("ws://app/p", sock=sock) as websocket:
        assert json.loads(websocket.recv(support.PATIENCE))["client"] == ["192.0.2.1", 4711]


def test_http2_wsgi_and_workers(serve: support.Serve, command: support.StartCommand) -> None:
    server = started(serve, "wsgi", proxy_protocol="v1")
    with server.connect() as sock:
        sock.sendall(v1() + REQUEST)
        assert seen_in(support.read_all(sock))["client"] == ["192.0.2.1", 4711]
    workers = command("shell_apps:secure", "--app-dir", support.APPS, "--port", "0", "--workers", "2",
                      "--lifespan", "off", "--proxy-protocol", "auto")  # fmt: skip
    workers.wait_line("Started server process", count=2)
    assert seen_in(workers.request(v2() + REQUEST))["client"] == ["192.0.2.1", 4711]
    workers.wait_line(r'192\.0\.2\.1:4711 - "GET /p HTTP/1\.1" 200 OK$')


def test_contradiction() -> None:
    with pytest.raises(
        OptionError, match=r"^proxy_protocol_from has no effect without proxy_protocol: add --proxy-protocol auto"
    ):
        Config("app", log_config=None, proxy_protocol_from="*")


def test_no_warning_where_all_is_well(serve: support.Serve, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "fastserve.error")
    server = started(serve, "http1", proxy_protocol="v2")
    with server.connect() as sock:  # as a health check that opens a connection and no more
        sock.shutdown(socket.SHUT_WR)
        assert closed(sock)
    assert not caplog.records
