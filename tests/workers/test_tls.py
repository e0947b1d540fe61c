"""FastserveWorker with gunicorn's settings for TLS and for trusted proxies."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest
import support
from tls.pki import Pki

from .conftest import Gunicorn, Start

WSGI_WORKER = "fastserve.workers.FastserveWSGIWorker"
GET = "GET / HTTP/1.1\r\nHost: test\r\n{}Connection: close\r\n\r\n"
FORWARDED = "X-Forwarded-Proto: https\r\nX-Forwarded-For: 203.0.113.9\r\n"


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki"))


def ask(server: Gunicorn, fields: str = "") -> Any:
    """Return what the application says to a request in the clear."""
    return json.loads(server.request(GET.format(fields).encode()).partition(b"\r\n\r\n")[2])


def ask_tls(server: Gunicorn, context: ssl.SSLContext, fields: str = "") -> tuple[Any, bytes]:
    """Return what the application says over TLS, and the server's certificate."""
    with context.wrap_socket(server.connect(), server_hostname="localhost") as secure:
        certificate = secure.getpeercert(binary_form=True)
        assert certificate is not None
        secure.sendall(GET.format(fields).encode())
        return json.loads(support.read_all(secure).partition(b"\r\n\r\n")[2]), certificate


def files(certificate: str, key: str) -> tuple[str, ...]:
    return ("--certfile", certificate, "--keyfile", key)


class TestTls:
    def test_asgi(self, start: Start, pki: Pki) -> None:
        server = start("show", *files(pki.certificate, pki.key))
        assert ask_tls(server, pki.trusting())[0] == ["https", "127.0.0.1", None]
        assert server.stop() == 0

    def test_redirect(self, start: Start, pki: Pki, tmp_path: Path) -> None:
        """Of the arbiter's addresses the one that ssl_redirect names redirects."""
        path = str(tmp_path / "redirect")
        binds = ("--bind", "127.0.0.1:0", "--bind", f"unix:{path}")
        worker, env = "worker_apps.RedirectingWorker", {"REDIRECT": f"unix:{path}"}
        server = start("show", *binds, *files(pki.certificate, pki.key), worker=worker, env=env)
        assert ask_tls(server, pki.trusting())[0] == ["https", "127.0.0.1", None]
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(support.PATIENCE)
            client.connect(path)
            client.sendall(GET.format("").replace("Host: test", "Host: localhost").encode())
            assert b"\r\nlocation: https://localhost/\r\n" in support.read_all(client)
        assert server.stop() == 0

    def test_redirect_at_an_address_that_is_not_bound(self, start: Start, pki: Pki) -> None:
        env = {"REDIRECT": "9"}
        server = start("show", *files(pki.certificate, pki.key), worker="worker_apps.RedirectingWorker", env=env)
        server.wait_line("Nothing redirects to HTTPS: no socket is bound at 9\\.$")
        assert server.stop() == 0

    def test_wsgi(self, start: Start, pki: Pki) -> None:
        server = start("show_environ", *files(pki.certificate, pki.key), worker=WSGI_WORKER)
        assert ask_tls(server, pki.trusting())[0] == ["https", "127.0.0.1"]
        assert server.stop() == 0

    def test_client_certificates(self, start: Start, pki: Pki) -> None:
        server = start("show", *files(pki.certificate, pki.key), "--ca-certs", pki.ca, "--cert-reqs", "2")
        with pytest.raises((ssl.SSLError, ConnectionError)):  # in TLS 1.3 the refusal comes with the first response
            ask_without_a_certificate(server, pki)
        context = pki.trusting()
        context.load_cert_chain(*pki.issue("client"))
        scheme, _, name = ask_tls(server, context)[0]
        assert scheme == "https"
        assert "CN=client" in name

    def test_ciphers(self, start: Start, pki: Pki) -> None:
        server = start("show", *files(pki.certificate, pki.key), "--ciphers", "ECDHE-ECDSA-AES128-GCM-SHA256")
        context = pki.trusting(maximum_version=ssl.TLSVersion.TLSv1_2)
        with context.wrap_socket(server.connect(), server_hostname="localhost") as secure:
            cipher = secure.cipher()
        assert cipher is not None
        assert cipher[0] == "ECDHE-ECDSA-AES128-GCM-SHA256"

    def test_the_hook_makes_the_context(self, start: Start, pki: Pki, tmp_path: Path) -> None:
        settings = tmp_path / "settings.py"
        settings.write_text(
            "def ssl_context(conf, default_factory):\n"
            "    import ssl\n"
            "    context = default_factory()\n"
            "    context.maximum_version = ssl.TLSVersion.TLSv1_2\n"
            "    return context\n"
        )
        server = start("show", *files(pki.certificate, pki.key), "--config", str(settings))
        with pki.trusting().wrap_socket(server.connect(), server_hostname="localhost") as secure:
            assert secure.version() == "TLSv1.2"

    def test_hup_takes_new_files(self, start: Start, pki: Pki, tmp_path: Path) -> None:
        here = (str(tmp_path / "certificate"), str(tmp_path / "key"))
        first, second = pki.issue("first"), pki.issue("second")
        put(first, here)
        server = start("show", *files(*here))
        assert ask_tls(server, pki.trusting())[1] == der(first)
        put(second, here)
        server.send_signal(signal.SIGHUP)
        (old, _) = server.booted(2)
        server.wait_line(rf"\[{old}\] \[INFO\] Finished server process")
        assert ask_tls(server, pki.trusting())[1] == der(second)

    def test_hup_of_a_worker_takes_new_files(self, start: Start, pki: Pki, tmp_path: Path) -> None:
        """And the worker goes on, with the connections that it has."""
        here = (str(tmp_path / "certificate"), str(tmp_path / "key"))
        first, second = pki.issue("before"), pki.issue("after")
        put(first, here)
        server = start("show", *files(*here))
        (worker,) = server.booted()
        assert ask_tls(server, pki.trusting())[1] == der(first)
        put(second, here)
        os.kill(worker, signal.SIGHUP)
        server.wait_line(rf"\[{worker}\] \[INFO\] Certificate reloaded\.")
        assert ask_tls(server, pki.trusting())[1] == der(second)
        assert server.stop() == 0
        assert server.output.count("Application startup complete.") == 1

    def test_a_file_that_cannot_be_used(self, start: Start, pki: Pki, tmp_path: Path) -> None:
        garbage = tmp_path / "garbage"
        garbage.write_text("nothing")
        server = start("show", *files(str(garbage), pki.key))
        assert server.wait() == 3
        server.wait_line(rf"\[ERROR\] ssl_certfile '{garbage}' cannot be used: it contains no PEM certificate")
        assert "Traceback" not in server.output


