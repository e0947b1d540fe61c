"""A process that runs out of file descriptors: accepting pauses with one warning, and goes on by itself."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from core.responses import Client
from load import PATIENCE, LoadedServer, until
from overload.crowd import HELLO, Crowd, answer_seconds

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc, and lowers a limit in a shell")

LIMIT = 128
FEW = 40  # connections for which there is room
WARNING = "Out of file descriptors"
RESUMED = "File descriptors are free again"


@pytest.fixture(params=["asyncio", "uvloop"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LoadedServer]:
    pytest.importorskip(request.param)
    options = ("--loop", request.param, "--timeout-keep-alive", "60")
    with LoadedServer(tmp_path / "log", *options, descriptors=LIMIT) as started:
        yield started


def processor_seconds(server: LoadedServer) -> float:
    fields = Path(f"/proc/{server.process.pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def descriptors(server: LoadedServer) -> int:
    return len(list(Path(f"/proc/{server.process.pid}/fd").iterdir()))


def complaints(server: LoadedServer) -> list[str]:
    """The lines of the log that say more than that all is well."""
    return [line for line in server.text.splitlines() if not line.startswith("INFO:")]


def is_answered(sock: socket.socket) -> bool:
    sock.settimeout(PATIENCE)
    return Client(sock).ask(HELLO).status == 200


def test_accepting_pauses_and_goes_on(server: LoadedServer, request: pytest.FixtureRequest) -> None:
    # Of the reserve of 32, asyncio may have accepted two batches of 8 before it stopped.
    left = 12 if request.node.callspec.params["server"] == "asyncio" else 20
    with Crowd(server, 3 * LIMIT) as crowd:
        until(lambda: WARNING in server.text, "the warning")
        assert descriptors(server) <= LIMIT - left, "little is left for the application"
        assert is_answered(crowd.sockets[0])
        waiting = crowd.sockets[-1]
        waiting.setblocking(False)
        with pytest.raises(BlockingIOError):
            waiting.recv(1)  # neither accepted nor closed
        before = processor_seconds(server)
        began = time.monotonic()
        while time.monotonic() - began < 0.5:
            assert is_answered(crowd.sockets[0])
            time.sleep(0.05)
        assert processor_seconds(server) - before < 0.25, "the server is busy with waiting"
        for sock in crowd.sockets[:-FEW]:
            sock.close()
        for sock in crowd.sockets[-FEW:]:
            assert is_answered(sock)
    until(lambda: RESUMED in server.text, "accepting goes on")
    answer_seconds(server)
    assert len(complaints(server)) == 1 and f"{WARNING} (the limit is {LIMIT})" in complaints(server)[0]
    assert server.quiet_state()["live"]["connection"] == 1


def test_the_limit_again_and_again(server: LoadedServer) -> None:
    """One warning a minute at most."""
    for _ in range(3):
        with Crowd(server, 2 * LIMIT) as crowd:
            until(lambda: descriptors(server) > LIMIT - 40, "as many connections as there can be")
            assert is_answered(crowd.sockets[0])
        server.quiet_state()
    assert len(complaints(server)) == 1


def test_an_application_that_takes_the_last(server: LoadedServer) -> None:
    with server.connect() as first, server.connect() as second:
        assert is_answered(second)  # it has been accepted
        assert Client(first).ask(b"GET /hoard HTTP/1.1\r\nHost: a\r\n\r\n").status == 200
        until(lambda: WARNING in server.text, "the warning")
        with server.connect() as waiting:
            assert Client(first).ask(b"GET /release HTTP/1.1\r\nHost: a\r\n\r\n").status == 200
            assert is_answered(waiting)
        assert is_answered(second)
    until(lambda: RESUMED in server.text, "accepting goes on")
    server.process.terminate()
    server.process.wait(PATIENCE)
    assert len(complaints(server)) == 1


def test_stopping_while_accepting_is_paused(server: LoadedServer) -> None:
    with Crowd(server, 3 * LIMIT):
        until(lambda: WARNING in server.text, "the warning")
        server.process.terminate()
        server.process.wait(PATIENCE)
    assert len(complaints(server)) == 1


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_connections_without_a_proxy_header(tmp_path: Path, loop: str) -> None:
    """They count before anything has come."""
    pytest.importorskip(loop)
    options = ("--loop", loop, "--proxy-protocol", "v1", "--timeout-request-head", "0")
    with LoadedServer(tmp_path / "log", *options, descriptors=LIMIT) as server:
        with Crowd(server, 2 * LIMIT):
            until(lambda: WARNING in server.text, "the warning")
            assert descriptors(server) <= LIMIT - 12
        until(lambda: RESUMED in server.text, "accepting goes on")
