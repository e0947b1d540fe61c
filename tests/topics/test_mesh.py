"""The engine between the processes of a host: several nodes in one loop here, and real workers."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import stat
import sys
import tempfile
from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
import support
from core.frames import CLOSE
from supervisors.clients import Succeeding
from support import PATIENCE
from topics import nodes
from topics.clients import Chat, Stream, close_all, post
from topics.nodes import Noting, run, until
from topics.test_memory import about

from fastserve._core.topics.message import Message
from fastserve.topics import directory, mesh, mesh_histories
from fastserve.topics.engine import EngineDown, Keep
from fastserve.topics.mesh import MeshEngine
from fastserve.topics.mesh_peers import HEAD, HELLO
from fastserve.topics.wire import pack

TESTS = Path(__file__).parent.parent


class Node(nodes.Node):
    """A node of a directory."""

    engine: MeshEngine

    def __init__(self, path: Path, **options: Any) -> None:
        super().__init__(MeshEngine(path, 1 << 20, **options))

    def subscribe(self, topic: str) -> None:
        self.topics[topic] = 1
        self.engine.subscribe(topic)


def started(path: Path, count: int, **options: Any) -> AbstractAsyncContextManager[list[Node]]:
    return nodes.started([Node(path, **options) for _ in range(count)])


class TestMessages:
    def test_reach_the_nodes_that_have_subscribers(self, folder: Path) -> None:
        async def work() -> None:
            async with started(folder, 3) as (one, two, three):
                two.subscribe("room")
                three.subscribe("other")
                await until(lambda: all(len(node.engine.peers) == 2 for node in (one, two, three)))
                await until(lambda: "room" in (one.engine.peers[two.name].topics or ()))
                await until(lambda: "other" in (one.engine.peers[three.name].topics or ()))
                for number in range(3):
                    one.engine.publish(Message("room", str(number)), None, None)
                one.engine.publish(Message("room", b"x"), None, "someone")
                await two.hears("0", "1", "2", (b"x", "someone"))
                assert await one.engine.counts(["room", "other", "none"]) == {"room": 1, "other": 1, "none": 0}
                two.engine.unsubscribe("room")
                await until(lambda: "room" not in (one.engine.peers[two.name].topics or ()))
                assert three.got == []

        run(work)

    def test_those_of_a_turn_leave_in_one_write(self, folder: Path) -> None:
        async def work() -> None:
            async with started(folder, 2) as (one, two):
                two.subscribe("room")
                await until(lambda: two.name in one.engine.peers)
                await until(lambda: "room" in (one.engine.peers[two.name].topics or ()))
                link: Any = one.engine.peers[two.name].link
                transport = link.transport = Noting(link.transport)
                for number in range(20):
                    one.engine.publish(Message("room", str(number)), None, None)
                assert transport.sizes == []
                await two.hears(*map(str, range(20)))
                assert len(transport.sizes) == 1
                for _ in range(20):  # so much that it is not held for all of the turn
                    one.engine.publish(Message("room", "x" * 10_000), None, None)
                assert [size > 60_000 for size in transport.sizes[1:]] == [True, True]
                one.engine.publish(Message("room", "last"), None, None)
                await one.engine.stop()  # writes what is held before it closes
                await two.hears(*["x" * 10_000] * 20, "last")

        run(work)

    def test_a_node_that_comes_later_hears_everything_once_it_is_ready(self, folder: Path) -> None:
        async def work() -> None:
            async with started(folder, 1) as [one]:
                late = Node(folder)
                late.topics["room"] = 1
                await late.engine.start(late)
                one.engine.publish(Message("room", "x"), None, None)
                await late.hears("x")
                await late.engine.stop()
                await until(lambda: not one.engine.peers)

        run(work)

    def test_one_that_does_not_read_is_told_its_gap(self, folder: Path) -> None:
        async def work() -> None:
            async with started(folder, 2) as (one, two):
                two.subscribe("room")
                await until(lambda: "room" in (one.engine.peers[two.name].topics or ()))
                [reading] = two.engine.accepted
                reading.transport.pause_reading()
                link = one.engine.peers[two.name].link
                assert link is not None
                while not link.full:
                    one.engine.publish(Message("room", "x" * 1_000_000), None, None)
                one.engine.publish(Message("room", "lost"), None, None)
                assert not link.transport.is_closing()
                reading.transport.resume_reading()
                await until(lambda: "gap room" in two.got)
                assert "lost" not in two.got
                two.got.clear()
                one.engine.publish(Message("room", "again"), None, None)
                await two.hears("again")

        run(work)

    @pytest.mark.parametrize(
        "data",
        [b"\0" * 5, HEAD.pack(2**31, HELLO), HEAD.pack(1, 200) + b"x", HEAD.pack(4, HELLO) + pack("//"), b"x" * 100],
    )
    def test_what_is_no_frame_ends_its_connection_alone(self, folder: Path, data: bytes) -> None:
        async def work() -> None:
            async with started(folder, 2) as (one, two):
                one.subscribe("room")
                reader, writer = await asyncio.open_unix_connection(folder / f"{one.name}.sock")
                writer.write(data)
                assert await reader.read() == b""
                writer.close()
                await until(lambda: "room" in (two.engine.peers[one.name].topics or ()))
                two.engine.publish(Message("room", "x"), None, None)
                await one.hears("x")

        run(work)


class TestHistories:
    def test_one_node_has_each(self, folder: Path) -> None:
        async def work() -> None:
            async with started(folder, 3) as made:
                for node in made:
                    node.subscribe("room")
                await until(lambda: all(len(peer.topics or ()) for node in made for peer in node.engine.peers.values()))
                positions = [await node.keeps("room", str(at)) for at, node in enumerate(made)]
                assert [each.partition(":")[2] for each in positions] == ["1", "2", "3"]
                assert len({each.partition(":")[0] for each in positions}) == 1
                assert sum("room" in node.engine.histories.kept.topics for node in made) == 1
                for node in made:
                    await node.hears("0", "1", "2")
                    found = await node.engine.history("room", positions[0])
                    assert ([each.data for each in found.messages], found.complete) == (["1", "2"], True)
                    assert found.position == positions[2]
                    assert (await node.engine.history("room", None, True)).position == positions[2]
                    assert not (await node.engine.history("room", "x:1")).complete

        run(work)

    def test_they_outlive_every_node(self, folder: Path) -> None:
        """Each node in turn is replaced by a new one, as workers are: no history has a gap."""

        async def work() -> None:
            names = [f"room-{number}" for number in range(20)]
            async with started(folder, 2) as made:
                first = {name: await made[0].keeps(name, "0") for name in names}
                for round_ in range(4):
                    made.append(Node(folder))
                    await made[-1].engine.start(made[-1])
                    await made[0].engine.stop()
                    del made[0]
                    for name in names:
                        await made[round_ % 2].keeps(name, str(round_ + 1))
                    for name in names:
                        found = await made[-1].engine.history(name, first[name])
                        assert found.complete
                        assert [each.data for each in found.messages] == [str(at + 1) for at in range(round_ + 1)]

        run(work)

    @pytest.mark.parametrize("seconds", [PATIENCE, 0])
    def test_a_node_leaves_before_it_has_been_given_them(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, seconds: float
    ) -> None:
        """What is given to it, and what it has to store, reaches the others, also if it does not wait for it."""

        async def work() -> None:
            monkeypatch.setattr(mesh_histories, "HANDOVER_SECONDS", seconds)
            names = [f"room-{number}" for number in range(20)]
            async with started(folder, 1) as [one]:
                first = {name: await one.keeps(name, "0") for name in names}
                two = Node(folder)
                await two.engine.start(two)
                stored = [two.engine.publish(Message(name, "1"), Keep(10, 60), None) for name in names]
                assert not all(each is None or each.done() for each in stored)  # it waits for what it is given
                await two.engine.stop()
                for name in names:
                    found = await one.engine.history(name, first[name])
                    assert ([each.data for each in found.messages], found.complete) == (["1"], True)

        run(work)

    def test_a_node_leaves_while_it_stores_for_others(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The position comes from the new owner, when the one that asked has let go of the node that leaves."""

        async def work() -> None:
            monkeypatch.setattr(mesh, "HANDOVER_SECONDS", PATIENCE)
            async with started(folder, 3) as made:
                one, two, three = made
                await until(lambda: all(sum(p.owns for p in n.engine.peers.values()) == 2 for n in made))
                order = [two.name, three.name, one.name]
                name = next(
                    name
                    for name in map(str, range(10_000))
                    if sorted(order, key=lambda node: mesh_histories.rating(node, name), reverse=True) == order
                )
                [slow] = [each for each in three.engine.accepted if each.peer is three.engine.peers[two.name]]
                slow.transport.pause_reading()
                stored = one.engine.publish(Message(name, "0"), Keep(10, 60), None)
                made.remove(two)
                stopping = asyncio.ensure_future(two.engine.stop())
                await until(lambda: one.name not in two.engine.peers)  # it has closed its connection
                slow.transport.resume_reading()
                assert stored is not None
                position = await stored
                await stopping
                assert (await one.engine.history(name, None)).position == position

        run(work)

    def test_a_node_leaves_after_it_has_given_them(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """What the new owner stores and asks, before it knows that it is the owner, goes on with the history."""

        async def work() -> None:
            monkeypatch.setattr(mesh, "HANDOVER_SECONDS", PATIENCE)
            async with started(folder, 2) as made:
                one, two = made
                await until(lambda: all(p.owns for n in made for p in n.engine.peers.values()))
                name = next(name for name in map(str, range(100)) if one.engine.histories.owner(name) is not None)
                first = await one.keeps(name, "0")
                one.subscribe(name)
                [slow] = [each for each in one.engine.accepted if each.peer is one.engine.peers[two.name]]
                slow.transport.pause_reading()
                made.remove(two)
                stopping = asyncio.ensure_future(two.engine.stop())
                await until(lambda: name not in two.engine.histories.kept.topics)  # it is on its way
                asked = asyncio.ensure_future(one.engine.history(name, first))
                await asyncio.sleep(0)
                stored = one.engine.publish(Message(name, "1"), Keep(10, 60), None)
                one.engine.subscribe("later")
                await until(lambda: "later" in (two.engine.peers[one.name].topics or ()))  # it has read them
                slow.transport.resume_reading()
                assert stored is not None
                assert await stored == first.replace(":1", ":2")
                assert (await asked).complete
                await stopping
                found = await one.engine.history(name, first)
                assert ([each.data for each in found.messages], found.complete) == (["1"], True)
                await one.hears("1")

        run(work)

    def test_that_of_a_killed_node_begins_again(self, folder: Path) -> None:
        async def work() -> None:
            async with started(folder, 2) as (one, two):
                await until(lambda: all(peer.owns for node in (one, two) for peer in node.engine.peers.values()))
                names = [f"room-{number}" for number in range(20)]
                position = {name: await one.keeps(name, "0") for name in names}
                lost = list(two.engine.histories.kept.topics)
                kept = list(one.engine.histories.kept.topics)
                assert lost
                assert kept
                two.engine.histories.owns = False
                two.engine.histories.kept.topics.clear()
                for connection in [*two.engine.accepted]:
                    connection.transport.abort()
                await until(lambda: not one.engine.peers)
                assert (await one.keeps(lost[0], "1")).endswith(":1")
                assert not (await one.engine.history(lost[0], position[lost[0]])).complete
                assert (await one.engine.history(kept[0], position[kept[0]])).complete

        run(work)

    def test_a_question_to_a_node_that_dies(self, folder: Path) -> None:
        async def work() -> None:
            async with started(folder, 2) as (one, two):
                await until(lambda: all(peer.owns for peer in one.engine.peers.values()))
                for connection in two.engine.accepted:
                    connection.transport.pause_reading()
                names = [f"room-{number}" for number in range(40)]
                theirs = next(name for name in names if one.engine.histories.owner(name) is not None)
                asked = asyncio.ensure_future(one.engine.history(theirs, None))
                stored = one.engine.publish(Message(theirs, "x"), Keep(1, 1), None)
                await asyncio.sleep(0)
                for connection in [*two.engine.accepted]:
                    connection.transport.abort()
                with pytest.raises(EngineDown):
                    await asked
                assert stored is not None
                with pytest.raises(EngineDown):
                    await stored

        run(work)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


class TestDirectory:
    def test_it_is_private_and_removed(self, folder: Path) -> None:
        async def work() -> None:
            async with started(folder, 2):
                assert mode_of(folder) == 0o700
                assert len(directory.sockets(folder)) == 2

        run(work)
        assert not folder.exists()

    def test_a_path_that_is_too_long_for_sockets(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        name = f"fastserve-{os.getuid()}-7"
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder.parent))
        assert directory.private(7) == folder.parent / name
        long = folder.parent / ("x" * 90)
        long.mkdir()
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(long))
        assert directory.private(7) == Path(tempfile.gettempdir(), name)

    def test_sockets_of_killed_processes_are_removed(self, folder: Path) -> None:
        folder.mkdir(mode=0o700)

        async def work() -> None:
            with socket.socket(socket.AF_UNIX) as dead:
                dead.bind(str(folder / "dead.sock"))
            async with started(folder, 1) as [node]:
                assert [each.stem for each in directory.sockets(folder)] == [node.name]

        run(work)

    @pytest.mark.parametrize("what", ["mode", "link", "file"])
    def test_that_others_could_have_made_is_refused(self, folder: Path, what: str) -> None:
        if what == "mode":
            folder.mkdir()
            folder.chmod(0o777)
        elif what == "link":
            folder.symlink_to("/tmp", target_is_directory=True)
        else:
            folder.touch()

        async def work() -> None:
            node = Node(folder)
            with pytest.raises(OSError, match="d: "):
                await node.engine.start(node)

        run(work)


