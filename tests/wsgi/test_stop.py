"""How a process ends whose threads are at work."""

from __future__ import annotations

import os
import signal
import socket
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import support

Start = Callable[..., support.Command]
GET = "GET {} HTTP/1.1\r\nHost: test\r\n\r\n"


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    path = tmp_path / "gate"
    os.mkfifo(path)
    return path


@pytest.fixture
def start(command: support.StartCommand, gate: Path) -> Start:
    def start_app(*options: str) -> support.Command:
        arguments = ("wsgi_apps:app", "--app-dir", str(Path(__file__).parent), "--interface", "wsgi", "--port", "0")
        server = command(*arguments, *options, env={"GATE": str(gate)})
        server.wait_line(r"running on http://")
        return server

    return start_app


def test_a_request_under_way_is_finished(start: Start, gate: Path) -> None:
    server = start()
    with server.connect() as client:
        client.sendall(GET.format("/gate").encode())
        server.wait_line(r"^application: working$")
        server.send_signal(signal.SIGTERM)
        server.wait_line(r"Waiting for connections to close\.")
        gate.write_bytes(b"open")
        assert support.read_all(client).endswith(b"\r\n\r\nwsgi-1")
    assert server.wait() == -signal.SIGTERM
    server.wait_line(r"^application: worked$")
    server.wait_line(r"Application shutdown complete\.")


def test_a_request_whose_client_has_left_is_finished(start: Start, gate: Path) -> None:
    server = start()
    with server.connect() as client:
        client.sendall(GET.format("/gate").encode())
        server.wait_line(r"^application: working$")
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # it closes by a reset
    server.send_signal(signal.SIGTERM)
    server.wait_line(r"Waiting for background tasks to complete\.")
    gate.write_bytes(b"open")
    assert server.wait() == -signal.SIGTERM
    server.wait_line(r"^application: worked$")
    assert "Traceback" not in server.output


def test_a_thread_that_hangs_does_not_keep_the_process(start: Start) -> None:
    server = start("--timeout-graceful-shutdown", "0.2")
    with server.connect() as client:
        client.sendall(GET.format("/hang").encode())
        server.wait_line(r"^application: hanging$")
        assert server.stop() == -signal.SIGTERM
    server.wait_line(r"Cancel 1 running task\(s\), timeout graceful shutdown exceeded")
    assert "Traceback" not in server.output


def test_a_second_sigint_ends_it_at_once(start: Start) -> None:
    server = start()
    with server.connect() as client:
        client.sendall(GET.format("/hang").encode())
        server.wait_line(r"^application: hanging$")
        server.send_signal(signal.SIGINT)
        server.wait_line(r"Waiting for connections to close\.")
        assert server.stop(signal.SIGINT) == 0
    assert "Traceback" not in server.output


def test_a_stream_whose_client_leaves_while_the_server_stops(start: Start, gate: Path) -> None:
    """The thread is waited for although nobody waits for what it makes, and its iterable is closed."""
    server = start()
    with server.connect() as client:
        client.sendall(GET.format("/stream").encode())
        assert client.recv(65536)
        server.send_signal(signal.SIGTERM)
        server.wait_line(r"Waiting for connections to close\.")
    gate.write_bytes(b"open")
    assert server.wait() == -signal.SIGTERM
    assert "application: closed" in server.output
    assert "Traceback" not in server.output