def ask_without_a_certificate(server: Gunicorn, pki: Pki) -> None:
    with pki.trusting().wrap_socket(server.connect(), server_hostname="localhost") as secure:
        secure.sendall(GET.format("").encode())
        if not secure.recv(1):
            raise ConnectionResetError


def put(pair: tuple[str, str], here: tuple[str, str]) -> None:
    for source, target in zip(pair, here, strict=True):
        shutil.copy(source, target)


def der(pair: tuple[str, str]) -> bytes:
    """Return the server's own certificate, without those after it."""
    end = "-----END CERTIFICATE-----\n"
    return ssl.PEM_cert_to_DER_cert(Path(pair[0]).read_text().partition(end)[0] + end)


class TestProxies:
    @pytest.mark.parametrize(("app", "worker"), [("show", None), ("show_environ", WSGI_WORKER)])
    def test_who_is_trusted(self, start: Start, app: str, worker: str | None) -> None:
        named: dict[str, str] = {} if worker is None else {"worker": worker}
        server = start(app, **named)
        assert ask(server)[:2] == ["http", "127.0.0.1"]
        assert ask(server, FORWARDED)[:2] == ["https", "203.0.113.9"]

    def test_forwarded_allow_ips(self, start: Start) -> None:
        server = start("show", "--forwarded-allow-ips", "10.0.0.1,10.1.0.0/16")
        assert ask(server, FORWARDED)[:2] == ["http", "127.0.0.1"]

    def test_from_the_environment(self, start: Start) -> None:
        server = start("show", env={"FORWARDED_ALLOW_IPS": "10.0.0.1"})
        assert ask(server, FORWARDED)[:2] == ["http", "127.0.0.1"]

    def test_any_behind_a_unix_socket(self, start: Start, tmp_path: Path) -> None:
        path = tmp_path / "socket"
        server = start("show", "--bind", f"unix:{path}", "--forwarded-allow-ips", "*")
        server.booted()
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(60)
            client.connect(str(path))
            client.sendall(GET.format(FORWARDED).encode())
            assert json.loads(support.read_all(client).partition(b"\r\n\r\n")[2])[:2] == ["https", "203.0.113.9"]
