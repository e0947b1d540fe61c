"""Event streams over HTTP/2: several on one connection, each with the windows that its client gives it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from core.topics.test_fan_out import Room, joined, tell
from fakes.http2 import CANCEL, INITIAL_WINDOW_SIZE, Http2Client, headers, rst_stream, window_update
from fakes.worker import FakeWorker

Work = Callable[..., FakeWorker]


def event_stream(stream: int, topic: str = "room", method: str = "GET") -> bytes:
    fields = [(":method", method), (":scheme", "http"), (":path", f"/{topic}"), (":authority", "a")]
    return headers(stream, fields)


def test_all_streams_of_a_connection_get_it_in_one_write(work: Work) -> None:
    wire = work(Room())
    hub = joined(wire)
    client = Http2Client(wire)
    client.send(*(event_stream(stream) for stream in (1, 3, 5)), event_stream(7, "other"))
    assert {reply.head["content-type"] for reply in client.replies.values()} == {"text/event-stream"}
    client.peer.transport.writes.clear()
    tell(wire, hub, "hello", "again")
    assert len(client.peer.transport.writes) == 1
    client.hear()
    assert [client.replies[stream].body for stream in (1, 3, 5, 7)] == [b"data: hello\n\ndata: again\n\n"] * 3 + [b""]
    assert not any(reply.ended for reply in client.replies.values())
    assert (hub.count("room"), hub.delivered) == (3, 6)
    client.peer.lose()
    assert (hub.count("room"), hub.count("other"), hub.subscriptions) == (0, 0, 0)


def test_a_window_lets_go_what_waits_in_order(work: Work) -> None:
    wire = work(Room())
    hub = joined(wire)
    client = Http2Client(wire, (INITIAL_WINDOW_SIZE, 0))
    client.send(event_stream(1))
    tell(wire, hub, "a", "b")
    tell(wire, hub, "c")
    client.hear()
    assert client.replies[1].body == b""
    for _ in range(3):
        client.send(window_update(1, 9))
    assert client.replies[1].body == b"data: a\n\ndata: b\n\ndata: c\n\n"


@pytest.mark.parametrize(
    ("slow", "body"), [("oldest", b"data: 0\n\ndata: gap\n\ndata: 9\n\n"), ("latest", b"data: 0\n\ndata: 9\n\n")]
)
def test_slow_streams(work: Work, slow: str, body: bytes) -> None:
    from fastserve._core.topics.message import Message

    options = {"gap": Message("room", "gap")} if slow == "oldest" else {}
    wire = work(Room(slow=slow, **options))
    hub = joined(wire, queue=2)
    client = Http2Client(wire, (INITIAL_WINDOW_SIZE, 0))
    client.send(event_stream(1))
    for number in range(10):
        tell(wire, hub, str(number))
    client.send(window_update(1, 1000))
    client.hear()
    assert client.replies[1].body == body


def test_a_slow_stream_is_reset_and_others_go_on(work: Work) -> None:
    wire = work(Room())
    hub = joined(wire, queue=2)
    client = Http2Client(wire, (INITIAL_WINDOW_SIZE, 0))
    client.send(event_stream(1), event_stream(3), window_update(3, 1000))
    for number in range(4):
        tell(wire, hub, str(number))
    client.hear()
    assert client.replies[1].reset == CANCEL
    assert client.replies[3].body == b"".join(b"data: %d\n\n" % number for number in range(4))
    assert (hub.count("room"), hub.closed) == (1, 1)


def test_what_the_server_resets_is_not_held_against_the_client(work: Work) -> None:
    """Its policy for slow streams is no sign of an attack, however many there are."""
    wire = work(Room())
    hub = joined(wire, queue=2)
    client = Http2Client(wire, (INITIAL_WINDOW_SIZE, 0))
    for first in range(1, 1001, 200):
        streams = range(first, first + 200, 2)
        client.send(*(event_stream(stream) for stream in streams))
        for number in range(4):
            tell(wire, hub, str(number))
        client.hear()
        assert {client.replies[stream].reset for stream in streams} == {CANCEL}
    client.send(event_stream(1001), window_update(1001, 1000))
    tell(wire, hub, "x")
    client.hear()
    assert client.replies[1001].body == b"data: x\n\n"


def test_a_client_that_resets_a_stream_ends_its_subscription(work: Work) -> None:
    wire = work(Room())
    hub = joined(wire)
    client = Http2Client(wire)
    client.send(event_stream(1), event_stream(3), rst_stream(1))
    assert hub.count("room") == 1
    tell(wire, hub, "x")
    client.hear()
    assert (client.replies[1].body, client.replies[3].body) == (b"", b"data: x\n\n")


def test_what_the_application_sends_comes_after_what_was_published(work: Work) -> None:
    room = Room()
    wire = work(room)
    hub = joined(wire)
    client = Http2Client(wire)
    client.send(event_stream(1))

    async def send() -> None:
        from fastserve._core.topics.message import Message

        hub.deliver(Message("room", "first"), 0)
        await room.sends[0]({"type": "http.response.body", "body": b"own", "more_body": False})

    wire.loop.run_until_complete(send())
    client.hear()
    assert (client.replies[1].body, client.replies[1].ended) == (b"data: first\n\nown", True)
    assert hub.count("room") == 0


def test_a_response_to_head_has_no_events(work: Work) -> None:
    wire = work(Room())
    hub = joined(wire)
    client = Http2Client(wire)
    client.send(event_stream(1, method="HEAD"))
    tell(wire, hub, "x")
    client.hear()
    assert (client.replies[1].body, client.replies[1].ended) == (b"", True)
