"""The effect of each WebSocket option of the command, seen from outside."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
import support
from core.frames import FIN, PING, TEXT, frame, text
from ws import Socket, close, closing, upgrade

Start = support.StartCommand
DEFLATE = "Sec-WebSocket-Extensions: permessage-deflate"
LARGE = 1 << 16  # bytes: a thousand of these are more than the buffers of both sockets hold


@contextlib.contextmanager
def connected(server: support.Command) -> Iterator[Socket]:
    client = Socket(server.connect())
    with client:
        yield client


def echo_of(server: support.Command, payload: bytes) -> tuple[int, bytes] | None:
    with connected(server) as client:
        client.open("/")
        client.send(text(payload))
        return client.frame()


@pytest.mark.parametrize("choice", ["auto", "websockets", "websockets-sansio", "wsproto"])
def test_ws(start: Start, choice: str) -> None:
    if choice != "auto":
        pytest.importorskip(choice.partition("-")[0])
    assert echo_of(start("echo", "--ws", choice), b"hello") == (TEXT, b"hello")


def test_ws_own_class(start: Start) -> None:
    pytest.importorskip("wsproto")
    server = start("echo", "--ws", "own_framing:Own")
    assert echo_of(server, b"hello") == (TEXT, b"hello from the class")


def test_ws_none(start: Start) -> None:
    with connected(start("app", "--ws", "none")) as client:
        response = client.ask(upgrade("/"))
    assert response.status == 200
    assert b'"path"' in response.body


WS_CHOICES = "auto, none, websockets, websockets-sansio, wsproto or module:Class"


@pytest.mark.parametrize(
    ("choice", "status", "message"),
    [
        ("wsaccel", 2, f"'wsaccel' is not one of {WS_CHOICES}"),
        ("nowhere:Class", 3, f'Could not import module "nowhere". For "ws" choose {WS_CHOICES}.'),
        ("shell_apps:nothing", 3, f'"nothing" not found in module "shell_apps". For "ws" choose {WS_CHOICES}.'),
        ("shell_apps:Old", 3, 'implementation "shell_apps:Old". It fulfils neither the contract of'),
    ],
)
def test_ws_that_cannot_be(start: Start, choice: str, status: int, message: str) -> None:
    server = start("echo", "--ws", choice)
    assert server.wait() == status
    assert message in server.output


def test_ws_max_size(start: Start) -> None:
    server = start("echo", "--ws-max-size", "5")
    assert echo_of(server, b"12345") == (TEXT, b"12345")
    with connected(server) as client:
        client.open("/")
        client.send(frame(FIN | TEXT, b"", announced=6))  # none of its payload has come yet
        assert client.frames() == [closing(1009, "message is too big")]


def test_ws_max_queue(start: Start) -> None:
    """Beyond this many messages that wait for the application, no more are read, so that the client cannot send."""
    server = start("unread", "--ws-max-queue", "2", "--timeout-graceful-shutdown", "0")
    with connected(server) as client:
        client.open("/")
        client.sock.settimeout(1)
        sent = 0
        with contextlib.suppress(TimeoutError):
            while sent < 1000:
                client.send(text(bytes(LARGE)))
                sent += 1
        assert sent < 1000


def test_ws_ping_interval(start: Start) -> None:
    server = start("echo", "--ws-ping-interval", "0.05")
    with connected(server) as client:
        client.open("/")
        first = client.frame()
        assert first is not None
        assert first[0] == PING
    with connected(start("echo", "--ws-ping-interval", "0", "--ws-ping-timeout", "0")) as client:
        client.open("/")
        client.send(close())
        assert client.frames() == [closing(1000)]


def test_ws_ping_timeout(start: Start) -> None:
    server = start("echo", "--ws-ping-interval", "0.05", "--ws-ping-timeout", "0.05")
    with connected(server) as client:
        client.open("/")
        assert [each for each in client.frames() if each[0] != PING] == [closing(1011, "keepalive ping timeout")]


def test_ws_per_message_deflate(start: Start) -> None:
    for arguments, extension in (((), True), (("--ws-per-message-deflate", "false"), False)):
        with connected(start("echo", *arguments)) as client:
            found = client.open("/", DEFLATE).get(b"sec-websocket-extensions")
            assert (found is not None and found.startswith(b"permessage-deflate")) == extension
