"""Certificates for tests, and clients and servers that use them."""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import support
import trustme

import fastserve


class Socket(ssl.SSLSocket):
    """A client's TLS socket that says what a plain one says of a call that would block, and can be half closed."""

    def shutdown(self, how: int) -> None:
        socket.socket.shutdown(self, how)  # ssl's forgets the keys, and reads what comes as it is

    def recv(self, *args: Any) -> bytes:
        try:
            return super().recv(*args)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError) as exc:
            raise BlockingIOError from exc

    def send(self, *args: Any) -> int:
        try:
            return super().send(*args)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError) as exc:
            raise BlockingIOError from exc


class Pki:
    """An authority, and in files a certificate of it for the server, with its key, and its own certificate."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = trustme.CA()
        self.ca = str(folder / "ca.pem")
        self.authority.cert_pem.write_to_path(self.ca)
        self.certificate, self.key = self.issue("server")

    def issue(
        self,
        name: str,
        key_type: trustme.KeyType = trustme.KeyType.ECDSA,
        hosts: tuple[str, ...] = ("localhost", "127.0.0.1"),
    ) -> tuple[str, str]:
        """Make a new certificate for the server, and return the files of it, with its chain, and of its key."""
        made = self.authority.issue_cert(*hosts, common_name=name, key_type=key_type)
        certificate, key = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        certificate.write_bytes(b"".join(blob.bytes() for blob in made.cert_chain_pems))
        made.private_key_pem.write_to_path(str(key))
        return str(certificate), str(key)

    @property
    def options(self) -> dict[str, Any]:
        return {"ssl_certfile": self.certificate, "ssl_keyfile": self.key}

    @property
    def arguments(self) -> tuple[str, ...]:
        return ("--ssl-certfile", self.certificate, "--ssl-keyfile", self.key)

    def trusting(self, **settings: Any) -> ssl.SSLContext:
        """Return a client's context that trusts the authority, with these attributes."""
        context = ssl.create_default_context(cafile=self.ca)
        context.sslsocket_class = Socket
        for name, value in settings.items():
            setattr(context, name, value)
        return context


class TlsRunning(support.Running):
    """A server whose connect() and fetch() speak TLS."""

    context: ssl.SSLContext

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    def connect_plain(self) -> socket.socket:
        return super().connect()

    def connect(self, timeout: float = support.PATIENCE) -> socket.socket:
        return self.secure(super().connect(timeout))

    def secure(self, sock: socket.socket) -> Socket:
        """Return a connected socket with TLS on it."""
        made = self.context.wrap_socket(sock, server_hostname="localhost")
        assert isinstance(made, Socket)
        self._sockets.append(made)
        return made

    def fetch(
        self, path: str = "/", method: str = "GET", body: Any = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        connection = http.client.HTTPSConnection("localhost", self.port, timeout=support.PATIENCE, context=self.context)
        try:
            connection.request(method, path, body=body, headers=dict(headers or {}))
            response = connection.getresponse()
            return response.status, response.headers, response.read()
        finally:
            connection.close()


def serve(pki: Pki, app: Any, **config: Any) -> TlsRunning:
    """Return a started server of `app` over TLS, as support.serve does without."""
    config = {"port": 0, "lifespan": "off", "log_config": None, **pki.options, **config}
    running = TlsRunning(support.EventServer(fastserve.Config(app, **config)))
    running.context = pki.trusting()
    running.start()
    return running
