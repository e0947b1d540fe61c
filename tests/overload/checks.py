"""What a server under each kind of load must hold to; the tests have a few clients, `python -m tests.overload` many.

Each takes a server without connections, the number of clients, and what gets a line of figures. The bounds are in
bytes of private memory of the server's process for each client. Raises AssertionError.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from load import PATIENCE, LoadedServer, until
from overload.crowd import HELLO, Crowd, answer_seconds, settled

Say = Callable[[str], Any]

# Clients take their time, and the stop does not wait for applications that are stuck.
PATIENT = (
    *("--timeout-keep-alive", "600", "--timeout-request-head", "600", "--timeout-graceful-shutdown", "0.1"),
    *("--ws-ping-interval", "600"),  # a ping would be counted as an echo
)

KIB = 1024
IDLE = 6 * KIB
DRIBBLING = 12 * KIB
UNREAD = 192 * KIB  # a piece of 64 KiB of the application's, and as much again that waits in the transport
UNTAKEN = 640 * KIB  # 64 KiB that are read ahead, and two reads of 256 KiB of which the first goes beyond that
UNREAD_ANSWERS = 768 * KIB  # a response of 256 KiB, and what is read ahead of requests
ENDLESS = "POST {} HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n"


def quiet_memory(server: LoadedServer) -> int:
    server.state()  # what the first request takes is not of those that follow
    return int(server.quiet_state()["memory"])


def check_memory(server: LoadedServer, count: int, before: int, most: int, what: str, say: Say) -> dict[str, Any]:
    """Check what each client takes and that somebody else is answered; return the state."""
    state = server.state()
    each = (state["memory"] - before) / count
    seconds = answer_seconds(server)
    say(f"{count} {what}: {each:.0f} bytes each (at most {most}); another was answered in {seconds:.3f} s")
    assert each < most, f"{each:.0f} bytes for each of {count} {what}"
    return state


def check_idle(server: LoadedServer, count: int, say: Say) -> None:
    """Connections that are idle after a response."""
    before = quiet_memory(server)
    with Crowd(server, count) as crowd:
        crowd.send(HELLO)
        for data in crowd.read(PATIENCE, lambda data: data.endswith(b"ok")):
            assert data.startswith(b"HTTP/1.1 200 ")
        state = check_memory(server, count, before, IDLE, "idle connections", say)
        assert state["live"]["connection"] == count + 1
        assert state["live"]["buffer"] <= 1, "an idle connection holds a buffer"
    until(lambda: server.state()["live"]["connection"] == 1, "all are gone")


def check_dribble(server: LoadedServer, count: int, bytes_each: int, interval: float, say: Say) -> None:
    """Connections on which a byte comes every `interval` seconds: of a head on one half, of a body on the other."""
    before = quiet_memory(server)
    with Crowd(server, count // 2) as heads, Crowd(server, count // 2) as bodies:
        heads.send(b"GET / HTTP/1.1\r\nHost: a\r\nX: ")
        bodies.send(ENDLESS.format("/waiting").encode())
        began = time.monotonic()
        for number in range(bytes_each):
            time.sleep(max(began + number * interval - time.monotonic(), 0))
            heads.send(b"x")
            bodies.send(b"x")
            answer_seconds(server)
        state = check_memory(server, count, before, DRIBBLING, f"connections with {bytes_each} bytes one by one", say)
        assert state["live"]["connection"] == count + 1
        assert state["live"]["task"] == count // 2 + 1
    server.quiet_state()


def check_readers(server: LoadedServer, count: int, say: Say) -> None:
    """Clients that do not read what an application sends them without an end: it waits in send()."""
    before = quiet_memory(server)
    with Crowd(server, count, 64 * KIB) as crowd:
        crowd.send(b"GET /endless HTTP/1.1\r\nHost: a\r\n\r\n")
        settled(server, lambda: int(server.state()["sends"]["done"]), "send() waits")
        state = check_memory(server, count, before, UNREAD, "clients that do not read", say)
        assert state["sends"]["waiting"] == count
        # One that reads again is sent more.
        first = crowd.sockets[0]
        first.settimeout(PATIENCE)
        left = 8 << 20
        while left > 0:
            chunk = first.recv(1 << 20)
            assert chunk
            left -= len(chunk)
    assert server.quiet_state()["sends"]["waiting"] == 0


def check_uploads(server: LoadedServer, count: int, say: Say) -> None:
    """Clients that send a body which the application does not take: it stays in the kernel."""
    before = quiet_memory(server)
    with Crowd(server, count) as crowd:
        assert min(crowd.pour(ENDLESS.format("/stuck").encode())) > 64 * KIB
        check_memory(server, count, before, UNTAKEN, "uploads that nobody takes", say)


def check_pipelines(server: LoadedServer, count: int, say: Say) -> None:
    """Clients that send requests without an end after one that is not answered."""
    before = quiet_memory(server)
    with Crowd(server, count) as crowd:
        assert min(crowd.pour(b"GET /stuck HTTP/1.1\r\nHost: a\r\n\r\n", HELLO * 1000)) > 64 * KIB
        state = check_memory(server, count, before, UNTAKEN, "pipelines behind a request without an answer", say)
        assert state["live"]["task"] == count + 1, "a request is served before the one in front of it is answered"


def check_unread_pipelines(server: LoadedServer, count: int, say: Say) -> None:
    """Clients that send requests and do not read the responses: those are made as far as they are read."""
    before = quiet_memory(server)
    with Crowd(server, count, 64 * KIB) as crowd:
        crowd.send(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n" * 200)  # 50 MiB of answers
        settled(server, lambda: int(server.state()["memory"] - before) // (1 << 20), "memory does not change")
        check_memory(server, count, before, UNREAD_ANSWERS, "pipelines whose answers nobody reads", say)
