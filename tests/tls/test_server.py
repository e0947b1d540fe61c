"""TLS from outside: what its options do, what the application is told, and what a client sees that does it wrong."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import shutil
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import support
from core.responses import Client, read_one
from cryptography import x509
from fakes.http2 import (
    GOAWAY,
    INADEQUATE_SECURITY,
    PREFACE,
    SETTINGS,
    WINDOW_UPDATE,
    headers,
    parse,
    settings,
)
from fakes.worker import get, respond
from tls.pki import Pki, TlsRunning
from trustme import KeyType

import fastserve
from fastserve.logging.log_config import ConfigError
from fastserve.net.tls import create_ssl_context, listen_arguments

Serve = Callable[..., TlsRunning]
Log = Callable[[], list[str]]
Start = support.StartCommand

ANY_CIPHER = "DEFAULT:@SECLEVEL=0"


async def show(scope: Any, receive: Any, send: Any) -> None:
    """Respond with the scheme and the extension, and spoil both for anyone who gets the same objects."""
    tls = scope["extensions"]["tls"]
    text = json.dumps([scope["scheme"], tls])
    tls.clear()
    scope["extensions"].clear()
    await respond(send, text.encode())


def connect_by_tls_1_1(server: TlsRunning) -> ssl.SSLSocket:
    """Connect as a client that is as old as that, and speaks HTTP/2 all the same."""
    server.context.minimum_version = ssl.TLSVersion.TLSv1_1
    server.context.maximum_version = ssl.TLSVersion.TLSv1_1
    server.context.set_ciphers(ANY_CIPHER)
    server.context.set_alpn_protocols(["h2", "http/1.1"])
    sock = server.connect()
    assert isinstance(sock, ssl.SSLSocket) and sock.version() == "TLSv1.1"
    return sock


def fetched(server: support.Command, context: ssl.SSLContext) -> Any:
    url = server.url.replace("127.0.0.1", "localhost")
    return httpx.get(url, verify=context, trust_env=False, timeout=support.PATIENCE).raise_for_status().json()


def common_name(pem: str) -> str:
    (name,) = x509.load_pem_x509_certificate(pem.encode()).subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    return str(name.value)


def shown_name(server: support.Running, context: ssl.SSLContext) -> str:
    """Return the name on the certificate that a new connection is shown."""
    sock = socket.create_connection((server.host, server.port), timeout=60)
    with context.wrap_socket(sock, server_hostname="localhost") as secure:
        certificate = secure.getpeercert(binary_form=True)
    assert certificate is not None
    return common_name(ssl.DER_cert_to_PEM_cert(certificate))


class TestExtension:
    """Items 61 to 63 of the ASGI checklist."""

    @pytest.mark.parametrize(
        ("version", "number"), [(ssl.TLSVersion.TLSv1_2, 0x0303), (ssl.TLSVersion.TLSv1_3, 0x0304)]
    )
    def test_item_62_of_the_connection(self, serve: Serve, pki: Pki, version: ssl.TLSVersion, number: int) -> None:
        server = serve(show)
        server.context.maximum_version = version
        connected = Client(server.connect())
        scheme, tls = first = json.loads(connected.ask(get()).body)
        assert json.loads(connected.ask(get()).body) == first  # not what the first request left of it
        assert scheme == "https"
        assert tls["server_cert"] == Path(pki.certificate).read_text()
        assert tls["tls_version"] == number
        # In TLS 1.2 the suites of ephemeral Diffie-Hellman on curves are 0xC0xx and 0xCCxx, in 1.3 all are 0x13xx.
        assert tls["cipher_suite"] >> 8 in ({0x13} if number == 0x0304 else {0xC0, 0xCC})
        assert (tls["client_cert_chain"], tls["client_cert_name"], tls["client_cert_error"]) == ([], None, None)

    @pytest.mark.parametrize("required", [ssl.CERT_OPTIONAL, ssl.CERT_REQUIRED])
    def test_item_63_client_certificate(self, serve: Serve, pki: Pki, required: int) -> None:
        server = serve(show, ssl_ca_certs=pki.ca, ssl_cert_reqs=required)
        mine = pki.authority.issue_cert("me@example.org", common_name='Zoë, "Q"', organization_name="#org ")
        mine.configure_cert(server.context)
        _, tls = json.loads(server.fetch()[2])
        own = x509.load_pem_x509_certificate(mine.cert_chain_pems[0].bytes())
        assert x509.load_pem_x509_certificate(tls["client_cert_chain"][0].encode()) == own
        assert tls["client_cert_name"] == own.subject.rfc4514_string()
        assert tls["client_cert_error"] is None

    def test_item_63_no_client_certificate(self, serve: Serve, pki: Pki, log: Log) -> None:
        optional = serve(show, ssl_ca_certs=pki.ca, ssl_cert_reqs=ssl.CERT_OPTIONAL)
        assert json.loads(optional.fetch()[2])[1]["client_cert_chain"] == []
        required = serve(show, ssl_ca_certs=pki.ca, ssl_cert_reqs=ssl.CERT_REQUIRED)
        answer = b""
        with contextlib.suppress(OSError):
            answer = required.request(get())  # in TLS 1.3 the client learns of it by its first read
        assert answer == b""
        assert log() == []

    def test_item_61_not_on_plain_connections(self, pki: Pki) -> None:
        seen: list[Any] = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            seen.append(scope)
            await respond(send)

        with support.serve(app) as server:
            server.fetch()
        assert "tls" not in seen[0].get("extensions", {})


class TestHandshake:
    @pytest.mark.parametrize("what", [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\0" * 100, b""])
    def test_what_is_not_tls_is_one_debug_line(
        self, serve: Serve, caplog: pytest.LogCaptureFixture, what: bytes
    ) -> None:
        caplog.set_level("DEBUG", logger="fastserve")
        caplog.set_level("DEBUG", logger="asyncio")
        server = serve(show)
        caplog.clear()
        with server.connect_plain() as sock:
            sock.sendall(what)
            sock.shutdown(socket.SHUT_WR)
            support.read_all(sock)
        assert server.fetch()[0] == 200
        server.stop()
        gc.collect()
        lines = [(record.levelname, record.getMessage()) for record in caplog.records if "TLS" in record.getMessage()]
        (line,) = lines
        assert line[0] == "DEBUG"
        assert line[1].startswith("TLS handshake failed: ")
        assert not [record for record in caplog.records if record.levelno > 20 or record.exc_info]

    @pytest.mark.parametrize(("head", "handshake"), [(0, 10), (0.5, 0.5), (10, 10), (30, 10)])
    def test_it_has_ten_seconds_or_the_time_of_a_head(self, pki: Pki, head: float, handshake: float) -> None:
        config = fastserve.Config(show, timeout_request_head=head, log_config=None, **pki.options)
        config.load()
        with contextlib.closing(asyncio.new_event_loop()) as loop:
            arguments = listen_arguments(config.ssl, config.timeout_request_head, config.uses_core, loop)
            assert arguments["ssl_handshake_timeout"] == handshake

    def test_client_that_says_nothing(self, serve: Serve, log: Log) -> None:
        server = serve(show, timeout_request_head=0.05)
        with server.connect_plain() as sock:
            assert support.read_all(sock) == b""
        assert log() == []

    @pytest.mark.parametrize(
        ("options", "offered", "chosen"),
        [
            ({}, ["http/1.1", "h2"], "h2"),
            ({}, ["http/1.1"], "http/1.1"),
            ({"http2": False}, ["h2", "http/1.1"], "http/1.1"),
            ({"http": "h11"}, ["h2", "http/1.1"], "http/1.1"),
        ],
    )
    def test_alpn(self, serve: Serve, options: dict[str, Any], offered: list[str], chosen: str) -> None:
        server = serve(show, **options)
        server.context.set_alpn_protocols(offered)
        sock = server.connect()
        assert isinstance(sock, ssl.SSLSocket)
        assert sock.selected_alpn_protocol() == chosen

    @pytest.mark.filterwarnings("ignore:ssl:DeprecationWarning")
    def test_http2_is_not_offered_by_tls_before_1_2(self, serve: Serve) -> None:
        server = serve(show, ssl_version=ssl.PROTOCOL_TLSv1_1, ssl_ciphers=ANY_CIPHER)
        sock = connect_by_tls_1_1(server)
        assert sock.selected_alpn_protocol() == "http/1.1"

    @pytest.mark.filterwarnings("ignore:ssl:DeprecationWarning")
    def test_http2_over_tls_before_1_2_is_refused(self, serve: Serve) -> None:
        """RFC 9113 section 9.2: where a context of the application's allows it."""

        def factory(config: Any, default: Any) -> ssl.SSLContext:
            context: ssl.SSLContext = default()
            context.minimum_version = ssl.TLSVersion.TLSv1_1
            context.set_ciphers(ANY_CIPHER)
            return context

        sock = connect_by_tls_1_1(serve(show, ssl_context_factory=factory))
        assert sock.selected_alpn_protocol() == "h2"
        sock.sendall(PREFACE + settings() + headers(1))
        frames, _ = parse(support.read_all(sock))
        assert [each.type for each in frames] == [SETTINGS, WINDOW_UPDATE, GOAWAY]
        assert frames[-1].payload[:8] == bytes(7) + bytes([INADEQUATE_SECURITY])

    def test_stop_during_a_handshake(self, serve: Serve, log: Log) -> None:
        server = serve(show)
        server.connect_plain()
        server.fetch()
        server.stop()
        assert log() == []

    @pytest.mark.parametrize("begun", [False, True])
    def test_stop_breaks_a_handshake_off(self, serve: Serve, log: Log, begun: bool) -> None:
        """Nothing is left of a client that stays where it is."""
        server = serve(show)
        with socket.create_connection((server.host, server.port), support.PATIENCE) as sock:
            if begun:
                sock.sendall(b"\x16\x03\x01")
            server.fetch()  # it came after the other, so that one has been accepted
            server.stop()
            assert support.read_all(sock) == b""
        assert log() == []


