"""Who is in a topic, with every engine: members join with their first connection, and leave 5 s after their last."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import support
from topics.clients import Chat, Stream, close_all
from topics.clock import Clock
from topics.nodes import Node, run, started, until
from topics.rooms import app
from topics.test_memory import Uvicorn, about

from fastserve import topics
from fastserve.topics import node, presence
from fastserve.topics.memory import PROCESS, MemoryEngine
from fastserve.topics.mesh import MeshEngine

if TYPE_CHECKING:
    from topics.redis_server import Server


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(presence, "later", made.later)
    return made


def members(server: support.Running, room: str = "room") -> Any:
    return json.loads(server.fetch(f"/members/{room}")[2])


def watching(server: support.Running) -> Chat:
    chat = Chat(server, "/watch/room")
    assert chat.hear() == "watching"
    return chat


def joined(server: support.Running, member: str, info: str = "") -> Chat:
    chat = Chat(server, f"/ws/room?member={member}{info}")
    chat.hear_json()
    return chat


def check_a_life(clock: Clock, servers: list[support.Running]) -> None:
    """A member of two connections on two servers."""
    one, two = servers
    watchers = [watching(server) for server in servers]
    first = joined(one, "ann", "&info=%7B%22name%22:%22Ann%22%7D")
    for watcher in watchers:
        assert watcher.hear_json() == ["Join", "ann", {"name": "Ann"}]
    second = joined(two, "ann")
    stream = Stream(one, "/events/room?member=b%20%C3%BC")
    for watcher in watchers:
        assert watcher.hear_json() == ["Join", "b ü", {}]
    for server in servers:
        while members(server) != {"ann": {}, "b ü": {}}:
            pass
    leaves(first, one, 4)
    clock.move(4)
    again = joined(one, "ann")  # as a page that is loaded again
    clock.move(60)
    leaves(again, one, 4)
    clock.move(5)
    leaves(stream, one, 3)  # which is the first that is told
    clock.move(4)
    assert members(one) == {"ann": {}, "b ü": {}}
    clock.move(1)
    for watcher in watchers:
        assert watcher.hear_json() == ["Leave", "b ü", {}]
    leaves(second, one, 2)
    assert members(one) == {"ann": {}}
    clock.move(5)
    for watcher in watchers:
        assert watcher.hear_json() == ["Leave", "ann", {}]
    for server in servers:
        while members(server) != {}:
            pass


def leaves(client: Chat | Stream, server: support.Running, left: int) -> None:
    """Close a connection, and wait until so many subscribers are left."""
    client.leave()
    while about(server, "room")["count"] != left:
        pass


def test_a_life(connected: Callable[..., Any], clock: Clock) -> None:
    check_a_life(clock, connected())


def test_under_another_server(clock: Clock) -> None:
    running = Uvicorn().start()
    try:
        check_a_life(clock, [running, running])
    finally:
        close_all()
        running.stop()


@pytest.fixture(params=["memory", "unix", "redis"])
def make(request: pytest.FixtureRequest, folder: Path) -> Iterator[Callable[[], Node]]:
    """Make nodes that are connected."""
    if request.param == "memory":
        yield lambda: Node(MemoryEngine())
    elif request.param == "unix":
        yield lambda: Node(MeshEngine(folder, 1 << 20))
    else:
        from topics.redis_server import Server

        from fastserve.topics.redis import RedisEngine
        from fastserve.topics.resp import address_of

        server = Server(folder)
        server.start()
        yield lambda: Node(RedisEngine(address_of(server.url), "test:", 1 << 20))
        server.kill()


class TestEngines:
    def test_those_who_were_there_before(self, make: Callable[[], Node]) -> None:
        async def work() -> None:
            async with started([make()]) as made:
                made[0].engine.join("room", "ann", '{"a":1}')
                made.append(make())
                await made[1].engine.start(made[1])
                assert await made[1].engine.members("room") == {"ann": '{"a":1}'}
                await made[1].watches("room")
                made[0].engine.join("room", "ann", '{"a":2}')  # known by something else: silent
                made[0].engine.join("room", "message", "{}")
                await made[1].hears("message joined room: {}")
                assert await made[1].engine.members("room") == {"ann": '{"a":2}', "message": "{}"}
                assert await made[1].engine.members("other") == {}
                made[0].engine.leave("room", "ann")
                await made[1].hears('ann left room: {"a":2}')

        run(work)

    def test_the_last_of_two_nodes(self, make: Callable[[], Node]) -> None:
        async def work() -> None:
            async with started([make(), make(), make()]) as (one, two, three):
                await three.watches("room")
                one.engine.join("room", "ann", "1")
                await three.hears("ann joined room: 1")
                two.engine.join("room", "ann", "2")
                two.engine.join("room", "bob", "3")
                await three.hears("bob joined room: 3")
                one.engine.leave("room", "ann")
                one.engine.join("room", "cat", "4")
                await three.hears("cat joined room: 4")
                two.engine.leave("room", "ann")
                await three.hears("ann left room: 2")

        run(work)


class TestDirectory:
    @pytest.mark.parametrize("how", ["killed", "stopped"])
    def test_the_members_of_a_node_that_is_gone(self, folder: Path, clock: Clock, how: str) -> None:
        async def work() -> None:
            async with started([Node(MeshEngine(folder, 1 << 20)) for _ in range(3)]) as made:
                one, two, three = made
                await one.watches("room")
                for member in ("ann", "bob"):
                    two.engine.join("room", member, "{}")
                await one.hears("ann joined room: {}", "bob joined room: {}")
                if how == "stopped":
                    await two.engine.stop()
                    made.remove(two)
                else:
                    for connection in [*mesh(two).accepted]:
                        connection.transport.abort()
                await until(lambda: two.name not in mesh(one).peers and two.name not in mesh(three).peers)
                assert await one.engine.members("room") == {"ann": "{}", "bob": "{}"}
                clock.move(4)
                three.engine.join("room", "ann", "{}")
                await until(lambda: len(mesh(one).roster.topics["room"]["ann"]) == 2)
                clock.move(1)
                await one.hears("bob left room: {}")
                assert await one.engine.members("room") == {"ann": "{}"}

        run(work)


def mesh(node: Node) -> MeshEngine:
    assert isinstance(node.engine, MeshEngine)
    return node.engine


class TestRedis:
    """What Redis keeps is renewed every 10 s, and gone 30 s after the last time."""

    @pytest.fixture
    def server(self, folder: Path) -> Iterator[Any]:
        from topics.redis_server import Server

        made = Server(folder)
        made.start()
        yield made
        made.kill()

    def make(self, server: Server) -> Node:
        from fastserve.topics.redis import RedisEngine
        from fastserve.topics.resp import address_of

        return Node(RedisEngine(address_of(server.url), "test:", 1 << 20))

    def age(self, server: Server, node: Node, member: str, seconds: float) -> None:
        """Have what a node has written of a member be older."""
        entry = json.loads(server.cli("HGET", "test:members:room", member))
        entry[node.name][0] -= seconds * 1000
        server.cli("HSET", "test:members:room", member, json.dumps(entry))

    def test_a_node_that_renews_no_more(self, server: Server, clock: Clock) -> None:
        async def work() -> None:
            async with started([self.make(server) for _ in range(2)]) as (one, two):
                await one.watches("room")
                for member in ("ann", "bob"):
                    two.engine.join("room", member, "{}")
                await one.hears("ann joined room: {}", "bob joined room: {}")
                assert 29_000 < int(server.cli("PTTL", "test:members:room")) <= 30_000
                for member in ("ann", "bob"):
                    self.age(server, two, member, 29)
                clock.move(10)  # both renew
                await one.engine.members("room")
                await two.engine.members("room")
                for member, seconds in (("ann", 29), ("bob", 31)):
                    self.age(server, two, member, seconds)
                assert list(await one.engine.members("room")) == ["ann"]
                await one.hears("bob left room: {}")
                assert server.cli("HLEN", "test:members:room") == "1"

        run(work)

    def test_one_of_two_nodes_renews_no_more(self, server: Server) -> None:
        async def work() -> None:
            async with started([self.make(server) for _ in range(2)]) as (one, two):
                for node in (one, two):
                    node.engine.join("room", "ann", "{}")
                await two.engine.members("room")
                self.age(server, two, "ann", 31)
                assert list(await one.engine.members("room")) == ["ann"]
                assert list(json.loads(server.cli("HGET", "test:members:room", "ann"))) == [one.name]

        run(work)

    def test_the_hash_has_expired(self, server: Server, clock: Clock) -> None:
        """Nobody is left to tell: the nodes that watch find out."""

        async def work() -> None:
            async with started([self.make(server) for _ in range(2)]) as (one, two):
                await one.watches("room")
                two.engine.join("room", "ann", "{}")
                await one.hears("ann joined room: {}")
                two.engine._members._own.clear()  # type: ignore[attr-defined]
                server.cli("DEL", "test:members:room")
                clock.move(10)
                await one.hears("ann left room: {}")

        run(work)

    def test_redis_has_lost_everything(self, server: Server, clock: Clock) -> None:
        """Members are written again as soon as it is back, and nobody has left."""

        async def work() -> None:
            async with started([self.make(server) for _ in range(2)]) as (one, two):
                await one.watches("room")
                two.engine.join("room", "ann", "{}")
                await one.hears("ann joined room: {}")
                server.kill()
                server.start()
                while server.cli("EXISTS", "test:members:room") != "1":  # noqa: ASYNC110  # the node makes it so
                    await asyncio.sleep(0.001)
                two.engine.join("room", "bob", "{}")
                await asyncio.wait_for(one.engine._is_up.wait(), support.PATIENCE)  # type: ignore[attr-defined]
                await until(lambda: "gap room" in one.got)
                clock.move(10)
                while "bob joined room: {}" not in one.got:  # noqa: ASYNC110  # the node makes it so
                    await asyncio.sleep(0.001)
                assert sorted(one.got) == ["bob joined room: {}", "gap room"]

        run(work)

    def test_a_node_that_stops(self, server: Server) -> None:
        """Its members have 5 s to come back to another."""

        async def work() -> None:
            async with started([self.make(server)]) as [one]:
                two = self.make(server)
                await two.engine.start(two)
                two.engine.join("room", "ann", "{}")
                await two.engine.stop()
                assert list(await one.engine.members("room")) == ["ann"]
                self.age(server, two, "ann", 5)
                assert await one.engine.members("room") == {}

        run(work)


def test_a_loop_that_has_ended() -> None:
    """The members of one that was not stopped, as those of tests, are gone with it."""

    async def join() -> None:
        node.here().presence.enter("room", "ann", "{}")
        assert await topics.members("room") == {"ann": {}}

    async def look() -> Any:
        return await topics.members("room")

    asyncio.run(join())
    assert asyncio.run(look()) == {}
    assert not PROCESS.roster.topics


class TestListen:
    def test_messages_and_members(self, clock: Clock) -> None:
        async def work() -> None:
            here = node.here()
            async with topics.listen(["a", "b"], presence=True, queue=4) as found:
                here.presence.enter("a", "ann", '{"n":1}')
                topics.publish("b", "x")
                here.presence.exit("a", "ann")
                here.presence.enter("a", "ann", '{"n":1}')
                clock.move(60)
                here.presence.exit("a", "ann")
                clock.move(5)
                first, message, last = [await found.__anext__() for _ in range(3)]
                assert (first, last) == (topics.Join("a", "ann", {"n": 1}), topics.Leave("a", "ann", {"n": 1}))
                assert isinstance(message, topics.Message)
            assert not here.watched()

        run(work)


class Without(topics.Engine):
    """An engine of the five verbs."""

    def __init__(self, options: Any) -> None:
        pass

    def subscribe(self, topic: str) -> None:
        pass


def test_an_engine_without_members(serve: support.Serve, caplog: pytest.LogCaptureFixture) -> None:
    running = serve(app, topics="topics.test_presence:Without")
    for call in ("/members/room", "/events/room?member=ann"):
        assert running.fetch(call)[0] == 500
    running.stop()  # it has logged everything
    raised = [str(each.exc_info[1]) for each in caplog.records if each.exc_info]
    assert raised == ["Without does not know members: member= and presence= need another engine"] * 2


def any_value(value: Any) -> Any:
    return value


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"member": ""}, ValueError, "the name of a member has 1 to 255 bytes"),
        ({"member": 5}, TypeError, "a member is a string"),
        ({"member": "a\n"}, ValueError, "the name of a member has no control characters"),
        ({"info": {}}, ValueError, "info without member"),
        ({"member": "a", "info": "x"}, TypeError, "info: expected a dict, not str"),
        ({"member": "a", "info": {"x": {1}}}, TypeError, "set"),
        ({"member": "a", "info": {"x": "ü" * 2048}}, ValueError, "info: expected at most 4096 bytes of JSON, not 4104"),
    ],
)
def test_wrong_arguments(options: Any, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        asyncio.run(topics.subscribe(any_value(print), "a", **options))