class Workers:
    """The rooms with real workers."""

    def __init__(self, command: support.StartCommand, *args: str, **options: Any) -> None:
        self.command = command(
            "topics.rooms:app", "--app-dir", str(TESTS), "--port", "0", "--lifespan", "off", *args, **options
        )

    def chats(self, workers: int, query: str = "") -> dict[int, Chat]:
        """Connect until there is a client of each worker."""
        found: dict[int, Chat] = {}
        while len(found) < workers:
            chat = Chat(self.command, f"/ws/room{query}")
            found[chat.hear_json()["pid"]] = chat
        return found


class Follower:
    """A client that comes back with its position, and is told of no gap."""

    def __init__(self, command: support.Command, chat: Chat) -> None:
        self.command = command
        self.chat = chat
        self.count = 0
        self.position = ""

    def follow(self, published: int) -> None:
        """Hear the numbers up to that of the messages that are published."""
        while self.count < published:
            found = self.chat.frame()
            if found is None or found[0] == CLOSE:
                self.chat = Chat(self.command, f"/ws/room?format=json&quiet=1&gap=GAP&since={self.position}")
                continue
            message = json.loads(found[1])
            assert message["data"] == str(self.count)
            self.position = message["id"]
            self.count += 1


@pytest.mark.slow
class TestWorkers:
    @pytest.mark.parametrize("options", [(), ("--preload",)], ids=" ".join)
    def test_everybody_hears_everything(self, command: support.StartCommand, options: tuple[str, ...]) -> None:
        workers = Workers(command, "--workers", "3", *options, env={"XDG_RUNTIME_DIR": "/nowhere", "TMPDIR": "/tmp"})
        chats = workers.chats(3, "?history=100")
        stream = Stream(workers.command, "/events/room")
        assert stream.next_block() == ":"
        for number, chat in enumerate(chats.values()):
            chat.say(str(number))
            for each in chats.values():
                assert each.hear() == str(number)
        assert [stream.event()["data"] for _ in chats] == ["0", "1", "2"]
        path = Path(f"/tmp/fastserve-{os.getuid()}-{workers.command.pid}")
        assert len(directory.sockets(path)) == 3
        assert workers.command.stop() == 0
        assert not path.exists()

    @pytest.mark.parametrize(
        ("sent", "options"), [(signal.SIGHUP, ()), (signal.SIGHUP, ("--preload",)), (signal.SIGUSR2, ())]
    )
    def test_replacing_workers_loses_nothing(
        self, command: support.StartCommand, sent: int, options: tuple[str, ...]
    ) -> None:
        """SIGHUP while messages come: a client that returns with its position gets each of them once, in order.

        So it is with SIGUSR2, for which the parent is replaced as well.
        """
        workers = Workers(command, "--workers", "2", "--timeout-graceful-shutdown", "5", *options)
        old = workers.chats(2, "?history=1000")
        heard: list[str] = []
        first = next(iter(old.values()))
        for number in range(20):
            first.say(str(number))
        heard += first.hear_all(20)
        with Succeeding() as successors:
            if sent == signal.SIGUSR2:
                successors.begin(workers.command)
            else:
                workers.command.send_signal(sent)
            number = self.publish_until_replaced(workers, old)
            if sent == signal.SIGUSR2:
                assert workers.command.process.wait(PATIENCE) == 0
            found = Chat(workers.command, "/ws/room?gap=GAP&quiet=1&since=x:0").hear_all(number + 1)
            assert found == ["GAP", *map(str, range(number))]

    def publish_until_replaced(self, workers: Workers, old: Iterable[int]) -> int:
        """Publish, beginning with 20, until two other workers serve; return the number of messages."""
        number = 20
        new: dict[int, Chat] = {}
        while len(new) < 2 and number < 5000:
            post(workers.command, f"/publish/room?text={number}&history=1000", "")
            number += 1
            try:
                chat = Chat(workers.command, "/ws/room")
                state = chat.hear_json()
                while not isinstance(state, dict):  # a message was published before the application told its state
                    state = chat.hear_json()
            except (AssertionError, OSError):  # the worker was about to end
                continue
            pid = state["pid"]
            if pid not in old and pid not in new:
                new[pid] = chat
        assert len(new) == 2
        return number

    def test_workers_that_have_had_their_requests(self, command: support.StartCommand) -> None:
        """--limit-max-requests replaces workers while messages come: clients that return get each once, in order."""
        workers = Workers(command, "--workers", "2", "--limit-max-requests", "40")
        chats = workers.chats(2, "?format=json")
        followers = [Follower(workers.command, chat) for chat in chats.values()]
        served: set[int] = set()
        published = 0
        while len(served - set(chats)) < 4:
            for _ in range(20):
                response = post(workers.command, f"/store/room?text={published}&history=1000", "")
                served.add(json.loads(response.partition(b"\r\n\r\n")[2])["pid"])
                published += 1
            for follower in followers:
                follower.follow(published)

    def test_a_hung_worker_does_not_hold_up_others(self, command: support.StartCommand) -> None:
        workers = Workers(command, "--workers", "2", "--timeout-worker-healthcheck", "600")
        chats = workers.chats(2)
        [hung, well] = chats
        os.kill(hung, signal.SIGSTOP)
        try:
            for number in range(10):
                chats[well].say(str(number))
            assert chats[well].hear_all(10) == [str(number) for number in range(10)]
        finally:
            os.kill(hung, signal.SIGCONT)
        assert chats[hung].hear_all(10) == [str(number) for number in range(10)]

    def test_a_killed_worker_is_forgotten(self, command: support.StartCommand) -> None:
        workers = Workers(command, "--workers", "2")
        chats = workers.chats(2)
        [killed, well] = chats
        os.kill(killed, signal.SIGKILL)
        workers.command.wait_line("Child process .*died|Replacing worker|Started server process", count=3)
        others = workers.chats(2)
        assert killed not in others
        chats[well].say("x")
        assert chats[well].hear() == "x"
        assert all(chat.hear() == "x" for chat in others.values())

    def test_two_servers_and_a_directory(self, command: support.StartCommand, folder: Path) -> None:
        servers = [Workers(command, "--topics", f"unix:{folder}").command for _ in range(2)]
        chats = [Chat(server, "/ws/room") for server in servers]
        for chat in chats:
            chat.hear_json()
        chats[0].say("x")
        assert [chat.hear() for chat in chats] == ["x", "x"]
        assert {about(server, "room")["count"] for server in map(Fetching, servers)} == {2}


