"""What clients say of the order of responses (RFC 9218)."""

from __future__ import annotations

import pytest
from core.http2.test_streams import Work, echo
from fakes.http2 import (
    GET,
    INITIAL_WINDOW_SIZE,
    POST,
    PRIORITY_UPDATE,
    PROTOCOL_ERROR,
    Http2Client,
    frame,
    headers,
    window_update,
)
from fakes.worker import hello


@pytest.mark.parametrize("signal", ["field", "frame"])
def test_priorities(work: Work, signal: str) -> None:
    """RFC 9218: of streams that wait for the connection, the most urgent goes first."""
    client = Http2Client(work(hello(bytes(40_000))), (INITIAL_WINDOW_SIZE, 1 << 20))
    for stream, value in ((1, "u=5"), (3, "u=5"), (5, "u=0")):
        fields = [*GET, ("priority", value)] if signal == "field" else GET
        client.send(headers(stream, fields))
        if signal == "frame":
            payload = stream.to_bytes(4, "big") + value.encode()
            client.send(frame(PRIORITY_UPDATE, 0, 0, payload))
    client.send(window_update(0, 45_000))
    assert client.replies[5].ended
    assert not client.replies[3].ended
    client.send(window_update(0, 1 << 20))
    assert client.replies[1].ended and client.replies[3].ended


def test_priorities_before_their_streams(work: Work) -> None:
    """RFC 9218, 7: the last counts, before a field too; one that is too long or of a stream never opened does not."""
    client = Http2Client(work(hello(bytes(40_000))), (INITIAL_WINDOW_SIZE, 1 << 20))
    for stream, value in ((3, b"u=7"), (5, b"u=6"), (5, b"u=0"), (9, b"u=7" + b" " * 300), (7, b"u=5")):
        client.send(frame(PRIORITY_UPDATE, 0, 0, stream.to_bytes(4, "big") + value))
    client.send(headers(1), headers(5, [*GET, ("priority", "u=7")]), headers(7), headers(9))
    for size, ended in ((20_000, [1, 5]), (40_000, [1, 5, 9]), (60_000, [1, 5, 7, 9])):
        client.send(window_update(0, size))
        assert sorted(stream for stream, reply in client.replies.items() if reply.ended) == ended
    client.send(window_update(0, 1 << 20), headers(11), frame(PRIORITY_UPDATE, 0, 0, b"\0\0\0\3u=0"))
    assert client.replies[11].ended and not client.closed


def test_priorities_of_as_many_streams_as_there_may_be(work: Work) -> None:
    """Those that are not open count beside those that are (RFC 9218, 7.1)."""
    client = Http2Client(work(echo, limit_http2_streams=10))
    client.send(headers(1, POST, end=False))
    for stream in (*range(3, 21, 2), 3):
        client.send(frame(PRIORITY_UPDATE, 0, 0, stream.to_bytes(4, "big") + b"u=1"))
    assert not client.closed
    client.send(headers(19, POST, end=False))
    client.send(*(frame(PRIORITY_UPDATE, 0, 0, stream.to_bytes(4, "big") + b"u=1") for stream in range(21, 37, 2)))
    assert not client.closed
    client.send(frame(PRIORITY_UPDATE, 0, 0, (37).to_bytes(4, "big") + b"u=1"))
    assert client.error == PROTOCOL_ERROR
