"""The engine over a real Redis: what it carries and keeps, and every way in which Redis goes away."""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, suppress
from pathlib import Path
from typing import Any

import pytest
import support
from support import PATIENCE
from topics import nodes
from topics.clients import Chat, Stream, post
from topics.nodes import Noting, run
from topics.redis_server import Server
from topics.rooms import app
from topics.test_memory import about

from fastserve._core.topics.message import Message
from fastserve.topics import redis as engine_module
from fastserve.topics import redis_queue
from fastserve.topics.engine import EngineDown, Keep, Recovery
from fastserve.topics.redis import RedisEngine
from fastserve.topics.resp import address_of, connect
from fastserve.topics.wire import fields_of


@pytest.fixture
def server(folder: Path) -> Iterator[Server]:
    made = Server(folder)
    made.start()
    yield made
    made.kill()


class Node(nodes.Node):
    """A node over Redis."""

    engine: RedisEngine

    def __init__(self, url: str, **options: Any) -> None:
        super().__init__(RedisEngine(address_of(url), "test:", 1 << 20, **options))

    async def publishes(self, topic: str, data: str | bytes, exclude: str | None = None) -> None:
        stored = self.engine.publish(Message(topic, data), None, exclude)
        assert stored is not None
        assert await stored is None

    async def loses(self) -> None:
        while self.engine.up:  # noqa: ASYNC110  # its connections make it so
            await asyncio.sleep(0.001)

    async def reconnects(self, before: int) -> None:
        """Wait until it has connected again, after `before` times."""
        while self.engine.reconnects == before:  # noqa: ASYNC110  # its connections make it so
            await asyncio.sleep(0.001)
        await self.returns()

    async def returns(self) -> None:
        await asyncio.wait_for(self.engine._is_up.wait(), PATIENCE)


def started(server: Server, count: int, **options: Any) -> AbstractAsyncContextManager[list[Node]]:
    return nodes.started([Node(server.url, **options) for _ in range(count)])


class TestMessages:
    def test_reach_all_that_subscribed(self, server: Server) -> None:
        async def work() -> None:
            async with started(server, 2) as (one, two):
                await one.subscribes("room")
                await two.subscribes("room")
                await two.subscribes("grün")
                await one.publishes("room", "text")
                await two.publishes("room", b"\xff\0")
                await two.publishes("room", "\0text", "someone")
                await one.publishes("grün", "ü")
                await one.hears("text", b"\xff\0", ("\0text", "someone"))
                await two.hears("text", b"\xff\0", ("\0text", "someone"), "ü")
                assert await one.engine.counts(["room", "grün", "none"]) == {"room": 2, "grün": 1, "none": 0}
                two.engine.unsubscribe("room")
                del two.topics["room"]
                await one.publishes("room", "x")
                await one.publishes("grün", "last")
                await two.hears("last")

        run(work)

    def test_those_of_a_turn_leave_in_one_write(self, server: Server) -> None:
        async def work() -> None:
            async with started(server, 1) as [node]:
                await node.subscribes("room")
                connection: Any = node.engine._commands
                transport = connection.transport = Noting(connection.transport)
                for number in range(20):
                    assert node.engine.publish(Message("room", str(number)), None, None) is not None
                assert transport.sizes == []
                await node.hears(*map(str, range(20)))
                assert len(transport.sizes) == 1
                node.engine.publish(Message("room", "last"), None, None)
                connection.close(EngineDown("a test"))  # before it has left
                await node.loses()
                assert len(transport.sizes) == 1

        run(work)

    def test_from_other_programs(self, server: Server) -> None:
        async def work() -> None:
            async with started(server, 1) as [node]:
                await node.subscribes("room")
                for payload in ("hi", "\0", "\0 x", "\0a:1 \0\0\0\0", "end"):
                    assert server.cli("PUBLISH", "test:room", payload) == "1"
                await node.hears("hi", "end")

        run(work)

    def test_that_are_too_large_are_dropped(self, server: Server) -> None:
        async def work() -> None:
            async with started(server, 1) as [node]:
                node.engine.max_size = 10
                await node.subscribes("room")
                await node.publishes("room", "x" * 5000)
                await node.publishes("room", "end")
                await node.hears("end")
                assert node.engine.oversized == 1

        run(work)

    def test_a_node_that_only_publishes(self, server: Server) -> None:
        async def work() -> None:
            async with started(server, 1) as [node]:
                await node.subscribes("room")
                async with started(server, 1, publishes=True) as [other]:
                    await other.publishes("room", "x")
                    assert (await other.keeps("room", "y")).endswith(":1")
                    with pytest.raises(EngineDown):
                        await other.engine.counts(["room"])
                await node.hears("x", "y")

        run(work)