class TestEnd:
    def test_close_notify_behind_a_request_is_answered(self, serve: Serve, log: Log) -> None:
        """The transports know no half-closed TLS, but what can be answered at once is."""
        server = serve(show)
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        secure = server.context.wrap_bio(incoming, outgoing, server_hostname="localhost")
        with server.connect_plain() as sock:
            while True:
                try:
                    secure.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    sock.sendall(outgoing.read())
                    incoming.write(sock.recv(65536))
            secure.write(get())
            with pytest.raises(ssl.SSLWantReadError):
                secure.unwrap()
            sock.sendall(outgoing.read())
            incoming.write(support.read_all(sock))
        answer = b""
        with contextlib.suppress(ssl.SSLError):
            while piece := secure.read(65536):
                answer += piece
        assert read_one(answer).status == 200
        assert log() == []

    @pytest.mark.parametrize("idle", [True, False])
    def test_stop_does_not_wait_for_clients_that_do_not_answer(self, serve: Serve, log: Log, idle: bool) -> None:
        """A pool of connections that nobody reads does not answer close_notify."""
        server = serve(show)
        connected = Client(server.connect())
        assert connected.ask(get("/", "" if idle else "Connection: close")).status == 200
        server.stop()
        assert not server.server.server_state.connections
        assert log() == []


