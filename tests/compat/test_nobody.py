"""What applications see of a cancellation that comes while they send to a client that is gone, with uvicorn as control.

Each send() to nobody gives the loop a turn, in which a cancellation can come. uvicorn's send() does not, so there it
comes just after that; what becomes of it is the same.
"""

from __future__ import annotations

import signal
import socket
import struct
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest
from core.responses import Client
from fakes.worker import get
from support import Command

TESTS = Path(__file__).parents[1]
HAS_REQUESTS = sys.version_info >= (3, 11)  # Task.cancelling(), asyncio.timeout() and TaskGroup came with it
COMMANDS = {
    "uvicorn": ("uvicorn", "--lifespan", "off"),
    "uvloop": ("fastserve", "--lifespan", "off", "--loop", "uvloop"),
    "asyncio": ("fastserve", "--lifespan", "off", "--loop", "asyncio"),
    "h11": ("fastserve", "--lifespan", "off", "--http", "h11"),
}
NUMBERS = count()
RESET = struct.pack("ii", 1, 0)  # for SO_LINGER: close() resets the connection
ONE, NONE = (1, 0) if HAS_REQUESTS else (-1, -1)
CASES = [
    ("waits", ["cancelled where it waits", "why", ONE]),
    ("sends_more", ["cancelled where it waits", "why", ONE]),
    ("cancels_itself", ["cancelled where it waits", "why", ONE]),
    ("waits_in_a_generator", ["closed at once"]),
    ("ends", "ended"),
    ("scope_is_left", ["on", False, NONE]),
    ("scope_is_late", ["on", False, NONE]),
    ("scope_is_not_left", ["sent", True, NONE]),
    ("scope_shields", ["shielded", True, NONE]),
]
if HAS_REQUESTS:
    CASES += [
        ("timeout_is_left", ["on", 0]),
        ("timeout_is_not_left", ["timeout", 0]),
        ("timeout_and_cancel", ["cancelled where it waits", "why", 1]),
        ("group_fails", ["ZeroDivisionError"]),
    ]
ENDLESS = [("never_ends", [16, "why", ONE]), ("never_ends_in_a_scope", [16, True, NONE])]


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, Command]]:
    """Servers of this module by name, started when they are first asked for."""
    running: dict[str, Command] = {}
    yield running
    for each in running.values():
        each.send_signal(signal.SIGKILL)  # a case that fails may not end
        each.close()


@pytest.fixture
def server(request: pytest.FixtureRequest, servers: dict[str, Command]) -> Command:
    if request.param not in servers:
        module, *options = COMMANDS[request.param]
        arguments = ("compat.apps.nobody_app:app", "--app-dir", str(TESTS), "--port", "0", *options)
        servers[request.param] = Command([sys.executable, "-m", module, *arguments])
        servers[request.param].wait_line("running on http://", timeout=40)
    return servers[request.param]


def outcome(server: Command, owner: str, case: str) -> Any:
    identity = f"n{next(NUMBERS)}"
    client = Client(server.connect(timeout=60))
    client.send(get(f"/{owner}/{case}/{identity}"))
    client.read_until(b"x\r\n")
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    client.close()
    return httpx.get(f"{server.url}/result/-/{identity}", timeout=60, trust_env=False).json()


@pytest.mark.parametrize(("case", "result"), CASES)
@pytest.mark.parametrize("owner", ["own", "child"])
@pytest.mark.parametrize("server", COMMANDS, indirect=True)
def test_a_cancellation(server: Command, owner: str, case: str, result: Any) -> None:
    assert outcome(server, owner, case) == result


@pytest.mark.parametrize(("case", "result"), ENDLESS)
@pytest.mark.parametrize("owner", ["own", "child"])
@pytest.mark.parametrize("server", ["uvloop", "asyncio", "h11"], indirect=True)
def test_one_that_sends_without_end(server: Command, owner: str, case: str, result: Any) -> None:
    """Under uvicorn it would hold the loop for ever."""
    assert outcome(server, owner, case) == result
