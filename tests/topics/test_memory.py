"""Topics of one process: the interface for applications, over real sockets and with real frameworks."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import struct
import threading
import warnings
from collections.abc import Callable, Iterator
from enum import Enum
from typing import Any

import pytest
import support
from protocol.wire import Wire
from starlette.websockets import WebSocket
from support import PATIENCE
from topics.clients import Chat, Stream, close_all, opened, post
from topics.rooms import app
from ws import Script

from fastserve import topics
from fastserve._core.topics.message import Message
from fastserve.topics.memory import PROCESS


class Uvicorn(support.Running):
    """The same application under uvicorn, in a thread."""

    def __init__(self) -> None:
        import uvicorn

        class Server(uvicorn.Server):
            ready = threading.Event()

            async def startup(self, sockets: Any = None) -> None:
                await super().startup(sockets)
                self.ready.set()

        config = uvicorn.Config(app, port=0, lifespan="off", log_config=None, timeout_graceful_shutdown=1)
        super().__init__(Server(config))  # type: ignore[arg-type]


@pytest.fixture(params=["auto", "websockets", "wsproto", "uvicorn"])
def rooms(request: pytest.FixtureRequest, serve: support.Serve) -> Iterator[support.Running]:
    """The rooms, served with each implementation of WebSockets, and by a server that knows nothing of topics."""
    if request.param != "uvicorn":
        yield serve(app, ws=request.param)
        return
    running = Uvicorn().start()
    yield running
    close_all()
    running.stop()
    PROCESS.histories.topics.clear()  # the end of a loop that is not one of our servers' tells nobody


def about(running: Any, room: str, query: str = "") -> Any:
    return json.loads(running.fetch(f"/about/{room}{query}")[2])


class TestWebSockets:
    def test_everybody_in_the_room(self, rooms: support.Running) -> None:
        chats = [Chat(rooms, "/ws/room") for _ in range(3)]
        other = Chat(rooms, "/ws/elsewhere")
        for chat in chats:
            assert chat.hear_json()["recovered"] is True
        chats[0].say("hello")
        assert [chat.hear() for chat in chats] == ["hello"] * 3
        chats[0].say("not me")
        assert [chat.hear() for chat in chats[1:]] == ["not me"] * 2
        chats[1].say("again")
        assert [chat.hear() for chat in chats] == ["again"] * 3
        assert about(rooms, "room")["count"] == 3
        other.hear_json()
        other.say("here")
        assert other.hear() == "here"

    def test_from_a_thread(self, rooms: support.Running) -> None:
        chat = Chat(rooms, "/ws/room?quiet=1")
        while about(rooms, "room")["count"] == 0:
            pass
        assert b"200 OK" in post(rooms, "/publish/room?text=hi", "")
        assert chat.hear() == "hi"

    def test_several_topics_in_json(self, rooms: support.Running) -> None:
        chat = Chat(rooms, "/ws/a,b?format=json")
        chat.hear_json()
        post(rooms, "/publish/a?text=1", "")
        post(rooms, "/publish/b?text=2&history=5", "")
        assert chat.hear_json() == {"topic": "a", "id": None, "data": "1"}
        assert chat.hear_json()["topic"] == "b"

    def test_the_end_of_a_connection(self, rooms: support.Running) -> None:
        chats = [Chat(rooms, "/ws/room") for _ in range(2)]
        for chat in chats:
            chat.hear()
        chats[0].leave()
        while about(rooms, "room")["count"] == 2:
            pass
        chats[1].say("x")
        assert chats[1].hear() == "x"

    def test_recovery(self, rooms: support.Running) -> None:
        writer = Chat(rooms, "/ws/room?history=10")
        writer.hear_json()
        reader = Chat(rooms, "/ws/room")
        assert reader.hear_json() == {"recovered": True, "position": None, "pid": reader_pid()}
        for number in range(3):
            writer.say(str(number))
        assert reader.hear_all(3) == ["0", "1", "2"]
        positions = [position for position, _ in about(rooms, "room")["history"]]
        assert [position.partition(":")[2] for position in positions] == ["1", "2", "3"]
        reader.leave()
        again = Chat(rooms, f"/ws/room?since={positions[0]}&quiet=1&gap=GAP")
        assert again.hear_all(2) == ["1", "2"]
        writer.say("3")
        assert again.hear() == "3"
        assert [data for _, data in about(rooms, "room", f"?since={positions[1]}")["history"]] == ["2", "3"]

    @pytest.mark.parametrize("since", ["other:1", "garbage", "1:2:3", ":", "%00", "x:99999999999999999999"])
    def test_a_position_that_is_not_there(self, serve: support.Serve, since: str) -> None:
        rooms = serve(app)
        writer = Chat(rooms, "/ws/room?history=2")
        for number in range(3):
            writer.say(str(number))
        writer.hear_json()
        assert writer.hear_all(3) == ["0", "1", "2"]
        reader = Chat(rooms, f"/ws/room?gap=GAP&since={since}")
        assert reader.hear_all(3) == ["GAP", "1", "2"]
        assert reader.hear_json()["recovered"] is False

    def test_a_position_that_was_trimmed(self, serve: support.Serve) -> None:
        rooms = serve(app)
        writer = Chat(rooms, "/ws/room?history=2&quiet=1")
        for number in range(4):
            writer.say(str(number))
        assert writer.hear_all(4) == ["0", "1", "2", "3"]
        epoch = about(rooms, "room")["history"][0][0].partition(":")[0]
        assert Chat(rooms, f"/ws/room?gap=GAP&quiet=1&since={epoch}:1").hear_all(3) == ["GAP", "2", "3"]
        assert Chat(rooms, f"/ws/room?gap=GAP&quiet=1&since={epoch}:2").hear_all(2) == ["2", "3"]


def reader_pid() -> int:
    return os.getpid()


class TestEventStreams:
    def test_events(self, rooms: support.Running) -> None:
        streams = [Stream(rooms, "/events/room") for _ in range(2)]
        while about(rooms, "room")["count"] < 2:
            pass
        assert "content-type: text/event-stream" in streams[0].head
        post(rooms, "/publish/room?text=a%0Ab&event=post", "")
        for each in streams:
            assert each.event() == {"event": "post", "data": "b"}

    def test_last_event_id(self, rooms: support.Running) -> None:
        for number in range(3):
            post(rooms, f"/publish/room?text={number}&history=10", "")
        first = about(rooms, "room")["history"][0][0]
        stream = Stream(rooms, "/events/room", f"Last-Event-ID: {first}")
        assert [stream.event()["data"] for _ in range(2)] == ["1", "2"]
        post(rooms, "/publish/room?text=3&history=10", "")
        assert stream.event()["id"].endswith(":4")

    def test_head(self, rooms: support.Running) -> None:
        """Its response is complete, and the next request of the connection has its own."""
        wire = Wire(rooms.connect())
        opened.append(wire)
        head = b"HEAD /events/room HTTP/1.1\r\nHost: x\r\n\r\n"
        wire.send(head + b"GET /about/room HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        first, _, second = wire.file.read().partition(b"\r\n\r\n")
        assert first.startswith(b"HTTP/1.1 200")
        assert b"content-type: text/event-stream" in first.lower()
        assert b'"count":0' in second

    def test_headers_from_a_generator(self, serve: support.Serve) -> None:
        async def streaming(scope: Any, receive: Any, send: Any) -> None:
            await topics.stream(scope, receive, send, "room", headers=(field for field in [(b"x-room", b"1")]))

        assert "x-room: 1" in Stream(serve(streaming), "/").head

    def test_it_is_kept_alive(self, rooms: support.Running) -> None:
        stream = Stream(rooms, "/events/room?keepalive=0.02")
        assert [stream.next_block() for _ in range(3)] == [":"] * 3

    def test_a_middleware_that_does_not_know_the_message(self, serve: support.Serve) -> None:
        """Starlette's BaseHTTPMiddleware lets bodies pass alone."""
        from starlette.middleware.base import BaseHTTPMiddleware

        async def dispatch(request: Any, call_next: Any) -> Any:
            return await call_next(request)

        rooms = serve(BaseHTTPMiddleware(app, dispatch))
        stream = Stream(rooms, "/events/room")
        while about(rooms, "room")["count"] == 0:
            pass
        post(rooms, "/publish/room?text=x", "")
        assert stream.event() == {"data": "x"}

    def test_the_task_sleeps(self, serve: support.Serve) -> None:
        """Messages take no step of the application."""
        sent: list[Any] = []

        async def raw(scope: Any, receive: Any, send: Any) -> None:
            async def noted(message: Any) -> None:
                sent.append(message["type"])
                await send(message)

            if scope["path"] == "/":
                await topics.stream(scope, receive, noted, "room")
            else:
                topics.publish("room", "x")
                await send({"type": "http.response.start", "status": 204, "headers": []})
                await send({"type": "http.response.body"})

        running = serve(raw)
        stream = Stream(running, "/")
        for _ in range(5):
            running.fetch("/publish")
        assert [stream.event() for _ in range(5)] == [{"data": "x"}] * 5
        assert sent == ["http.response.start", "fastserve.topics.subscribe", "http.response.body"]


