"""Several certificates: which one a client gets, what the application is told, and reloading."""

from __future__ import annotations

import json
import re
import shutil
import signal
import socket
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import support
from cryptography import x509
from fakes.http2 import PREFACE
from supervisors.clients import ready, replace_workers
from tls.pki import Pki, TlsRunning
from tls.test_server import common_name, show
from trustme import KeyType

import fastserve

Serve = Callable[..., TlsRunning]
HOSTS = {
    "first": ("localhost", "a.example"),
    "second": ("b.example", "*.b.example"),
    "third": ("c.example", "www.b.example"),
}


@pytest.fixture
def files(pki: Pki, tmp_path: Path) -> dict[str, list[str]]:
    """Three certificates and their keys, in files of this test's own."""
    options: dict[str, list[str]] = {"ssl_certfile": [], "ssl_keyfile": []}
    for name, hosts in HOSTS.items():
        for option, file in zip(options, pki.issue(name, hosts=hosts), strict=True):
            options[option].append(shutil.copy(file, str(tmp_path / Path(file).name)))
    return options


def arguments(files: dict[str, list[str]]) -> list[str]:
    pairs = zip(files["ssl_certfile"], files["ssl_keyfile"], strict=True)
    return [part for cert, key in pairs for part in ("--ssl-certfile", cert, "--ssl-keyfile", key)]


def shown(port: int, name: str | None, context: ssl.SSLContext) -> str:
    """Return the common name of the certificate for a client that asks for a name."""
    with (
        socket.create_connection(("127.0.0.1", port), 60) as sock,
        context.wrap_socket(sock, server_hostname=name) as secure,
    ):
        certificate = secure.getpeercert(binary_form=True)
    assert certificate is not None
    return common_name(ssl.DER_cert_to_PEM_cert(certificate))


def anyone(pki: Pki) -> ssl.SSLContext:
    context = pki.trusting()
    context.check_hostname = False
    return context


ASKED = {
    "a.example": "first", "localhost": "first", "b.example": "second", "x.b.example": "second", "X.B.EXAMPLE": "second",
    "www.b.example": "third", "c.example": "third", "other.example": "first", "x.y.b.example": "first", None: "first",
}  # fmt: skip


def test_a_client_gets_the_certificate_for_its_name(serve: Serve, pki: Pki, files: dict[str, Any]) -> None:
    server = serve(show, **files)
    context = anyone(pki)
    assert {name: shown(server.port, name, context) for name in ASKED} == ASKED
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    assert {name: shown(server.port, name, context) for name in ASKED} == ASKED


def test_openssl(serve: Serve, pki: Pki, files: dict[str, Any]) -> None:
    """What OpenSSL's client shows: the certificate and its chain, no stapled OCSP response, and a session ticket."""
    server = serve(show, **files)
    argv = ["openssl", "s_client", "-connect", f"127.0.0.1:{server.port}", "-servername", "x.b.example"]
    argv += ["-verify_hostname", "x.b.example", "-CAfile", pki.ca, "-verify_return_error", "-status", "-tls1_2"]
    done = subprocess.run(argv, input="", capture_output=True, text=True, timeout=support.PATIENCE, check=True)
    assert re.search(r"subject=.*CN ?= ?second\n", done.stdout)
    assert "Verification: OK" in done.stdout
    assert "OCSP response: no response sent" in done.stdout
    assert "TLS session ticket:" in done.stdout