class TestHistories:
    def test_positions(self, server: Server) -> None:
        async def work() -> None:
            async with started(server, 2) as (one, two):
                assert await one.engine.history("room", None) == ([], True, None)
                assert await one.engine.history("room", "x:1") == ([], False, None)
                positions = [await one.keeps("room", str(number), 3) for number in range(5)]
                found = await two.engine.history("room", None)
                assert ([each.data for each in found.messages], found.complete) == (["2", "3", "4"], True)
                assert found.position == positions[4]
                assert [each.id for each in found.messages] == positions[2:]
                for since, expected in ((1, ["2", "3", "4"]), (3, ["4"]), (4, [])):
                    found = await two.engine.history("room", positions[since])
                    assert ([each.data for each in found.messages], found.complete) == (expected, True)
                epoch = positions[0].partition(":")[0]
                for lost in (positions[0], "other:4", "garbage", "", f"{epoch}:9"):
                    found = await two.engine.history("room", lost)
                    assert ([each.data for each in found.messages], found.complete) == (["2", "3", "4"], False), lost
                assert await two.engine.history("room", None, True) == ([], True, positions[4])

        run(work)

    def test_an_offset_that_jumps_is_filled_from_the_history(self, server: Server) -> None:
        async def work() -> None:
            async with started(server, 2) as (one, two):
                await two.subscribes("room")
                await one.keeps("room", "1")
                await two.hears("1")
                fine = two.engine._take
                two.engine._take = lambda topic, payload: None  # type: ignore[method-assign]  # loses some
                await one.keeps("room", "2")
                await one.keeps("room", "3")
                await two.engine.history("room", None)
                two.engine._take = fine  # type: ignore[method-assign]
                await one.keeps("room", "4")
                await two.hears("2", "3", "4")
                payload = (
                    b"\0" + (two.engine._positions["room"]).encode() + b" " + fields_of(Message("room", "4"), None)
                )
                two.engine._take("room", payload)
                await one.keeps("room", "5")
                await two.hears("5")

        run(work)

    def test_it_expires(self, server: Server) -> None:
        async def work() -> None:
            async with started(server, 1) as [node]:
                first = await node.keeps("room", "1")
                assert int(server.cli("PTTL", "test:log:room")) > 50_000
                server.cli("DEL", "test:meta:room")
                second = await node.keeps("room", "2")
                assert (second.partition(":")[2], second == first) == ("1", False)
                assert [each.data for each in (await node.engine.history("room", None)).messages] == ["2"]

        run(work)