def test_raw_send(serve: support.Serve) -> None:
    async def body(receive: Any, send: Any) -> None:
        subscription = await topics.subscribe(send, "room")
        topics.publish("room", "one")
        topics.publish("room", "not me", exclude=send)
        topics.publish("room", "nor me", exclude=subscription)
        topics.publish(["room", "other"], b"two")
        await receive()
        subscription.cancel()
        topics.publish("room", "three")
        assert not subscription.active

    script = Script(body)
    running = serve(script)
    chat = Chat(running, "/")
    assert chat.hear_all(2) == ["one", "two"]
    chat.say("go on")
    assert chat.closed() == 1011  # the application returned
    assert script.error is None


def test_the_application_raises(serve: support.Serve) -> None:
    """What was published before goes before the close frame."""

    async def faulty(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await topics.subscribe(send, "room")
        for number in range(5):
            topics.publish("room", str(number))
        raise RuntimeError("on purpose")

    chat = Chat(serve(faulty), "/")
    assert chat.hear_all(5) == ["0", "1", "2", "3", "4"]
    assert chat.closed() == 1011


def test_one_that_is_reset(serve: support.Serve) -> None:
    """Nobody else notices."""
    rooms = serve(app)
    chats = [Chat(rooms, "/ws/room?quiet=1") for _ in range(3)]
    while about(rooms, "room")["count"] < 3:
        pass
    chats[1].socket.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    chats[1].leave()
    for number in range(50):
        chats[0].say(str(number))
    for chat in (chats[0], chats[2]):
        assert chat.hear_all(50) == [str(number) for number in range(50)]
    while about(rooms, "room")["count"] != 2:
        pass


def test_one_of_two_subscriptions_ends(serve: support.Serve) -> None:
    """publish(exclude=) still knows the connection by the other."""

    async def body(receive: Any, send: Any) -> None:
        first = await topics.subscribe(send, "a")
        await topics.subscribe(send, "b")
        first.cancel()
        topics.publish(["a", "b"], "not me", exclude=send)
        topics.publish("b", "me")
        await receive()

    chat = Chat(serve(Script(body)), "/")
    assert chat.hear() == "me"


def test_before_it_is_accepted(serve: support.Serve, log: Callable[[], list[str]]) -> None:
    errors: list[str] = []

    async def eager(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        try:
            await topics.subscribe(WebSocket(scope, receive, send), "room")
        except RuntimeError as exc:
            errors.append(str(exc))
        await send({"type": "websocket.close"})

    with pytest.raises(AssertionError):
        Chat(serve(eager), "/")
    assert "websocket.accept" in errors[0]


class TestListen:
    def run(self, work: Callable[[], Any]) -> Any:
        return asyncio.run(asyncio.wait_for(work(), PATIENCE))

    def test_messages_and_gaps(self) -> None:
        async def work() -> list[Any]:
            async with topics.listen(["a", "b"], queue=3) as messages:
                for number in range(5):
                    topics.publish("a" if number % 2 else "b", str(number))
                return [await anext_of(messages) for _ in range(3)]

        first, *rest = self.run(work)
        assert first is topics.GAP
        assert [(each.topic, each.data) for each in rest] == [("a", "3"), ("b", "4")]

    def test_since(self) -> None:
        async def work() -> list[Any]:
            first = await topics.publish_stored("a", "1", history=10)
            await topics.publish_stored("a", b"2", history=10)
            async with topics.listen("a", since=first) as messages:
                topics.publish("a", "3", history=10)
                found = [await anext_of(messages) for _ in range(2)]
            async with topics.listen("a", since="x:1") as messages:
                assert await anext_of(messages) is topics.GAP
            return found

        assert [each.data for each in self.run(work)] == [b"2", "3"]

    def test_the_only_loop_and_one_of_two(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """What a process with one loop publishes goes straight to its subscribers; a second loop hears it as well."""
        shared = []
        publish = type(PROCESS).publish

        def noted(process: Any, message: topics.Message, *options: Any) -> Any:
            shared.append(message.data)
            return publish(process, message, *options)

        monkeypatch.setattr(type(PROCESS), "publish", noted)
        ready, heard = threading.Event(), []

        async def listen() -> None:
            async with topics.listen("a") as messages:
                ready.set()
                heard.append((await anext_of(messages)).data)

        async def work() -> list[Any]:
            async with topics.listen("a") as messages:
                before = topics.metrics()["published"]
                topics.publish("a", "1")
                topics.publish("a", b"2")
                with pytest.raises(ValueError, match="at most 1048576 bytes, not 1048577"):
                    topics.publish("a", "3" * (1 << 20) + "3")
                with pytest.raises(TypeError, match="a string or bytes, not int"):
                    topics.publish("a", 4)  # type: ignore[arg-type]
                assert (shared, topics.metrics()["published"]) == ([], before + 2)
                thread = threading.Thread(target=lambda: self.run(listen))
                thread.start()
                await asyncio.to_thread(ready.wait, PATIENCE)
                topics.publish("a", "5")
                await asyncio.to_thread(thread.join, PATIENCE)
                return [(await anext_of(messages)).data for _ in range(3)]

        assert self.run(work) == ["1", b"2", "5"]
        assert (shared, heard) == (["5"], ["5"])

    def test_it_ends_with_the_block(self) -> None:
        async def work() -> None:
            async with topics.listen("a"):
                assert await topics.count("a") == 1
            assert await topics.count("a") == 0

        self.run(work)

    def test_threads_keep_their_order(self) -> None:
        """Eight threads publish; of each every message comes, in order."""

        def publish(name: int) -> None:
            for number in range(50):
                topics.publish("a", f"{name} {number}")

        async def work() -> list[str]:
            async with topics.listen("a") as messages:
                threads = [threading.Thread(target=publish, args=[name]) for name in range(8)]
                for thread in threads:
                    thread.start()
                return [(await anext_of(messages)).data for _ in range(400)]

        found = self.run(work)
        for name in range(8):
            assert [each for each in found if each.startswith(f"{name} ")] == [f"{name} {each}" for each in range(50)]

    def test_from_a_signal_handler(self) -> None:
        async def work() -> Any:
            loop = asyncio.get_running_loop()
            loop.add_signal_handler(signal.SIGUSR1, topics.publish, "a", "signal")
            try:
                async with topics.listen("a") as messages:
                    os.kill(os.getpid(), signal.SIGUSR1)
                    return (await anext_of(messages)).data
            finally:
                loop.remove_signal_handler(signal.SIGUSR1)

        assert self.run(work) == "signal"

    def test_a_history_is_over_after_its_time(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async def work() -> None:
            async with topics.listen("a"):
                first = await topics.publish_stored("over", "1", history=10, ttl=5)
                assert len(await topics.history("over")) == 1
                PROCESS.histories.topics["over"].expires = 0
                assert await topics.history("over") == []
                then = await topics.publish_stored("over", "2", history=10)
                assert then.partition(":")[0] != first.partition(":")[0]

        self.run(work)


async def anext_of(messages: Any) -> Any:
    return await messages.__anext__()


class TestClients:
    """Starlette's TestClient: no server at all."""

    def test_chat(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of httpx
            from starlette.testclient import TestClient

        client = TestClient(app)
        with client.websocket_connect("/ws/room") as one, client.websocket_connect("/ws/room") as two:
            one.receive_json()
            two.receive_json()
            one.send_text("hi")
            assert (one.receive_text(), two.receive_text()) == ("hi", "hi")
            assert client.post("/publish/room?text=thread").status_code == 200
            assert (one.receive_text(), two.receive_text()) == ("thread", "thread")


class TestPublisher:
    def test_messages(self, serve: support.Serve) -> None:
        rooms = serve(app)
        chat = Chat(rooms, "/ws/room?quiet=1")
        while about(rooms, "room")["count"] == 0:
            pass
        allowed = "Authorization: Bearer secret"
        assert b" 204 " in post(rooms, "/out/?topic=room&topic=other", "grün", allowed)
        binary = "Content-Type: application/octet-stream"
        assert b" 204 " in post(rooms, "/out/?topic=room&history=3&ttl=5&event=x", "raw", allowed, binary)
        assert chat.hear_all(2) == ["grün", "raw"]
        for status, query, fields in (
            (401, "?topic=room", ()),
            (401, "?topic=room", ("Authorization: Bearer wrong",)),
            (400, "", (allowed,)),
            (400, "?topic=room&history=x", (allowed,)),
            (400, "?topic=%00", (allowed,)),
        ):
            assert b" %d " % status in post(rooms, f"/out/{query}", "x", *fields).split(b"\r\n")[0]
        assert rooms.fetch("/out/?topic=room", headers={"Authorization": "Bearer secret"})[0] == 405
        assert b" 413 " in post(rooms, "/out/?topic=room", "x" * (1 << 20) + "x", allowed)


class Room(str, Enum):
    NEWS = "news"


class Data(bytes):
    def __bytes__(self) -> bytes:
        return b"something else"


def test_subclasses_of_strings_and_bytes() -> None:
    """They stand for their characters, whatever str() and bytes() make of them."""

    async def run() -> None:
        sent: list[Any] = []

        async def send(message: Any) -> None:
            if message["type"] != "websocket.send":
                raise RuntimeError(message["type"])
            sent.append(message.get("text") or message.get("bytes"))

        subscription = await topics.subscribe(send, [Room.NEWS, "news"], member=Room.NEWS)
        assert [type(name) for name in subscription.topics] == [str]
        async with topics.listen(Room.NEWS) as messages:
            topics.publish(Room.NEWS, Room.NEWS, event=Room.NEWS)
            topics.publish("news", Room.NEWS)
            topics.publish([Room.NEWS], Data(b"raw"))
            await topics.publish_stored(Room.NEWS, Room.NEWS, history=1)
            found = [await anext(messages) for _ in range(4)]
        assert [(each.topic, each.data) for each in found if isinstance(each, Message)] == [
            ("news", "news"),
            ("news", "news"),
            ("news", b"raw"),
            ("news", "news"),
        ]
        assert {type(each.data) for each in found if isinstance(each, Message)} == {str, bytes}
        assert [each.event for each in found if isinstance(each, Message)] == ["news", None, None, None]
        assert [each.data for each in await topics.history(Room.NEWS)] == ["news"]
        assert await topics.count(Room.NEWS) == 1
        assert list(await topics.members(Room.NEWS)) == ["news"]
        while len(sent) < 4:  # noqa: ASYNC110  # its task makes it so
            await asyncio.sleep(0)
        assert sent == ["news", "news", b"raw", "news"]
        subscription.cancel()

    asyncio.run(run())


class Three:
    def __index__(self) -> int:
        return 3


def test_a_number_of_another_class() -> None:
    """It may be one of numpy, say."""

    async def run() -> None:
        for number in range(5):
            await topics.publish_stored("numbers", str(number), history=any_value(Three()))
        topics.publish("numbers", "5", history=any_value(Three()))
        assert [each.data for each in await topics.history("numbers")] == ["3", "4", "5"]

    asyncio.run(run())


def any_value(value: Any) -> Any:
    return value


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: topics.publish("", "x"), ValueError),
        (lambda: topics.publish("a" * 256, "x"), ValueError),
        (lambda: topics.publish("a\n", "x"), ValueError),
        (lambda: topics.publish(any_value(1), "x"), TypeError),
        (lambda: topics.publish([any_value(1)], "x"), TypeError),
        (lambda: topics.publish([], "x"), ValueError),
        (lambda: topics.publish("a", any_value(1)), TypeError),
        (lambda: topics.publish("a", "x" * (2**20 + 1)), ValueError),
        (lambda: topics.publish("a", "x", history=-1), ValueError),
        (lambda: topics.publish("a", "x", ttl=5), ValueError),
        (lambda: topics.publish("a", "x", history=1, ttl=0), ValueError),
        (lambda: topics.publish("a", "x", history=any_value(1.5)), TypeError),
        (lambda: topics.publish("a", "x", history=1, ttl=any_value("5")), TypeError),
        (lambda: topics.publish("a", "x", event="a\nb"), ValueError),
        (lambda: topics.publisher(token=""), ValueError),
        (lambda: topics.listen("a", queue=0), ValueError),
        (lambda: asyncio.run(topics.subscribe(print, "a", slow="x")), ValueError),
        (lambda: asyncio.run(topics.subscribe(print, "a", format="x")), ValueError),
        (lambda: asyncio.run(topics.subscribe(print, ["a", "b"], since="x:1")), ValueError),
        (lambda: asyncio.run(topics.subscribe(1, "a")), TypeError),
    ],
)
def test_wrong_arguments(call: Callable[[], Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        call()