class TestReload:
    def test_new_connections_get_the_new_certificate(self, serve: Serve, pki: Pki, tmp_path: Path) -> None:
        certificate, key = (str(tmp_path / name) for name in ("c.pem", "k.pem"))
        for name in ("one", "two"):
            pki.issue(name)
        put(pki, "one", certificate, key)
        server = serve(show, ssl_certfile=certificate, ssl_keyfile=key)
        old = Client(server.connect())
        put(pki, "two", certificate, key)
        server.server.reload_certificates()
        assert shown_name(server, pki.trusting()) == "two"
        assert common_name(json.loads(server.fetch()[2])[1]["server_cert"]) == "two"
        assert common_name(json.loads(old.ask(get()).body)[1]["server_cert"]) == "one"

    @pytest.mark.parametrize("what", ["garbage", "another key", "gone", "another kind of key"])
    def test_what_cannot_be_used_leaves_the_old_one(
        self, serve: Serve, pki: Pki, tmp_path: Path, caplog: pytest.LogCaptureFixture, what: str
    ) -> None:
        certificate, key = (str(tmp_path / name) for name in ("c.pem", "k.pem"))
        pki.issue("one")
        put(pki, "one", certificate, key)
        server = serve(show, ssl_certfile=certificate, ssl_keyfile=key)
        if what == "garbage":
            Path(certificate).write_text("nothing")
        elif what == "another key":
            shutil.copy(pki.key, key)
        elif what == "gone":
            Path(key).unlink()
        else:
            pki.issue("rsa", KeyType.RSA)
            put(pki, "rsa", certificate, key)
        caplog.clear()
        server.server.reload_certificates()
        (record,) = (record for record in caplog.records if record.levelname == "ERROR")
        assert record.getMessage().startswith("Certificate not reloaded, keeping the current one: ssl_")
        assert (certificate in record.getMessage()) or (key in record.getMessage())
        assert shown_name(server, pki.trusting()) == "one"

    def test_context_factory_is_called_again(self, serve: Serve, pki: Pki) -> None:
        pki.issue("one")
        pki.issue("two")
        names = iter(["one", "two"])

        def factory(config: fastserve.Config, default: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
            name = next(names)
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(pki.folder / f"{name}.pem", pki.folder / f"{name}.key")
            return context

        server = serve(show, ssl_certfile=None, ssl_keyfile=None, ssl_context_factory=factory)
        assert shown_name(server, pki.trusting()) == "one"
        assert json.loads(server.fetch()[2])[1]["server_cert"] is None  # nothing says which one it is
        server.server.reload_certificates()
        assert shown_name(server, pki.trusting()) == "two"


def put(pki: Pki, name: str, certificate: str, key: str) -> None:
    shutil.copy(pki.folder / f"{name}.pem", certificate)
    shutil.copy(pki.folder / f"{name}.key", key)


class TestFactory:
    def test_default_factory(self, pki: Pki) -> None:
        def factory(config: fastserve.Config, default: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
            context = default()
            context.minimum_version = ssl.TLSVersion.TLSv1_3
            return context

        config = fastserve.Config(show, log_config=None, ssl_context_factory=factory, **pki.options)
        assert config.is_ssl
        config.load()
        assert config.ssl is not None
        assert config.ssl.minimum_version == ssl.TLSVersion.TLSv1_3

    @pytest.mark.parametrize(
        ("factory", "line"),
        [
            (lambda config, default: None, "ssl_context_factory returned NoneType, not an ssl.SSLContext"),
            (lambda config, default: default(), "ssl_context_factory asks for the default context, which needs"),
            (lambda config, default: dict[str, Any]()["x"], "ssl_context_factory raised KeyError: 'x'"),
        ],
    )
    def test_wrong_factory(self, factory: Any, line: str, caplog: pytest.LogCaptureFixture) -> None:
        with pytest.raises(SystemExit, match="3"):
            fastserve.Config(show, log_config=None, ssl_context_factory=factory).load()
        assert caplog.messages[-1].startswith(line)


class TestFiles:
    """Files that cannot be used: one line that names them, and exit code 3."""

    def line(self, pki: Pki, **changed: Any) -> str:
        given = {
            "certfile": pki.certificate, "keyfile": pki.key, "password": None, "ssl_version": 17, "cert_reqs": 0,
            "ca_certs": None, "ciphers": None, **changed,
        }  # fmt: skip
        with pytest.raises(ConfigError) as caught:
            create_ssl_context(**given)
        text = str(caught.value)
        assert "\n" not in text
        return text

    def test_lines(self, pki: Pki, tmp_path: Path) -> None:
        garbage, missing, broken = (str(tmp_path / name) for name in ("garbage", "missing", "broken"))
        Path(garbage).write_text("nothing")
        Path(broken).write_text("-----BEGIN CERTIFICATE-----\nMAMCAQE=\n-----END CERTIFICATE-----\n")
        locked = encrypted(pki, tmp_path)
        assert self.line(pki, certfile=missing).startswith(f"ssl_certfile '{missing}' cannot be read: no such file")
        assert self.line(pki, certfile=garbage).startswith(f"ssl_certfile '{garbage}' cannot be used: it contains no")
        assert self.line(pki, certfile=broken).startswith(f"ssl_certfile '{broken}' cannot be used: ")
        assert self.line(pki, keyfile=missing).startswith(f"ssl_keyfile '{missing}' cannot be read: no such file")
        assert self.line(pki, keyfile=garbage).startswith(f"ssl_keyfile '{garbage}' cannot be used: ")
        assert self.line(pki, keyfile=None).startswith(f"ssl_certfile '{pki.certificate}' cannot be used: ")
        other = pki.issue("other")[1]
        assert self.line(pki, keyfile=other) == (
            f"ssl_keyfile '{other}' cannot be used: it does not match ssl_certfile '{pki.certificate}'"
        )
        assert self.line(pki, keyfile=locked).endswith("the key is encrypted and needs ssl_keyfile_password")
        assert self.line(pki, keyfile=locked, password="no").endswith("ssl_keyfile_password is wrong")
        assert self.line(pki, ca_certs=missing).startswith(f"ssl_ca_certs '{missing}' cannot be read: no such file")
        assert self.line(pki, ca_certs=garbage).startswith(f"ssl_ca_certs '{garbage}' cannot be used: ")
        assert self.line(pki, ciphers="nonsense").startswith("ssl_ciphers 'nonsense' cannot be used: ")

    def test_password(self, pki: Pki, tmp_path: Path) -> None:
        create_ssl_context(pki.certificate, encrypted(pki, tmp_path), "secret", 17, 0, None, None)

    def test_client_certificates_that_cannot_be(self, pki: Pki, caplog: pytest.LogCaptureFixture) -> None:
        fastserve.Config(show, log_config=None, ssl_cert_reqs=1, **pki.options).load()
        fastserve.Config(show, log_config=None, ssl_ca_certs=pki.ca, **pki.options).load()
        assert [message.partition(":")[0] for message in caplog.messages] == [
            "Client certificates cannot be verified",
            "Client certificates are not requested",
        ]


def encrypted(pki: Pki, folder: Path) -> str:
    """Return a file of the server's key, behind the password "secret"."""
    from cryptography.hazmat.primitives import serialization

    key = serialization.load_pem_private_key(Path(pki.key).read_bytes(), None)
    file = folder / "locked.key"
    file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    return str(file)


class TestCommand:
    def test_curl(self, start: Start, pki: Pki) -> None:
        server = start("secure", "--lifespan", "off")
        assert server.url.startswith("https://127.0.0.1:")
        where = f"https://localhost:{server.port}/"
        asked = ["curl", "-sS", "--noproxy", "*", "--cacert", pki.ca, "--resolve", f"localhost:{server.port}:127.0.0.1"]
        if shutil.which("curl") is None:
            pytest.skip("curl is not installed")
        done = subprocess.run([*asked, where], capture_output=True, timeout=60, check=True)
        seen = json.loads(done.stdout)
        assert (seen["scheme"], "tls" in seen["extensions"]) == ("https", True)

    def test_versions_ciphers_and_client_certificates(self, start: Start, pki: Pki, tmp_path: Path) -> None:
        options = ["--ssl-version", "17", "--ssl-cert-reqs", "2", "--ssl-ca-certs", pki.ca, "--ssl-ciphers"]
        password = [
            "--ssl-certfile",
            pki.certificate,
            "--ssl-keyfile",
            encrypted(pki, tmp_path),
            "--ssl-keyfile-password",
            "secret",
        ]
        server = start("secure", "--lifespan", "off", *options, "ECDHE-ECDSA-AES256-GCM-SHA384", *password)
        context = pki.trusting(maximum_version=ssl.TLSVersion.TLSv1_2)
        with pytest.raises(httpx.HTTPError):
            fetched(server, context)
        pki.authority.issue_cert("me@example.org", common_name="me").configure_cert(context)
        tls = fetched(server, context)["extensions"]["tls"]
        assert tls["cipher_suite"] == 0xC02C
        assert tls["client_cert_name"].startswith("CN=me,")

    @pytest.mark.skipif(sys.platform == "win32", reason="no SIGHUP")
    def test_hangup_reloads(self, start: Start, pki: Pki, tmp_path: Path) -> None:
        certificate, key = (str(tmp_path / name) for name in ("c.pem", "k.pem"))
        pki.issue("one")
        pki.issue("two")
        put(pki, "one", certificate, key)
        server = start("secure", "--lifespan", "off", "--ssl-certfile", certificate, "--ssl-keyfile", key)
        context = pki.trusting()
        with httpx.Client(verify=context, trust_env=False, timeout=support.PATIENCE) as kept:
            url = server.url.replace("127.0.0.1", "localhost")
            before = kept.get(url).json()
            put(pki, "two", certificate, key)
            server.send_signal(signal.SIGHUP)
            server.wait_line("Certificate reloaded.$")
            assert kept.get(url).json() == before  # on the same connection: the same client's port
        assert common_name(before["extensions"]["tls"]["server_cert"]) == "one"
        assert common_name(fetched(server, context)["extensions"]["tls"]["server_cert"]) == "two"
        assert server.stop() == -signal.SIGTERM

    @pytest.mark.skipif(sys.platform == "win32", reason="no SIGHUP")
    def test_service_manager_is_told_of_hangup(self, start: Start, pki: Pki, tmp_path: Path) -> None:
        certificate, key = (str(tmp_path / name) for name in ("c.pem", "k.pem"))
        pki.issue("one")
        put(pki, "one", certificate, key)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.settimeout(60)
            manager.bind(str(tmp_path / "notify"))
            tls = ["--ssl-certfile", certificate, "--ssl-keyfile", key]
            server = start("secure", *tls, env={"NOTIFY_SOCKET": str(tmp_path / "notify")})
            assert manager.recv(4096).startswith(b"READY=1\n")
            server.send_signal(signal.SIGHUP)
            assert manager.recv(4096).startswith(b"RELOADING=1\n")
            assert manager.recv(4096).startswith(b"READY=1\n")
            server.wait_line("Certificate reloaded.$")

    @pytest.mark.skipif(sys.platform == "win32", reason="no SIGHUP")
    def test_hangup_without_tls_ends_the_process(self, command: Start) -> None:
        folder = support.APPS
        server = command("shell_apps:app", "--port", "0", "--app-dir", folder)
        assert server.url
        assert server.stop(signal.SIGHUP) == -signal.SIGHUP

    def test_exit_codes(self, command: Start, pki: Pki, tmp_path: Path) -> None:
        folder = support.APPS
        missing = str(tmp_path / "missing.pem")
        server = command("shell_apps:app", "--app-dir", folder, "--ssl-certfile", missing)
        assert server.wait() == 3
        assert [line for line in server.lines if missing in line] == [
            f"ERROR:    ssl_certfile '{missing}' cannot be read: no such file or directory"
        ]
        assert "Traceback" not in server.output
        alone = command("shell_apps:app", "--app-dir", folder, "--ssl-keyfile", pki.key)
        assert alone.wait() == 2
        assert f"ssl_keyfile '{pki.key}' has no effect without ssl_certfile: give both" in alone.output
