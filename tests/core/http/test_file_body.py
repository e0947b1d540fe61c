"""Files that cannot go by sendfile(2): the transport of these tests has no socket, as one with TLS has none for us."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from core.responses import read_one
from fakes.worker import FakeWorker, Peer, get

Work = Callable[..., FakeWorker]
START = {"type": "http.response.start", "status": 200}
BLOCK = 1 << 18
CONTENT = bytes(range(256)) * 2000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "content").write_bytes(CONTENT)
    return tmp_path / "content"


def sends(*messages: Any) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(START)
        for message in messages:
            await send(message)

    return app


def finish(wire: FakeWorker, peer: Peer) -> bytes:
    """Let the threads that read do so until the server has closed; what it wrote."""

    peer.put(get("/", "Connection: close"))
    while not peer.ended:
        wire.turn()
    return peer.take()


def test_whole_file(work: Work, path: Path) -> None:
    wire = work(sends({"type": "http.response.pathsend", "path": str(path)}))
    assert read_one(finish(wire, wire.connect())).body == CONTENT


@pytest.mark.parametrize("size", [0, 1, BLOCK - 1, BLOCK, BLOCK + 1])
def test_sizes(work: Work, path: Path, size: int) -> None:
    path.write_bytes(b"x" * size)
    wire = work(sends({"type": "http.response.pathsend", "path": str(path)}))
    assert read_one(finish(wire, wire.connect())).body == b"x" * size


def test_parts(work: Work, path: Path) -> None:
    with path.open("rb") as file:
        parts = [
            {"type": "http.response.zerocopysend", "file": file, "offset": at, "count": 300000, "more_body": at == 0}
            for at in (0, 100)
        ]
        wire = work(sends(*parts))
        assert read_one(finish(wire, wire.connect())).body == CONTENT[:300000] + CONTENT[100:300100]


def get_stuck(wire: FakeWorker, peer: Peer) -> None:
    """Ask, as a client that takes nothing, until the server waits for it."""

    peer.transport.stuck = True
    peer.put(get("/", "Connection: close"))
    while not peer.transport.writing_paused:
        wire.turn()
    wire.turn(100)


def test_waits_for_the_client(work: Work, path: Path) -> None:
    """No more is read than the client takes."""
    wire = work(sends({"type": "http.response.pathsend", "path": str(path)}))
    peer = wire.connect()
    get_stuck(wire, peer)
    before = peer.take()
    assert len(before) < BLOCK + 1000
    peer.transport.unstick()
    assert read_one(before + finish(wire, peer)).body == CONTENT


def test_file_that_shrinks(work: Work, path: Path) -> None:
    """What is announced cannot be sent: the response is broken off."""
    wire = work(sends({"type": "http.response.pathsend", "path": str(path)}))
    peer = wire.connect()
    get_stuck(wire, peer)
    before = peer.take()
    path.write_bytes(b"")
    peer.transport.unstick()
    assert len(before + finish(wire, peer)) < BLOCK + 1000
    assert "the file ended before" in str(wire.errors[0])


def test_client_that_goes_away(work: Work, path: Path) -> None:
    wire = work(sends({"type": "http.response.pathsend", "path": str(path)}))
    peer = wire.connect()
    get_stuck(wire, peer)
    peer.lose()
    assert wire.errors == []
