"""One message to all members of a topic: bytes out, order, slow subscribers, members that leave within a fan-out."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from core.frames import BINARY, CLOSE, TEXT, text
from fakes.worker import TIME, FakeWorker, Peer, get
from ws import close, closing, opened, read_frames, split_response, upgrade

from fastserve._core import counters
from fastserve._core.testing import Inflater
from fastserve._core.topics.hub import Hub
from fastserve._core.topics.message import Message
from fastserve._core.topics.subscriber import Subscriber
from fastserve._core.topics.subscription import Subscription

Work = Callable[..., FakeWorker]


class Room:
    """An application whose connections subscribe to what their path names, with the options that it is given."""

    def __init__(self, **options: Any) -> None:
        self.hub: Any = None
        self.options = options
        self.subscriptions: list[Subscription] = []
        self.said: list[Any] = []
        self.sends: list[Any] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        assert scope["extensions"]["fastserve.topics"] == {}
        subscription = Subscription(self.hub, tuple(scope["path"][1:].split(",")), **self.options)
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
        else:
            headers = [(b"content-type", b"text/event-stream")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "fastserve.topics.subscribe", "subscription": subscription})
        self.subscriptions.append(subscription)
        self.sends.append(send)
        while (message := await receive())["type"] not in ("websocket.disconnect", "http.disconnect"):
            self.said.append(message.get("text"))
            if message.get("text") == "return":
                return


def joined(wire: FakeWorker, **hub: Any) -> Hub:
    made = Hub(**hub)
    app: Any = wire.worker.app
    app.hub = made
    return made


def member(wire: FakeWorker, topic: str = "room", *fields: str) -> Peer:
    peer = wire.connect()
    found, frames = split_response(peer.feed(upgrade(f"/{topic}", *fields)))
    assert found.status == 101
    assert frames == []
    return peer


def tell(wire: FakeWorker, hub: Hub, *data: str | bytes, topic: str = "room", exclude: int = 0) -> None:
    """Publish these in one turn."""
    together(wire, *(partial(hub.deliver, Message(topic, each), exclude) for each in data))


def together(wire: FakeWorker, *calls: Callable[[], Any]) -> None:
    """Call these in one turn."""

    def run() -> None:
        for call in calls:
            call()

    wire.call(run)


def texts(peer: Peer) -> list[str]:
    return [data.decode() for _, data in read_frames(peer.take())]


class TestWebSockets:
    def test_all_members_get_it_once(self, sockets: Work) -> None:
        wire = sockets(Room())
        hub = joined(wire)
        peers = [member(wire) for _ in range(3)]
        other = member(wire, "elsewhere")
        tell(wire, hub, "grün", b"\0\xff")
        for peer in peers:
            assert read_frames(peer.take()) == [(TEXT, "grün".encode()), (BINARY, b"\0\xff")]
        assert other.take() == b""
        assert (hub.count("room"), hub.subscriptions, hub.delivered) == (3, 4, 6)

    def test_messages_of_a_turn_leave_in_one_write(self, work: Work) -> None:
        wire = work(Room(), ws_per_message_deflate=False)
        hub = joined(wire)
        peer = member(wire)
        tell(wire, hub, *"abc")
        assert len(peer.transport.writes) == 1
        assert texts(peer) == ["a", "b", "c"]

    def test_the_frame_is_made_once(self, work: Work) -> None:
        wire = work(Room())
        hub = joined(wire)
        peers = [member(wire) for _ in range(3)]
        message = Message("room", "x" * 1000)
        assert message.encodings() == []
        wire.call(hub.deliver, message)
        assert message.encodings() == ["plain"]
        assert len({peer.take() for peer in peers}) == 1

    def test_own_sends_go_after_what_was_published_before(self, sockets: Work) -> None:
        room = Room()
        wire = sockets(room)
        hub = joined(wire)
        peer = member(wire)

        async def both() -> None:
            hub.deliver(Message("room", "first"))
            await room.sends[0]({"type": "websocket.send", "text": "second"})
            hub.deliver(Message("room", "third"))

        wire.call(lambda: asyncio.ensure_future(both(), loop=wire.loop))
        assert texts(peer) == ["first", "second", "third"]

    def test_a_close_frame_goes_after_them(self, sockets: Work) -> None:
        room = Room()
        wire = sockets(room)
        hub = joined(wire)
        peer = member(wire)

        async def both() -> None:
            hub.deliver(Message("room", "last"))
            await room.sends[0]({"type": "websocket.close", "code": 4000})
            hub.deliver(Message("room", "too late"))

        wire.call(lambda: asyncio.ensure_future(both(), loop=wire.loop))
        assert read_frames(peer.take()) == [(TEXT, b"last"), closing(4000)]
        assert hub.topics == {}

    def test_a_drain_closes_after_them(self, sockets: Work) -> None:
        wire = sockets(Room())
        hub = joined(wire)
        peer = member(wire)
        together(wire, partial(hub.deliver, Message("room", "last")), wire.worker.drain)
        assert read_frames(peer.take()) == [(TEXT, b"last"), closing(1012)]

    @pytest.mark.parametrize("how", ["close", "eof", "lost", "application", "cancel"])
    def test_the_end_of_a_subscription(self, sockets: Work, how: str) -> None:
        ended: list[int] = []
        room = Room(end_noted=lambda: ended.append(1))
        wire = sockets(room)
        changes: list[Any] = []
        hub = joined(wire, changed=lambda name, there: changes.append((name, there)))
        peer = member(wire)
        if how == "close":
            peer.feed(close())
        elif how == "eof":
            peer.eof()
        elif how == "lost":
            peer.lose()
        elif how == "application":
            peer.feed(text("return"))
        else:
            together(wire, partial(hub.deliver, Message("room", "not sent")), room.subscriptions[0].cancel)
            assert peer.take() == b""
        assert hub.topics == {}
        assert changes == [("room", True), ("room", False)]
        assert ended == [1]
        assert not room.subscriptions[0].active
        room.subscriptions[0].cancel()
        assert hub.subscriptions == 0
        tell(wire, hub, "nobody hears it")

    def test_the_publisher_can_be_left_out(self, sockets: Work) -> None:
        room = Room()
        wire = sockets(room)
        hub = joined(wire)
        peers = [member(wire) for _ in range(3)]
        tell(wire, hub, "x", exclude=room.subscriptions[1].number)
        assert [texts(peer) for peer in peers] == [["x"], [], ["x"]]

    def test_several_topics_and_json(self, sockets: Work) -> None:
        wire = sockets(Room(in_json=True))
        hub = joined(wire)
        peer = member(wire, "a,b")
        together(wire, partial(hub.deliver, Message("a", "1", "e:1")), partial(hub.deliver, Message("b", b"2")))
        assert [json.loads(each) for each in texts(peer)] == [
            {"topic": "a", "id": "e:1", "data": "1"},
            {"topic": "b", "id": None, "data": "2"},
        ]

    def test_a_connection_has_a_bounded_number_of_topics(self, work: Work) -> None:
        wire = work(Room())
        joined(wire)
        peer = wire.connect()
        found, frames = split_response(peer.feed(upgrade("/" + ",".join(map(str, range(257))))))
        assert (found.status, frames) == (101, [closing(1011)])
        assert isinstance(wire.errors[0], ValueError)

    @pytest.mark.parametrize("size", [300, 20_000])
    @pytest.mark.parametrize("bits", [9, 10, 11, 12, 15])
    def test_deflated_among_own_messages(self, work: Work, bits: int, size: int) -> None:
        """One inflater reads all of them: what the topic sends is made without the connection's own context."""
        room = Room()
        wire = work(room)
        hub = joined(wire)
        offer = f"permessage-deflate; server_max_window_bits={bits}"
        peers = [member(wire, "room", f"Sec-WebSocket-Extensions: {offer}") for _ in range(2)]
        inflaters = [Inflater(15, True) for _ in peers]
        for number in range(4):
            own = f"own {number} " * (size // 6)
            shared = f"shared {number} " * (size // 9)

            async def say(own: str = own) -> None:
                for send in room.sends:
                    await send({"type": "websocket.send", "text": own})

            wire.call(lambda: asyncio.ensure_future(say(), loop=wire.loop))
            tell(wire, hub, shared, "short")
            for peer, inflater in zip(peers, inflaters, strict=True):
                assert inflated(peer.take(), inflater) == [own, shared, "short"]


def inflated(data: bytes, inflater: Inflater) -> list[str]:
    found = []
    while data:
        size, at = data[1], 2
        if size > 125:
            at = 4 if size == 126 else 10
            size = int.from_bytes(data[2:at], "big")
        payload, compressed = data[at : at + size], data[0] & 0x40
        found.append((inflater.feed(payload, 1 << 20) if compressed else payload).decode())
        data = data[at + size :]
    return found


class TestEventStreams:
    def listen(self, wire: FakeWorker, topic: str = "room", *fields: str, **request: Any) -> Peer:
        peer = wire.connect()
        head = peer.feed(get(f"/{topic}", *fields, **request))
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        assert head.endswith(b"\r\n\r\n")
        return peer

    def test_events(self, work: Work) -> None:
        wire = work(Room())
        hub = joined(wire)
        peers = [self.listen(wire) for _ in range(2)]
        messages = Message("room", "a\nb\r\nc", "e:7", "post"), Message("room", "")
        together(wire, *(partial(hub.deliver, each) for each in messages))
        first = b"id: e:7\nevent: post\ndata: a\ndata: b\ndata: c\n\n"
        for peer in peers:
            assert peer.take() == b"%x\r\n%b\r\n8\r\ndata: \n\n\r\n" % (len(first), first)
            assert not peer.transport.closed
            peer.lose()
        assert hub.topics == {}

    def test_http10_is_not_chunked(self, work: Work) -> None:
        wire = work(Room())
        hub = joined(wire)
        peer = self.listen(wire, version="1.0")
        tell(wire, hub, "x")
        assert peer.take() == b"data: x\n\n"

    def test_a_head_request_gets_none(self, work: Work) -> None:
        wire = work(Room())
        hub = joined(wire)
        peer = self.listen(wire, method="HEAD")
        tell(wire, hub, "x")
        assert peer.take() == b""

    def test_a_stream_that_says_nothing_is_kept_alive(self, work: Work) -> None:
        wire = work(Room(keepalive=0.001))
        joined(wire)
        peer = wire.connect()
        received = peer.feed(get("/room"))  # on a busy machine with a comment behind its head
        while b"\r\n\r\n3\r\n:\n\n\r\n" not in received:
            wire.turn()
            received += peer.take()
        peer.lose()

    def test_not_with_a_content_length(self, work: Work) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
            with pytest.raises(RuntimeError, match="Content-Length"):
                await send({"type": "fastserve.topics.subscribe", "subscription": Subscription(Hub(), ("room",))})
            await send({"type": "http.response.body", "body": b"hello"})

        wire = work(app)
        hub = joined(wire)
        assert wire.connect().feed(get()).endswith(b"\r\n\r\nhello")
        assert hub.topics == {}

    def test_what_the_application_sends_goes_between(self, work: Work) -> None:
        room = Room()
        wire = work(room)
        hub = joined(wire)
        peer = self.listen(wire)

        async def both() -> None:
            hub.deliver(Message("room", "1"))
            await room.sends[0]({"type": "http.response.body", "body": b"own", "more_body": True})
            hub.deliver(Message("room", "2"))
            await room.sends[0]({"type": "http.response.body"})
            hub.deliver(Message("room", "3"))

        wire.call(lambda: asyncio.ensure_future(both(), loop=wire.loop))
        assert peer.take() == b"9\r\ndata: 1\n\n\r\n3\r\nown\r\n9\r\ndata: 2\n\n\r\n0\r\n\r\n"
        assert hub.topics == {}


class TestSlow:
    """A client that does not read while messages come."""

    def stuck(self, wire: FakeWorker, hub: Hub, topic: str = "room") -> Peer:
        peer = member(wire, topic)
        peer.transport.stuck = True
        peer.transport.set_write_buffer_limits(high=0)
        tell(wire, hub, "goes to the kernel")
        assert texts(peer)[0] == "goes to the kernel"
        assert peer.transport.writing_paused
        return peer

    def test_what_waits_is_written_when_it_reads_again(self, sockets: Work) -> None:
        wire = sockets(Room())
        hub = joined(wire)
        peer = self.stuck(wire, hub)
        tell(wire, hub, "a", "b")
        assert peer.take() == b""
        assert hub.queued_size == 2
        peer.transport.unstick()
        wire.settle()
        assert texts(peer) == ["a", "b"]
        assert hub.queued_size == 0

    @pytest.mark.parametrize("bound", [{"queue": 3}, {"queue_size": 3}])
    def test_is_closed(self, sockets: Work, bound: dict[str, int]) -> None:
        wire = sockets(Room())
        hub = joined(wire, **bound)
        slow, other = self.stuck(wire, hub), member(wire)
        for number in range(3):
            tell(wire, hub, str(number))
        assert (hub.count("room"), hub.closed) == (2, 0)
        tell(wire, hub, "3")
        assert (hub.count("room"), hub.closed, hub.dropped, hub.queued_size) == (1, 1, 4, 0)
        slow.transport.unstick()
        wire.settle()
        assert read_frames(slow.take()) == [closing(1013, "slow consumer")]
        assert texts(other) == ["0", "1", "2", "3"]

    def test_loses_its_oldest_and_is_told(self, sockets: Work) -> None:
        wire = sockets(Room(slow="oldest", gap=Message("room", "GAP")))
        hub = joined(wire, queue=4)
        peer = self.stuck(wire, hub)
        tell(wire, hub, *map(str, range(10)))
        assert peer.take() == b""
        peer.transport.unstick()
        wire.settle()
        assert texts(peer) == ["GAP", "7", "8", "9"]
        assert hub.dropped == 7

    def test_gets_the_newest_alone(self, sockets: Work) -> None:
        wire = sockets(Room(slow="latest"))
        hub = joined(wire, queue=4)
        peer = self.stuck(wire, hub)
        tell(wire, hub, *map(str, range(10)))
        peer.transport.unstick()
        wire.settle()
        assert texts(peer) == ["9"]

    def test_a_client_that_reads_gets_any_number_in_a_turn(self, sockets: Work) -> None:
        wire = sockets(Room())
        hub = joined(wire, queue=4)
        peer = member(wire)
        tell(wire, hub, *map(str, range(100)))
        assert texts(peer) == [str(number) for number in range(100)]

    def test_an_event_stream_is_cut(self, work: Work) -> None:
        wire = work(Room())
        hub = joined(wire, queue=2)
        peer = wire.connect()
        peer.feed(get("/room"))
        peer.transport.stuck = True
        peer.transport.set_write_buffer_limits(high=0)
        tell(wire, hub, "0")
        tell(wire, hub, "1", "2", "3")
        assert "abort" in peer.transport.calls
        assert hub.topics == {}

    def test_many_that_are_closed_within_a_fan_out(self, sockets: Work) -> None:
        """The others get each message once, whoever leaves while it is delivered."""
        wire = sockets(Room())
        hub = joined(wire, queue=1)
        peers = [self.stuck(wire, hub) if number % 2 else member(wire) for number in range(20)]
        for peer in peers:
            peer.take()
        tell(wire, hub, "a")
        tell(wire, hub, "b", "c")
        assert hub.count("room") == 10
        for number, peer in enumerate(peers):
            if not number % 2:
                assert texts(peer) == ["a", "b", "c"]
        late = member(wire)
        tell(wire, hub, "d")
        assert texts(late) == ["d"]

    def test_members_that_leave_before_they_are_reached(self, sockets: Work) -> None:
        """A connection that is closed takes its later member with it, which has not had the message."""
        wire = sockets(Room())
        hub = joined(wire, queue=2)
        peers = [self.stuck(wire, hub, "room,room") if number % 3 else member(wire) for number in range(12)]
        for peer in peers:
            peer.take()
        for each in "abc":
            tell(wire, hub, each)
        assert hub.count("room") == 4
        for peer in peers[::3]:
            assert texts(peer) == ["a", "b", "c"]

    def test_a_cancelled_subscription_is_not_written(self, sockets: Work) -> None:
        room = Room()
        wire = sockets(room)
        hub = joined(wire)
        peer = self.stuck(wire, hub)
        tell(wire, hub, "a")
        wire.call(room.subscriptions[0].cancel)
        peer.transport.unstick()
        wire.settle()
        assert peer.take() == b""
        assert hub.queued_size == 0


class TestRecovery:
    def test_what_comes_meanwhile_waits(self, sockets: Work) -> None:
        room = Room(recovers=True)
        wire = sockets(room)
        hub = joined(wire)
        peer = member(wire)
        together(wire, *(partial(hub.deliver, Message("room", str(each), f"e:{each}")) for each in (3, 4)))
        assert peer.take() == b""
        old = [Message("room", str(number), f"e:{number}") for number in (1, 2, 3)]
        wire.call(room.subscriptions[0].recovered, "room", old, True, lambda message: message.id > "e:3")
        assert texts(peer) == ["1", "2", "3", "4"]
        tell(wire, hub, "5")
        assert texts(peer) == ["5"]

    def test_a_history_that_is_ahead_of_what_comes(self, sockets: Work) -> None:
        """What an engine delivers late was in the history already: it comes once."""
        room = Room(recovers=True)
        wire = sockets(room)
        hub = joined(wire)
        peer = member(wire)
        old = [Message("room", str(number), f"e:{number}") for number in (1, 2, 3)]
        wire.call(room.subscriptions[0].recovered, "room", old, True, lambda message: message.id > "e:3")
        together(wire, *(partial(hub.deliver, Message("room", str(each), f"e:{each}")) for each in (2, 3)))
        tell(wire, hub, "without a position")
        together(wire, *(partial(hub.deliver, Message("room", str(each), f"e:{each}")) for each in (3, 4, 5)))
        assert texts(peer) == ["1", "2", "3", "without a position", "4", "5"]

    def test_a_gap_is_told(self, sockets: Work) -> None:
        room = Room(recovers=True, gap=Message("room", "GAP"))
        wire = sockets(room)
        hub = joined(wire)
        peer = member(wire)
        wire.call(room.subscriptions[0].recovered, "room", [], False)
        wire.call(hub.gap, "room")
        assert texts(peer) == ["GAP", "GAP"]


class TestTurn:
    def test_responses_go_first_and_a_long_fan_out_takes_several_turns(self, work: Work) -> None:
        """Writes take 0.1 ms each here: 20 of them a slice, with other work of the loop in between."""
        order: list[str] = []
        wire = work(Room(), ws_per_message_deflate=False)
        hub = joined(wire)
        peers = [member(wire) for _ in range(100)]
        for peer in peers:
            write = peer.transport.write

            def watched(data: bytes, write: Any = write) -> None:
                TIME.spin(0.0001)
                order.append("write")
                write(data)

            peer.transport.write = watched  # type: ignore[method-assign, assignment]
        for each in "ab":
            wire.loop.call_soon(hub.deliver, Message("room", each))
        for _ in range(30):
            wire.loop.call_soon(order.append, "other")
            wire.turn()
        assert order.count("write") == 100
        slices = [len(part) for part in "".join("w" if each == "write" else " " for each in order).split()]
        assert len(slices) >= 4
        assert max(slices) <= 48
        assert all(texts(peer) == ["a", "b"] for peer in peers)


class TestListeners:
    def test_are_called_with_each_message(self) -> None:
        hub = Hub()
        got: list[Any] = []

        def listener(message: Message | None, exclude: int) -> None:
            got.append(message and message.data)

        hub.listen("a", listener)
        assert hub.count("a") == 1
        hub.deliver(Message("a", "1"))
        hub.gap("a")
        hub.unlisten("a", listener)
        hub.deliver(Message("a", "2"))
        assert got == ["1", None]
        assert hub.topics == {}


class TestMessage:
    @pytest.mark.parametrize("data", [1, None, ["x"]])
    def test_wrong_type(self, data: Any) -> None:
        with pytest.raises(TypeError, match="a string or bytes"):
            Message("room", data)

    @pytest.mark.parametrize("given", [{"position": "a\nb"}, {"event": "a\rb"}, {"data": "\ud800"}])
    def test_wrong_value(self, given: dict[str, str]) -> None:
        with pytest.raises(ValueError):  # noqa: PT011  # two kinds of it
            Message("room", **{"data": "x", **given})


def test_objects_are_small() -> None:
    """There are thousands of each: with the object's and the collector's 16 bytes each, a subscription takes 104."""
    own = object.__basicsize__  # more where there is no global lock
    assert Subscription.__basicsize__ <= own + 72
    assert Subscriber.__basicsize__ <= own + 160


def test_nothing_is_left(sockets: Work) -> None:
    wire = sockets(Room())
    hub = joined(wire)
    peer = opened(wire)
    assert counters.live()["subscriber"] == 1
    tell(wire, hub, "x", topic="")
    assert peer.feed(close(1000))[0] & 0x0F in (TEXT, CLOSE)
    assert hub.topics == {}