def test_the_application_is_told_which_it_was(serve: Serve, pki: Pki, files: dict[str, Any]) -> None:
    server = serve(show, **files, ssl_ca_certs=pki.ca, ssl_cert_reqs=ssl.CERT_OPTIONAL)
    pki.authority.issue_cert("me@example.org", common_name="me").configure_cert(server.context)
    server.context.set_alpn_protocols(["h2", "http/1.1"])
    for name, expected in (("a.example", "first"), ("b.example", "second"), ("c.example", "third")):
        with server.context.wrap_socket(
            socket.create_connection(("127.0.0.1", server.port), 60), server_hostname=name
        ) as sock:
            assert sock.selected_alpn_protocol() == "h2"
            sock.sendall(PREFACE)
        server.context.set_alpn_protocols(["http/1.1"])
        with server.context.wrap_socket(
            socket.create_connection(("127.0.0.1", server.port), 60), server_hostname=name
        ) as sock:
            sock.sendall(f"GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode())
            tls = json.loads(support.read_all(sock).partition(b"\r\n\r\n")[2])[1]
        server.context.set_alpn_protocols(["h2", "http/1.1"])
        assert common_name(tls["server_cert"]) == expected
        assert tls["client_cert_name"] == x509.Name.from_rfc4514_string(tls["client_cert_name"]).rfc4514_string()
        assert "CN=me" in tls["client_cert_name"]
        assert tls["cipher_suite"]


def test_a_name_that_is_not_ascii_is_one_debug_line(
    serve: Serve, pki: Pki, files: dict[str, Any], caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Else each such client would have a traceback printed."""
    caplog.set_level("DEBUG", logger="fastserve")
    server = serve(show, **files)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = anyone(pki).wrap_bio(incoming, outgoing, server_hostname="not-ascii.example")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    with server.connect_plain() as sock:
        sock.sendall(outgoing.read().replace(b"not-ascii", b"n\xfft-\x80scii"))
        support.read_all(sock)
    assert server.fetch()[0] == 200
    assert [each.getMessage() for each in caplog.records if "TLS" in each.getMessage()] == [
        "TLS handshake failed: callback failed"
    ]
    assert "Unicode" not in capfd.readouterr().err


def test_a_session_is_resumed_for_its_name(serve: Serve, pki: Pki, files: dict[str, Any]) -> None:
    """The tickets are of the context that listens, whichever certificate was chosen."""
    server = serve(show, **files)
    context = pki.trusting(maximum_version=ssl.TLSVersion.TLSv1_2)  # whose tickets come with the handshake
    session = None
    for reused in (False, True):
        with context.wrap_socket(
            socket.create_connection(("127.0.0.1", server.port), 60), server_hostname="b.example", session=session
        ) as sock:
            session = sock.session
            assert sock.session_reused is reused


class TestReload:
    def test_all_are_read_again(
        self, serve: Serve, pki: Pki, files: dict[str, Any], caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level("INFO")
        server = serve(show, **files)
        listening = server.server.config.ssl
        for name, hosts in {"later": ("d.example",), "rsa": ("b.example",)}.items():
            index = ["later", "rsa"].index(name)
            made = pki.issue(name, KeyType.RSA if name == "rsa" else KeyType.ECDSA, hosts=hosts)
            shutil.copy(made[0], files["ssl_certfile"][index])
            shutil.copy(made[1], files["ssl_keyfile"][index])
        server.server.reload_certificates()
        assert caplog.messages[-1] == "3 certificates reloaded."
        assert server.server.config.ssl is listening
        context = anyone(pki)
        names = ("d.example", "a.example", "b.example", "x.b.example", "c.example")
        assert [shown(server.port, name, context) for name in names] == ["later", "later", "rsa", "later", "third"]

    def test_one_that_cannot_be_used_leaves_all_as_they_are(
        self, serve: Serve, pki: Pki, files: dict[str, Any], caplog: pytest.LogCaptureFixture
    ) -> None:
        server = serve(show, **files)
        for option, file in zip(files, pki.issue("later", hosts=("a.example",)), strict=True):
            shutil.copy(file, files[option][0])
        Path(files["ssl_certfile"][2]).write_text("nothing")
        caplog.clear()
        server.server.reload_certificates()
        (line,) = caplog.messages
        assert line == (
            f"Certificate not reloaded, keeping the current one: ssl_certfile '{files['ssl_certfile'][2]}' cannot be"
            " used: it contains no PEM certificate"
        )
        context = anyone(pki)
        assert {name: shown(server.port, name, context) for name in ASKED} == ASKED

    @pytest.mark.slow
    @pytest.mark.parametrize("workers", [1, 2])
    def test_by_hangup(self, pki: Pki, start: support.StartCommand, files: dict[str, Any], workers: int) -> None:
        server = start("app", "--workers", str(workers), "--log-level", "debug", *arguments(files))
        pids = ready(server, workers) if workers == 2 else []
        server.wait_line("running on https")
        context = anyone(pki)
        assert [shown(server.port, name, context) for name in ("a.example", "b.example")] == ["first", "second"]
        for option, file in zip(files, pki.issue("renewed", hosts=("b.example",)), strict=True):
            shutil.copy(file, files[option][1])
        if workers == 2:
            replace_workers(server, pids)
        else:
            server.send_signal(signal.SIGHUP)
            server.wait_line("3 certificates reloaded.")
        for _ in range(4):
            assert [shown(server.port, name, context) for name in ("a.example", "b.example")] == ["first", "renewed"]


def test_context_factory_gets_the_choice(pki: Pki, files: dict[str, Any]) -> None:
    def factory(config: fastserve.Config, default: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
        context = default()
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        return context

    config = fastserve.Config(show, log_config=None, ssl_context_factory=factory, **files)
    config.load()
    assert config.certificates is not None
    assert len(config.certificates.in_use) == 3
    assert config.certificates.in_use[0].minimum_version == ssl.TLSVersion.TLSv1_3


def test_a_certificate_without_a_name_of_its_own(
    pki: Pki, files: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    for option, file in zip(files, pki.issue("again", hosts=("b.example", "a.example")), strict=True):
        files[option].append(file)
    fastserve.Config(show, log_config=None, **files).load()
    assert caplog.messages == [
        f"ssl_certfile '{files['ssl_certfile'][3]}' is not used: the certificates before it have all of its names."
    ]


def test_one_in_a_list_is_as_one(pki: Pki) -> None:
    """What programs see of a single certificate is uvicorn's."""
    config = fastserve.Config(show, log_config=None, ssl_certfile=[pki.certificate], ssl_keyfile=[pki.key])
    assert (config.ssl_certfile, config.ssl_keyfile) == (pki.certificate, pki.key)
    config.load()
    assert config.ssl is not None
    assert config.ssl.sni_callback is None


@pytest.mark.slow
def test_a_pair_that_does_not_match(start: support.StartCommand, files: dict[str, list[str]]) -> None:
    """The line names both files."""
    files["ssl_keyfile"][1:] = reversed(files["ssl_keyfile"][1:])
    server = start("app", *arguments(files))
    assert server.wait() == 3
    assert server.lines[-1].endswith(
        f"ssl_keyfile '{files['ssl_keyfile'][1]}' cannot be used: it does not match ssl_certfile"
        f" '{files['ssl_certfile'][1]}'"
    )