@pytest.mark.slow
def test_gunicorn_workers() -> None:
    """The arbiter knows nothing of it: its workers find one another by its pid, also those that it starts later."""
    argv = [sys.executable, "-m", "gunicorn", "topics.rooms:app", "--chdir", str(TESTS), "--workers", "1"]
    argv += ["--bind", "127.0.0.1:0", "--worker-class", "fastserve.workers.FastserveWorker", "--no-control-socket"]
    server = support.Command(argv)
    try:
        port = int(server.wait_line(r"Listening at: http://127\.0\.0\.1:(\d+)")[1])
        at = Listening(port)
        first = Chat(at, "/ws/room?history=10")
        chats: dict[int, Chat] = {first.hear_json()["pid"]: first}
        server.send_signal(signal.SIGTTIN)
        while len(chats) < 2:
            chat = Chat(at, "/ws/room?history=10")
            chats.setdefault(chat.hear_json()["pid"], chat)
        for words in ("one", "two"):
            for chat in chats.values():
                chat.say(words)
                assert [each.hear() for each in chats.values()] == [words] * 2
    finally:
        close_all()
        server.close()


class Listening:
    def __init__(self, port: int) -> None:
        self.port = port

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)


class Fetching:
    """A Command that can be asked as support.Running is."""

    def __init__(self, command: support.Command) -> None:
        self.command = command

    def fetch(self, path: str) -> Any:
        raw = self.command.get(path)
        return None, None, raw.partition(b"\r\n\r\n")[2]
