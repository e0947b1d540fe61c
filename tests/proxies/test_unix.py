"""Peers on UNIX sockets, which have no address."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest
import support

from .seen import app

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Forwarded-For: 6.6.6.6, 192.0.2.1, 10.0.0.8\r\n\r\n"


@pytest.mark.parametrize("http", ["auto", "h11"])
@pytest.mark.parametrize(
    ("trusted", "client"),
    [
        ("unix:", ["10.0.0.8", 0]),
        ("10.0.0.0/8, unix:", ["192.0.2.1", 0]),
        ("*", ["6.6.6.6", 0]),
        ("127.0.0.1", None),
        ("10.0.0.0/8", None),
    ],
)
def test_trusted_only_where_asked_for(
    serve: support.Serve, tmp_path: Path, http: str, trusted: str, client: list[object] | None
) -> None:
    path = tmp_path / "socket"
    serve(app, lifespan="off", uds=str(path), http=http, forwarded_allow_ips=trusted)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(support.PATIENCE)
        sock.connect(str(path))
        sock.sendall(REQUEST)
        assert json.loads(support.read_all(sock).partition(b"\r\n\r\n")[2])["client"] == client
