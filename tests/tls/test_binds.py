"""Addresses with and without TLS side by side."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

import pytest
import support
from supervisors.clients import ready
from tls.pki import Pki

REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
SHELL = support.APPS


def asked(port: int, context: ssl.SSLContext | None) -> bytes:
    plain = socket.create_connection(("127.0.0.1", port), support.PATIENCE)
    with plain if context is None else context.wrap_socket(plain, server_hostname="localhost") as client:
        client.sendall(REQUEST)
        return support.read_all(client)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_bind(command: support.StartCommand, pki: Pki, tmp_path: Path, workers: str) -> None:
    """A certificate is for every address but those that say http://."""
    path = tmp_path / "socket"
    binds = ["http://127.0.0.1:0", "https://127.0.0.1:0", "127.0.0.1:0", f"http://unix:{path}"]
    arguments = [part for bind in binds for part in ("--bind", bind)]
    server = command(
        "shell_apps:secure",
        "--app-dir",
        SHELL,
        "--lifespan",
        "off",
        "--log-level",
        "debug",
        "--workers",
        workers,
        *pki.arguments,
        *arguments,
    )
    server.wait_line("running on unix socket")
    if workers != "1":
        ready(server, 2)
    found = [line.partition("running on ")[2].split()[0] for line in server.lines if "running on http" in line]
    schemes, ports = zip(*((url.partition("://")[0], int(url.rpartition(":")[2])) for url in found), strict=True)
    assert schemes == ("http", "https", "https")
    context = pki.trusting()
    for scheme, port in zip(schemes, ports, strict=True):
        answer = asked(port, context if scheme == "https" else None)
        assert answer.startswith(b"HTTP/1.1 200")
        assert (b'"tls"' in answer) == (scheme == "https")
        assert f'"scheme": "{scheme}"'.encode() in answer
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(60)
        client.connect(str(path))
        client.sendall(REQUEST)
        assert b'"scheme": "http"' in support.read_all(client)
    # Handshakes fail where there is none, and plain requests where there is one.
    with pytest.raises(ssl.SSLError):
        asked(ports[0], context)
    assert asked(ports[1], None) == b""
