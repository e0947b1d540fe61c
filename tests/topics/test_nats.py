"""The engine over a real NATS server."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import support
from topics.clients import Chat, Stream, post
from topics.rooms import app
from topics.test_memory import about

from fastserve.topics import nats
from fastserve.topics.nats import NatsEngine, subject_of

if shutil.which("nats-server") is None:
    raise RuntimeError("these tests need nats-server (Debian: apt-get install nats-server)")


class Server:
    """A NATS server of a test's own, on a port of its choice."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self.port = -1
        self.process: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    def start(self) -> None:
        argv = ["nats-server", "-a", "127.0.0.1", "-p", str(self.port)]
        self.process = subprocess.Popen(argv, stderr=subprocess.PIPE, text=True)
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if "Listening for client connections on" in line:
                self.port = int(line.rpartition(":")[2])
            if "Server is ready" in line:
                return
        raise AssertionError("it did not start")

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None

    def publish(self, subject: str, data: str) -> None:
        """Publish as another program would."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=support.PATIENCE) as sock:
            payload = data.encode()
            command = b'CONNECT {"verbose":false}\r\nPUB %b %d\r\n%b\r\nPING\r\n'
            sock.sendall(command % (subject.encode(), len(payload), payload))
            heard = b""
            while b"PONG" not in heard:
                heard += sock.recv(4096)


@pytest.fixture
def server(folder: Path) -> Iterator[Server]:
    made = Server(folder)
    made.start()
    yield made
    made.kill()


def test_rooms(server: Server, serve: support.Serve) -> None:
    servers = [serve(app, topics=server.url) for _ in range(2)]
    chats = [Chat(each, "/ws/room") for each in servers]
    for chat in chats:
        assert chat.hear_json()["position"] is None
    stream = Stream(servers[1], "/events/room")
    assert stream.next_block() == ":"
    chats[0].say("hello")
    assert [chat.hear() for chat in chats] == ["hello", "hello"]
    assert stream.event() == {"data": "hello"}
    chats[0].say("not me")
    assert chats[1].hear() == "not me"
    server.publish("fastserve:room", "from elsewhere")
    assert [chat.hear() for chat in chats] == ["from elsewhere"] * 2
    post(servers[0], "/publish/room?text=x&event=own", "")
    assert [chat.hear() for chat in chats] == ["x", "x"]
    assert [stream.event() for _ in range(3)][2] == {"event": "own", "data": "x"}
    assert about(servers[0], "room")["count"] == 3
    chats[0].leave()
    while about(servers[0], "room")["count"] == 3:
        pass


def test_a_restart_is_survived(server: Server, serve: support.Serve) -> None:
    rooms = serve(app, topics=server.url)
    chat = Chat(rooms, "/ws/room?gap=GAP")
    chat.hear_json()
    server.kill()
    server.start()
    assert chat.hear() == "GAP"
    chat.say("x")
    assert chat.hear() == "x"


def test_the_gap_is_told_before_what_waited(server: Server, serve: support.Serve) -> None:
    """The library sends what was published while NATS was away before it tells that it is back."""
    rooms = serve(app, topics=server.url)
    chat = Chat(rooms, "/ws/room?gap=GAP")
    chat.hear_json()
    server.kill()
    while "down" not in about(rooms, "room"):
        pass
    for text in ("1", "2"):
        chat.say(text)
    server.start()
    assert [chat.hear() for _ in range(3)] == ["GAP", "1", "2"]
    chat.say("3")
    assert chat.hear() == "3"


def test_a_second_outage_before_the_library_tells_of_the_end_of_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """A message that comes by the new connection before that has told the gap of the first; there is another."""
    seen: list[str] = []

    class Client:
        is_closed = False
        is_connected = True
        last_error = None

        async def subscribe(self, subject: str, cb: Any) -> None:
            self.deliver = cb

        async def flush(self) -> None:
            pass

    class Receiver:
        def gap(self, topic: str) -> None:
            seen.append("gap")

        def receive(self, message: Any, exclude: Any) -> None:
            seen.append("message")

    async def work() -> None:
        engine = NatsEngine("nats://127.0.0.1:1", "", 1000)
        client = Client()
        receiver: Any = Receiver()
        monkeypatch.setattr(engine, "_client", client)
        monkeypatch.setattr(engine, "receiver", receiver, raising=False)
        engine.up.set()
        await engine.subscribe("room")
        message = SimpleNamespace(data=b"text")
        await engine._lost()
        await client.deliver(message)
        await engine._lost()
        await engine._back()
        await client.deliver(message)

    asyncio.run(work())
    assert seen == ["gap", "message", "gap", "message"]


def test_a_topic_that_is_subscribed_while_nats_is_away(server: Server) -> None:
    """Its subscribers are told a gap once it is back: what is published before its subscription is there is lost."""
    told: list[str] = []

    class Receiver:
        def gap(self, topic: str) -> None:
            told.append(topic)

    async def work() -> None:
        engine = NatsEngine(server.url, "fastserve:", 1000)
        receiver: Any = Receiver()
        await engine.start(receiver)
        await engine.subscribe("before")
        assert told == []
        server.kill()
        while engine.up.is_set():  # noqa: ASYNC110  # the library tells it
            await asyncio.sleep(0)
        late = engine.subscribe("late")
        await asyncio.sleep(0)
        server.start()
        await asyncio.wait_for(late, support.PATIENCE)
        assert sorted(told) == ["before", "late"]
        await engine.stop()

    asyncio.run(work())


def test_there_are_no_histories(server: Server, serve: support.Serve, caplog: pytest.LogCaptureFixture) -> None:
    rooms = serve(app, topics=server.url)
    chat = Chat(rooms, "/ws/room?gap=GAP&since=a:1&history=5")
    assert chat.hear() == "GAP"
    assert chat.hear_json()["recovered"] is False
    refused = post(rooms, "/store/room?text=x", "")
    assert b" 503 " in refused
    assert b"NatsEngine keeps no histories" in refused
    chat.say("y")
    assert chat.hear() == "y"
    assert [each.getMessage() for each in caplog.records if "no histories" in each.getMessage()]


def test_a_cancellation_that_the_library_loses(monkeypatch: pytest.MonkeyPatch) -> None:
    """The wait_for() of Python up to 3.11 loses one that comes as the wait ends: the engine stops all the same."""
    monkeypatch.setattr(nats, "READY_SECONDS", 0)

    async def connect(*args: Any, **options: Any) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        await asyncio.Event().wait()

    async def work() -> None:
        engine = NatsEngine("nats://127.0.0.1:1", "", 1000)
        monkeypatch.setattr(engine._client, "connect", connect)
        receiver: Any = None
        await engine.start(receiver)
        await asyncio.sleep(0)  # connect() is called
        await asyncio.wait_for(engine.stop(), support.PATIENCE)

    asyncio.run(work())


@pytest.mark.parametrize(
    ("name", "subject"),
    [("fastserve:room-7", "fastserve:room-7"), ("a.b", "a.b"), ("a b*>", "a%20b%2A%3E"), (".a..b.", "%2Ea.%2Eb%2E")],
)
def test_subjects(name: str, subject: str) -> None:
    assert subject_of(name) == subject
