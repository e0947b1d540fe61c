"""The engine between hosts: Redis, or Valkey.

A topic is a channel, and its messages go by pub/sub. A payload that begins with NUL is an envelope: position, a space,
and fields; any other is the message itself, so that other programs can publish. What is kept is in a stream whose ids
are the offsets, with epoch and offset in a hash; a script adds to both and publishes. Both expire together.

connections  One is for pub/sub, one for all else. When one is lost both are closed, and connected again for ever.
             Before anything is published then, all topics are subscribed again, what was missed is read from the
             histories of those that have one, and all others are told a gap. What is published until then waits, up to
             a bound.
members      See redis_members.
positions    If an offset jumps, what is missing is read from the history before anything newer is delivered; a message
             whose offset has been seen is dropped.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import random
import time
from collections.abc import Awaitable, Iterable
from typing import Any

from fastserve._core.topics.message import Message
from fastserve.topics.engine import Engine, EngineDown, Keep, Receiver, Recovery, Stored, quiet
from fastserve.topics.history import parsed
from fastserve.topics.redis_members import Members
from fastserve.topics.redis_queue import Waiting
from fastserve.topics.redis_scripts import KEEP
from fastserve.topics.resp import PING_SECONDS, Address, Redis, connect, reader
from fastserve.topics.wire import fields_of, message_of, payload_of, unpacked

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0  # seconds between two attempts to connect
READY_SECONDS = 1.0  # that a start waits for the server
COUNT_SECONDS = 1.0
FLUSH_SECONDS = 2.0
CHUNK = 1000  # channels of a SUBSCRIBE

logger = logging.getLogger("fastserve.error")


class RedisEngine(Engine):
    """Carries messages by the Redis at an address."""

    features = frozenset({"history", "presence", "processes", "hosts"})

    def __init__(self, address: Address, prefix: str, max_size: int, publishes: bool = False) -> None:
        reader()  # raises EngineDown
        self.address = address
        self.prefix = prefix.encode()
        self.max_size = max_size
        self.publishes = publishes
        self.receiver: Receiver
        self._loop: asyncio.AbstractEventLoop
        self.up = False
        self.reconnects = 0
        self.oversized = 0
        self._commands: Redis | None = None
        self._channels: Redis | None = None
        self._lost = asyncio.Event()
        self._reason: Exception | None = None
        self._is_up = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._ping: asyncio.TimerHandle | None = None
        self._waiting = Waiting(lambda: self._reason)
        self._wanted: dict[str, asyncio.Future[None] | None] = {}  # topics, each with who waits for its subscription
        self._positions: dict[str, str] = {}  # of the newest messages of topics with a history
        self._baselines: dict[str, str] = {}  # where others began: a subscription's history is ahead of its messages
        self._held: dict[str, list[tuple[Message, str | None]]] = {}  # while a topic reads what it has missed
        self._members = Members(self)
        self._counting: dict[str, tuple[dict[str, int], list[int]]] = {}
        self._counted = asyncio.Event()  # an answer has come
        self._work: set[asyncio.Future[Any]] = set()

    # Life

    async def start(self, receiver: Receiver) -> None:
        self.receiver = receiver
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.ensure_future(self._run())
        if not self.publishes:
            self._members.start()
        try:
            await asyncio.wait_for(self._is_up.wait(), READY_SECONDS)
        except asyncio.TimeoutError:
            if self._reason is None:
                self._away(EngineDown("it does not respond"))

    async def stop(self) -> None:
        self._members.stop()
        deadline = time.monotonic() + FLUSH_SECONDS
        while self._commands is not None and self._commands.asked and self.up and time.monotonic() < deadline:
            await asyncio.wait([*self._commands.asked], timeout=deadline - time.monotonic())
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        for work in list(self._work):
            work.cancel()
        self.up = False
        self._lost.set()
        self._close(EngineDown("the server stops"))
        self._waiting.drop_all(f"Redis is unavailable: {self._reason}")

    async def _run(self) -> None:
        pause = FIRST_PAUSE
        while True:
            try:
                await self._connect()
            except (OSError, asyncio.TimeoutError, ValueError) as exc:
                self._close(exc)
                self._away(exc)
                self._waiting.drop_old()
                await asyncio.sleep(pause * random.uniform(0.5, 1))
                pause = min(2 * pause, LONGEST_PAUSE)
                continue
            pause = FIRST_PAUSE
            await self._lost.wait()
            self._close(self._reason or EngineDown("lost"))
            self._away(self._reason or EngineDown("lost"))

    def _away(self, reason: BaseException) -> None:
        """Log once that the server is away."""
        if self.up or self._reason is None:
            logger.error("topics: Redis is unavailable, reconnecting: %s", str(reason) or type(reason).__name__)
        self.up = False
        self._is_up.clear()
        self._reason = reason if isinstance(reason, Exception) else EngineDown(str(reason))

    def _close(self, reason: BaseException) -> None:
        if self._ping is not None:
            self._ping.cancel()
            self._ping = None
        error = reason if isinstance(reason, Exception) else EngineDown(str(reason))
        for connection in (self._commands, self._channels):
            if connection is not None:
                connection.close(error)
        self._commands = self._channels = None

    def _connection_lost(self, reason: Exception) -> None:
        if not self._lost.is_set():
            self._lost.set()
            if self.up:
                self._away(reason)

    async def _connect(self) -> None:
        first = self._reason is None
        self._lost.clear()
        self._commands = await connect(self.address, self._pushed, self._connection_lost)
        if not self.publishes:
            self._channels = await connect(self.address, self._pushed, self._connection_lost)
            topics = list(self._wanted)
            self._subscribe_now([b"\1ask", b"\1" + self.receiver.name.encode(), *(each.encode() for each in topics)])
            await self._channels.ask("PING")  # its reply comes after theirs
            if not first:
                for topic in topics:
                    await self._catch_up(topic)
        self._members.tell()
        self.up = True
        if not first:
            self.reconnects += 1
            logger.info("topics: Redis is back.")
        self._is_up.set()
        self._look()
        self._waiting.drop_old()
        while self._waiting and not self._lost.is_set():
            self._forward(*self._waiting.next())

    def _look(self) -> None:
        """Find a connection over which nothing comes any more."""
        self._ping = asyncio.get_running_loop().call_later(PING_SECONDS, self._look)
        for connection in (self._commands, self._channels):
            if connection is None:
                continue
            if not connection.heard:
                connection.close(TimeoutError(f"no reply for {PING_SECONDS:.0f} s"))
                return
            connection.heard = False
            quiet(connection.ask("PING"))

    # Publishing

    def publish(self, message: Message, keep: Keep | None, exclude: str | None) -> Stored | None:
        channel = self.prefix + message.topic.encode()
        if keep is None:
            return self._command("PUBLISH", channel, payload_of(message, exclude))
        return self._command(
            "EVAL",
            KEEP,
            2,
            self.key(b"meta", message.topic),
            self.key(b"log", message.topic),
            os.urandom(4).hex(),
            keep.size,
            max(round(keep.ttl * 1000), 1),
            channel,
            fields_of(message, exclude),
        )

    def _command(self, *words: Any) -> Stored:
        """Send a command once the server is there; return the future of its position."""
        future: Stored = self._loop.create_future()
        if self.up and self._commands is not None and not self._waiting:
            self._forward(words, future)
        else:
            self._waiting.add(words, future)
        return future

    def _forward(self, words: tuple[Any, ...], future: Stored) -> None:
        assert self._commands is not None
        asked = self._commands.ask(*words)
        asked.add_done_callback(lambda each: settle(each, future))

    # Subscribing

    def subscribe(self, topic: str) -> asyncio.Future[None]:
        waited: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._wanted[topic] = waited
        if self._channels is not None:
            self._subscribe_now([topic.encode()])
        return waited

    def unsubscribe(self, topic: str) -> None:
        waited = self._wanted.pop(topic, None)
        if waited is not None:
            waited.cancel()
        self._positions.pop(topic, None)
        self._baselines.pop(topic, None)
        if self._channels is not None:
            self._channels.tell("UNSUBSCRIBE", self.prefix + topic.encode())

    def _subscribe_now(self, names: list[bytes]) -> None:
        assert self._channels is not None
        for at in range(0, len(names), CHUNK):
            self._channels.tell("SUBSCRIBE", *(self.prefix + name for name in names[at : at + CHUNK]))

    def _pushed(self, reply: list[Any]) -> None:
        kind, channel, payload = reply
        name = channel[len(self.prefix) :]
        if name[:1] == b"\1":
            if kind == b"message":
                self._controlled(name, payload)
            return
        topic = name.decode()
        if topic not in self._wanted:
            return
        if kind == b"message":
            self._take(topic, payload)
        elif kind == b"subscribe":
            waited = self._wanted[topic]
            if waited is not None:
                self._wanted[topic] = None
                if not waited.done():
                    waited.set_result(None)

    def _take(self, topic: str, payload: bytes) -> None:
        if len(payload) > self.max_size + 4096:
            self.oversized += 1
            return
        if payload.startswith(b"\0\1"):
            self._members.take(topic, payload)
            return
        try:
            message, exclude = message_of(topic, payload)
        except ValueError as exc:
            logger.warning("topics: a message of %r that is not valid: %s", topic, exc)
            return
        if topic in self._held:
            self._held[topic].append((message, exclude))
        else:
            self._deliver(topic, message, exclude)

    def _deliver(self, topic: str, message: Message, exclude: str | None) -> None:
        if message.id is not None:
            last = self._positions.get(topic)
            if last is not None:
                epoch, offset = parsed(message.id)
                last_epoch, last_offset = parsed(last)
                if epoch == last_epoch and offset <= last_offset:
                    return
                if epoch == last_epoch and offset > last_offset + 1:
                    self._held[topic] = [(message, exclude)]
                    self.later(self._fill(topic))
                    return
                if epoch != last_epoch:
                    self.receiver.gap(topic)
            self._positions[topic] = message.id
        self.receiver.receive(message, exclude)

    async def _fill(self, topic: str) -> None:
        """Deliver what is missing of a topic, and then what has come since."""
        try:
            await self._read_on(topic)
        except (OSError, asyncio.TimeoutError):
            self._positions.pop(topic, None)
            self.receiver.gap(topic)
        for message, exclude in self._held.pop(topic, ()):
            if topic in self._wanted:
                self._deliver(topic, message, exclude)

    async def _catch_up(self, topic: str) -> None:
        """Deliver what has come of a topic while the server was away, as far as there is a history."""
        if topic not in self._positions and topic in self._baselines:
            self._positions[topic] = self._baselines[topic]
        if topic not in self._positions:
            self.receiver.gap(topic)
            for message, exclude in self._held.pop(topic, ()):  # of an attempt that failed
                self._deliver(topic, message, exclude)
            return
        self._held.setdefault(topic, [])
        await self._read_on(topic)
        for message, exclude in self._held.pop(topic, ()):
            self._deliver(topic, message, exclude)

    async def _read_on(self, topic: str) -> None:
        last = self._positions.get(topic)
        found = await self._history(topic, last)
        if not found.complete:
            self.receiver.gap(topic)
        if topic not in self._wanted:
            return
        for message in found.messages:
            self.receiver.receive(message, None)
        if found.position is None:
            self._positions.pop(topic, None)
        else:
            self._positions[topic] = found.position

    # Histories

    async def history(self, topic: str, since: str | None, only_position: bool = False) -> Recovery:
        if not self.up:
            raise self.down
        found = await self._history(topic, since, only_position)
        if topic in self._wanted and found.position is not None and topic not in self._held:
            self._baselines.setdefault(topic, found.position)
        return found

    async def _history(self, topic: str, since: str | None, only_position: bool = False) -> Recovery:
        connection = self._commands
        if connection is None:
            raise self.down
        meta = connection.ask("HMGET", self.key(b"meta", topic), "epoch", "offset")
        if only_position:
            return Recovery([], True, position_of(await meta))
        epoch, offset = parsed(since or "")
        entries = connection.ask("XRANGE", self.key(b"log", topic), f"{offset + 1}-0" if epoch else "-", "+")
        quiet(entries)  # for nobody waits for them where the first is not answered
        position = position_of(await meta)
        rows = await entries
        if position is None:
            return Recovery([], since is None, None)
        newest_epoch, newest = parsed(position)
        if since is not None and epoch != newest_epoch:
            if epoch:  # what was asked for began in another history
                rows = await connection.ask("XRANGE", self.key(b"log", topic), "-", "+")
            offset = 0
        messages = [stored_message(topic, newest_epoch, row) for row in rows]
        if messages:
            newest = max(newest, parsed(messages[-1].id or "")[1])
        complete = since is None or (
            epoch == newest_epoch
            and offset <= newest
            and (offset == newest or (bool(messages) and messages[0].id == f"{epoch}:{offset + 1}"))
        )
        if since is not None and not complete and epoch == newest_epoch and offset > newest:
            rows = await connection.ask("XRANGE", self.key(b"log", topic), "-", "+")
            messages = [stored_message(topic, newest_epoch, row) for row in rows]
        return Recovery(messages, complete, f"{newest_epoch}:{newest}")

    # Members

    def join(self, topic: str, member: str, info: str) -> None:
        self._members.join(topic, member, info)

    def leave(self, topic: str, member: str) -> None:
        self._members.leave(topic, member)

    async def members(self, topic: str) -> dict[str, str]:
        return await self._members.of(topic)

    def channel(self, topic: str) -> bytes:
        """Return the name of the channel of a topic."""
        return self.prefix + topic.encode()

    def key(self, kind: bytes, topic: str) -> bytes:
        """Return the name of what is kept of a topic."""
        return self.prefix + kind + b":" + topic.encode()

    def ask(self, *words: Any) -> asyncio.Future[Any] | None:
        """Send a command, and return the future of its reply; None while the server is away."""
        return None if self._commands is None else self._commands.ask(*words)

    def later(self, work: Awaitable[Any]) -> None:
        """Do some work that stop() cancels."""
        task = asyncio.ensure_future(work)
        self._work.add(task)
        task.add_done_callback(self._work.discard)

    @property
    def down(self) -> EngineDown:
        """What to raise while the server is away."""
        return EngineDown(f"Redis is unavailable: {self._reason}")

    # Counting

    async def counts(self, topics: list[str]) -> dict[str, int]:
        if not self.up or self._commands is None:
            raise self.down
        if self.publishes:
            raise EngineDown("a connection that only publishes cannot count subscribers")
        key = os.urandom(4).hex()
        found = dict.fromkeys(topics, 0)
        answers: list[int] = []
        self._counting[key] = (found, answers)
        try:
            question = json.dumps({"id": key, "reply": self.receiver.name, "topics": topics}).encode()
            nodes = await self._commands.ask("PUBLISH", self.prefix + b"\1ask", question)
            deadline = time.monotonic() + COUNT_SECONDS
            while len(answers) < nodes and (left := deadline - time.monotonic()) > 0:
                self._counted.clear()
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._counted.wait(), left)
        finally:
            del self._counting[key]
        return found

    def _controlled(self, name: bytes, payload: bytes) -> None:
        try:
            fields = json.loads(payload)
            if name == b"\1ask":
                counts = {topic: self.receiver.count(topic) for topic in fields["topics"]}
                answer = json.dumps({"id": fields["id"], "counts": counts}).encode()
                if self._commands is not None:
                    quiet(self._commands.ask("PUBLISH", self.prefix + b"\1" + fields["reply"].encode(), answer))
            elif fields["id"] in self._counting:
                found, answers = self._counting[fields["id"]]
                answers.append(1)
                self._counted.set()
                for topic, count in fields["counts"].items():
                    found[topic] += count
        except (ValueError, KeyError, TypeError, AttributeError) as exc:
            logger.warning("topics: a message between servers that is not valid: %s", exc)


def settle(asked: asyncio.Future[Any], future: Stored) -> None:
    if future.done():
        return
    if asked.cancelled():
        future.cancel()
        return
    error = asked.exception()
    if error is not None:
        future.set_exception(EngineDown(str(error)))
    else:
        reply = asked.result()
        future.set_result(reply.decode() if isinstance(reply, bytes) else None)


def stored_message(topic: str, epoch: str, row: Iterable[Any]) -> Message:
    name, fields = row
    return unpacked(topic, f"{epoch}:{name.partition(b'-')[0].decode()}", fields[1])[0]


def position_of(meta: list[Any]) -> str | None:
    epoch, offset = meta
    return None if epoch is None or offset is None else f"{epoch.decode()}:{int(offset)}"