class TestAway:
    """What is told, what waits, and what is read again."""

    def test_restarted_empty(self, server: Server, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level("INFO", logger="fastserve")

        async def work() -> None:
            async with started(server, 1) as [node]:
                await node.subscribes("kept")
                await node.subscribes("plain")
                old = await node.keeps("kept", "1")
                await node.hears("1")
                server.kill()
                await node.loses()
                with pytest.raises(EngineDown):
                    await node.engine.history("kept", None)
                waiting = asyncio.ensure_future(node.publishes("plain", "meanwhile"))
                await asyncio.sleep(0)
                server.start()
                await node.returns()
                await waiting
                await node.hears("gap kept", "gap plain", "meanwhile")
                new = await node.keeps("kept", "2")
                assert new.partition(":")[0] != old.partition(":")[0]
                assert not (await node.engine.history("kept", old)).complete
                await node.hears("2")
                assert node.engine.reconnects == 1

        run(work)
        lines = [record.getMessage() for record in caplog.records if record.getMessage().startswith("topics: Redis")]
        assert len(lines) == 2, lines
        assert lines[0].startswith("topics: Redis is unavailable, reconnecting: ")
        assert lines[1] == "topics: Redis is back."

    def test_connections_that_are_killed(self, server: Server) -> None:
        """Redis does so to a client whose output buffer is full: what was missed is read from the history."""

        async def work() -> None:
            async with started(server, 2) as (one, two):
                await two.subscribes("kept")
                await one.keeps("kept", "1")
                await two.hears("1")
                two.engine._catch_up, fine = stopped(two.engine._catch_up)  # type: ignore[method-assign]
                before = one.engine.reconnects
                server.cli("CLIENT", "KILL", "TYPE", "pubsub")
                await one.reconnects(before)
                for number in range(2, 5):
                    await one.keeps("kept", str(number))
                fine.set()
                await two.returns()
                await one.returns()
                await one.keeps("kept", "5")
                await two.hears("2", "3", "4", "5")

        run(work)

    def test_a_connection_that_is_lost_as_it_reads_on(self, server: Server) -> None:
        """Those who subscribe to the topic anew before the next attempt get what comes then."""

        async def work() -> None:
            async with started(server, 2) as (one, two):
                await two.subscribes("kept")
                await one.keeps("kept", "1")
                await two.hears("1")
                history = two.engine._history

                async def fail(*args: Any) -> Recovery:
                    two.engine._history = history  # type: ignore[method-assign]
                    two.engine.unsubscribe("kept")
                    two.engine.subscribe("kept")
                    raise ConnectionResetError

                two.engine._history = fail  # type: ignore[method-assign, assignment]
                before = two.engine.reconnects
                server.cli("CLIENT", "KILL", "TYPE", "pubsub")
                await two.reconnects(before)
                await one.returns()
                await one.keeps("kept", "2")
                await two.hears("gap kept", "2")

        run(work)

    def test_an_output_buffer_that_is_full(self, server: Server, caplog: pytest.LogCaptureFixture) -> None:
        """Redis closes the connection of a node that does not read; it reads on from the history, once it does."""
        server.cli("CONFIG", "SET", "client-output-buffer-limit", "pubsub 65536 0 0")

        async def work() -> None:
            async with started(server, 2) as (one, two):
                await two.subscribes("kept")
                await one.keeps("kept", "begin")
                await two.hears("begin")
                assert two.engine._channels is not None
                two.engine._channels.transport.pause_reading()
                text, sent = "x" * 100_000, 0
                while server.cli("PUBSUB", "NUMSUB", "test:kept") != ":0":
                    await one.keeps("kept", f"{sent} {text}", 1000)
                    sent += 1
                two.engine._channels.transport.resume_reading()
                await two.reconnects(0)
                await one.keeps("kept", "end", 1000)
                while "end" not in two.got:
                    two.changed.clear()
                    await two.changed.wait()
                assert two.got == [*(f"{number} {text}" for number in range(sent)), "end"]

        run(work)
        [line] = [each.getMessage() for each in caplog.records if "is unavailable" in each.getMessage()]
        assert "Redis is unavailable, reconnecting: it has closed the connection" in line

    def test_connections_that_are_killed_under_load(self, server: Server) -> None:
        """What Redis has confirmed arrives once, in order, whichever connections go meanwhile."""

        async def work() -> None:
            async with started(server, 2) as (one, two):
                await two.subscribes("kept")
                await one.keeps("kept", "0", 10_000)
                confirmed, number = ["0"], 0
                for kind in ("pubsub", "normal", "pubsub", "normal"):
                    reconnects = one.engine.reconnects
                    for _ in range(20):
                        number += 1
                        await one.keeps("kept", str(number), 10_000)
                        confirmed.append(str(number))
                    storing = {}
                    for _ in range(20):
                        number += 1
                        storing[str(number)] = one.engine.publish(Message("kept", str(number)), Keep(10_000, 60), None)
                    server.cli("CLIENT", "KILL", "TYPE", kind)
                    for text, stored in storing.items():
                        with suppress(EngineDown):
                            assert stored is not None
                            await stored
                            confirmed.append(text)
                    await one.reconnects(reconnects)
                await one.keeps("kept", "end", 10_000)
                while "end" not in two.got:
                    two.changed.clear()
                    await two.changed.wait()
                numbers = [int(each) for each in two.got if each != "end"]
                assert numbers == sorted(set(numbers))
                assert {*confirmed} <= {*two.got}

        run(work)

    def test_a_message_that_is_lost_is_logged(
        self, server: Server, serve: support.Serve, log: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rooms = serve(app, topics=server.url)
        server.kill()
        while "count" in about(rooms, "room"):
            pass
        monkeypatch.setattr(redis_queue, "MOST", 0)
        assert b" 503 " in post(rooms, "/store/room?text=x", "")
        assert b" 200 " in post(rooms, "/publish/room?text=y", "")
        while not any("a message is lost" in line for line in log()):
            pass
        assert [line for line in log() if "lost: Redis is unavailable, and too many messages wait" in line]

    def test_frozen(self, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        """A connection over which nothing comes is closed by the ping's time."""
        monkeypatch.setattr(engine_module, "PING_SECONDS", 0.2)
        monkeypatch.setattr("fastserve.topics.resp.CONNECT_SECONDS", 0.2)

        async def work() -> None:
            async with started(server, 1) as [node]:
                await node.subscribes("room")
                assert server.process is not None
                server.process.send_signal(signal.SIGSTOP)
                await node.loses()
                monkeypatch.undo()  # from here on it may be slow, which it was perhaps before
                server.process.send_signal(signal.SIGCONT)
                await node.returns()
                await node.publishes("room", "x")
                while "x" not in node.got:
                    node.changed.clear()
                    await node.changed.wait()
                assert node.got == ["gap room"] * (len(node.got) - 1) + ["x"] != ["x"]

        run(work)

    def test_histories_that_are_asked_for_meanwhile(self, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        """Those who ask are told, and the loop reports nothing."""
        monkeypatch.setattr(engine_module, "PING_SECONDS", 0.2)
        reports: list[Any] = []

        async def work() -> None:
            asyncio.get_running_loop().set_exception_handler(lambda _, context: reports.append(context))
            async with started(server, 1) as [node]:
                assert server.process is not None
                server.process.send_signal(signal.SIGSTOP)
                asked = [node.engine.history("room", None), node.engine.history("room", "x:0")]
                told = await asyncio.gather(*asked, return_exceptions=True)
                assert [type(each) for each in told] == [EngineDown, EngineDown]
                monkeypatch.undo()
                server.process.send_signal(signal.SIGCONT)
                await node.returns()

        run(work)
        gc.collect()  # a future whose error nobody has seen tells so as it goes
        assert reports == []

    def test_what_waits_is_bounded(self, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(redis_queue, "MOST", 3)

        async def work() -> None:
            async with started(server, 1) as [node]:
                server.kill()
                await node.loses()
                waiting = [asyncio.ensure_future(node.keeps("room", str(number))) for number in range(5)]
                done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                assert done <= {*waiting[3:]}
                monkeypatch.setattr(redis_queue, "SECONDS", 0.0)
                node.engine._waiting.drop_old()
                for each in waiting:
                    with pytest.raises(EngineDown, match="unavailable"):
                        await each

        run(work)

    def test_it_is_not_there_at_the_start(self, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(engine_module, "READY_SECONDS", 0.05)
        server.kill()

        async def work() -> None:
            async with started(server, 1) as [node]:
                subscribing = asyncio.ensure_future(node.subscribes("room"))
                await asyncio.sleep(0)
                server.start()
                await node.returns()
                await subscribing
                node.got.clear()
                await node.publishes("room", "x")
                await node.hears("x")

        run(work)


def stopped(function: Any) -> tuple[Any, asyncio.Event]:
    """A coroutine function that waits for an event first."""
    event = asyncio.Event()

    async def wait(*args: Any) -> Any:
        await event.wait()
        return await function(*args)

    return wait, event


def test_a_command_that_cannot_be_encoded(server: Server) -> None:
    """It is refused, and the replies of others stay theirs."""

    async def work() -> None:
        redis = await connect(address_of(server.url), print, print)
        for send in (redis.ask, redis.tell):
            with pytest.raises(ValueError, match="surrogates not allowed"):
                send("ECHO", "\ud800")
        assert [*await asyncio.gather(redis.ask("ECHO", "one"), redis.ask("ECHO", "two"))] == [b"one", b"two"]
        redis.close(ConnectionAbortedError())

    run(work)


class TestServers:
    """Two servers of ours, which know of each other by Redis alone."""

    def test_rooms(self, server: Server, serve: support.Serve) -> None:
        servers = [serve(app, topics=server.url, topics_prefix="rooms:") for _ in range(2)]
        chats = [Chat(each, "/ws/room?history=10") for each in servers]
        for chat in chats:
            chat.hear_json()
        stream = Stream(servers[1], "/events/room")
        while about(servers[1], "room")["count"] < 3:
            pass
        chats[0].say("hello")
        assert [chat.hear() for chat in chats] == ["hello", "hello"]
        first = stream.event()
        assert first["data"] == "hello"
        chats[0].say("not me")
        assert chats[1].hear() == "not me"
        chats[1].say("end")
        assert chats[0].hear() == "end"
        again = Stream(servers[0], "/events/room", f"Last-Event-ID: {first['id']}")
        assert [again.event()["data"] for _ in range(2)] == ["not me", "end"]
        assert server.cli("PUBLISH", "rooms:room", "from elsewhere") == "2"
        assert chats[0].hear() == "from elsewhere"

    def test_a_restart_is_survived(self, server: Server, serve: support.Serve) -> None:
        rooms = serve(app, topics=server.url)
        chat = Chat(rooms, "/ws/room?quiet=1&gap=GAP")
        while about(rooms, "room").get("count") != 1:
            pass
        server.kill()
        server.start()
        assert chat.hear() == "GAP"
        chat.say("x")
        assert chat.hear() == "x"
        assert b" 200 " in post(rooms, "/store/room?text=y", "")
        assert chat.hear() == "y"


@pytest.mark.parametrize("url", ["redis://", "http://x", "redis://host/name", "redis://host:x"])
def test_urls_that_are_wrong(url: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # by urllib as well
        address_of(url)


def test_urls() -> None:
    found = address_of("redis://us%40er:pass@host/3")
    assert found == ("host", 6379, None, 3, "us@er", "pass", None)
    assert address_of("redis+unix:///run/redis.sock?db=2") == ("", 0, "/run/redis.sock", 2, None, None, None)
    tls = address_of("rediss://:p@host:1").tls
    assert tls is not None
    assert tls.check_hostname


def test_topics_prefix(server: Server, serve: support.Serve) -> None:
    rooms = serve(app, topics=server.url, topics_prefix="own:")
    Chat(rooms, "/ws/room").hear_json()
    assert server.cli("PUBLISH", "own:room", "x") == "1"


def test_without_the_package(
    serve: support.Serve, log: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "hiredis", None)
    with pytest.raises(RuntimeError):
        serve(app, topics="redis://127.0.0.1")
    assert "ERROR topics: --topics redis://... needs the package hiredis: install it, or fastserve[redis]." in log()
