"""The engine between hosts: Redis, or Valkey.

A topic is a channel, and its messages go by pub/sub. A payload that begins with NUL is an envelope: position, a space,
and fields; any other is the message itself, so that other programs can publish. What is kept is in a stream whose ids
are the offsets, with epoch and offset in a hash; a script adds to both and publishes. Both expire together.

connections  One is for pub/sub, one for all else. When one is lost both are closed, and connected again for ever.
             Before anything is published then, all topics are subscribed again, what was missed is read from the
             histories of those that have one, and all others are told a gap. What is published meanwhile waits, up to
             a bound.
members      A hash a topic has, for each member, the nodes that have connections of it, with the time and its info. A
             node renews what it has every RENEW_SECONDS; what is MEMBER_SECONDS old is gone. Joins and leaves go by
             the topic's channel, in a payload that begins with NUL and 1; a node that is asked to tell them compares
             what it knows with the hash as often as it renews.
positions    An offset that jumps has what is missing read from the history before what is newer is delivered; an offset
             that has been is dropped.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import random
import time
from collections import deque
from collections.abc import Iterable
from typing import Any

from fastserve._core.topics.message import Message
from fastserve.topics import presence
from fastserve.topics.engine import Engine, EngineDown, Keep, Receiver, Recovery, Stored
from fastserve.topics.history import parsed
from fastserve.topics.resp import PING_SECONDS, Address, Redis, connect, reader
from fastserve.topics.wire import fields_of, message_of, payload_of, unpacked

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0  # seconds between two attempts to connect
READY_SECONDS = 1.0  # that a start waits for the server
WAITING_MESSAGES, WAITING_SIZE, WAITING_SECONDS = 10_000, 8 << 20, 10.0  # that may wait for it
COUNT_SECONDS = 1.0
FLUSH_SECONDS = 2.0
CHUNK = 1000  # channels of a SUBSCRIBE

SCRIPT = b"""
local epoch = redis.call('HGET', KEYS[1], 'epoch')
if not epoch then
    epoch = ARGV[1]
    redis.call('DEL', KEYS[2])
    redis.call('HSET', KEYS[1], 'epoch', epoch)
end
local offset = redis.call('HINCRBY', KEYS[1], 'offset', 1)
redis.call('XADD', KEYS[2], 'MAXLEN', ARGV[2], offset .. '-1', 'm', ARGV[5])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
redis.call('PEXPIRE', KEYS[2], ARGV[3])
local position = epoch .. ':' .. offset
redis.call('PUBLISH', ARGV[4], '\\0' .. position .. ' ' .. ARGV[5])
return position
"""

RENEW_SECONDS = 10.0
MEMBER_SECONDS = 30.0
MEMBERS_CHUNK = 500  # of a script

NOW = b"""
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local exact = string.format('%.0f', time[1] * 1000000 + time[2]) -- of which JSON would not have all digits
local function tell(what, member, info)
    redis.call('PUBLISH', ARGV[1], '\\0\\1' .. cjson.encode({what, member, info}))
end
"""
# ARGV: channel, milliseconds that they stay, of which some are over, node, and members each with its info
JOIN_SCRIPT = (
    NOW
    + b"""
for at = 5, #ARGV, 2 do
    local known = redis.call('HGET', KEYS[1], ARGV[at])
    local nodes = known and cjson.decode(known) or {}
    local own = nodes[ARGV[4]]
    local since = own and own[2] == ARGV[at + 1] and own[3] or exact
    nodes[ARGV[4]] = {now - ARGV[3], ARGV[at + 1], since}
    redis.call('HSET', KEYS[1], ARGV[at], cjson.encode(nodes))
    if not known then tell('join', ARGV[at], ARGV[at + 1]) end
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
"""
)
LEAVE_SCRIPT = (
    NOW
    + b"""
local known = redis.call('HGET', KEYS[1], ARGV[3])
if not known then return end
local nodes = cjson.decode(known)
local own = nodes[ARGV[2]]
if not own then return end
nodes[ARGV[2]] = nil
if next(nodes) then
    redis.call('HSET', KEYS[1], ARGV[3], cjson.encode(nodes))
else
    redis.call('HDEL', KEYS[1], ARGV[3])
    tell('leave', ARGV[3], own[2])
end
"""
)
MEMBERS_SCRIPT = (
    NOW
    + b"""
local found = {0} -- no text: a member may have the name of a kind of push
local all = redis.call('HGETALL', KEYS[1])
for at = 1, #all, 2 do
    local newest, changed = nil, false
    local nodes = cjson.decode(all[at + 1])
    for node, entry in pairs(nodes) do
        if not newest or tonumber(entry[3]) > tonumber(newest[3]) then newest = entry end
    end
    for node, entry in pairs(nodes) do
        if entry[1] <= now - ARGV[2] then
            nodes[node] = nil
            changed = true
        end
    end
    if next(nodes) then
        if changed then redis.call('HSET', KEYS[1], all[at], cjson.encode(nodes)) end
        found[#found + 1] = all[at]
        found[#found + 1] = newest[2]
    else
        redis.call('HDEL', KEYS[1], all[at])
        tell('leave', all[at], newest[2])
    end
end
return found
"""
)

logger = logging.getLogger("fastserve.error")


class Waiting:
    """A command that waits for the server."""

    def __init__(self, words: tuple[Any, ...], future: asyncio.Future[Any]) -> None:
        self.words = words
        self.future = future
        self.since = time.monotonic()
        self.size = sum(len(word) for word in words if isinstance(word, bytes))


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
        self._waiting: deque[Waiting] = deque()
        self._waiting_size = 0
        self._wanted: dict[str, asyncio.Future[None] | None] = {}  # topics, each with who waits for its subscription
        self._positions: dict[str, str] = {}  # of the newest messages of topics with a history
        self._baselines: dict[str, str] = {}  # where others began: a subscription's history is ahead of its messages
        self._held: dict[str, list[tuple[Message, str | None]]] = {}  # while a topic reads what it has missed
        self._members: dict[str, dict[str, str]] = {}  # those of this node, by topic
        self._present: dict[str, dict[str, str]] = {}  # those of any that the receiver knows, of what it watches
        self._compared: set[str] = set()  # topics of which all are there
        self._looking: dict[str, list[set[str]]] = {}  # who has come or gone since the hash was asked for
        self._renewing: presence.Timer | None = None
        self._counting: dict[str, tuple[dict[str, int], list[int]]] = {}
        self._counted = asyncio.Event()  # an answer has come
        self._work: set[asyncio.Future[Any]] = set()
        self._stopping = False

    # Life

    async def start(self, receiver: Receiver) -> None:
        self.receiver = receiver
        self._task = asyncio.ensure_future(self._run())
        if not self.publishes:
            self._renewing = presence.later(asyncio.get_running_loop(), RENEW_SECONDS, self._renew)
        try:
            await asyncio.wait_for(self._is_up.wait(), READY_SECONDS)
        except asyncio.TimeoutError:
            if self._reason is None:
                self._away(EngineDown("it does not answer"))

    async def stop(self) -> None:
        self._stopping = True
        if self._renewing is not None:
            self._renewing.cancel()
        for topic in self._members:  # who comes back to another server within that time has not left
            self._tell_members(topic, MEMBER_SECONDS - presence.LEAVE_SECONDS)
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
        while self._waiting:
            self._drop(self._waiting.popleft(), "the server stops")

    async def _run(self) -> None:
        pause = FIRST_PAUSE
        while True:
            try:
                await self._connect()
            except (OSError, asyncio.TimeoutError, ValueError) as exc:
                self._close(exc)
                self._away(exc)
                self._drop_old()
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
            logger.error("topics: Redis is away, connecting again: %s", str(reason) or type(reason).__name__)
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
        for topic in self._members:
            self._tell_members(topic)
        self.up = True
        if not first:
            self.reconnects += 1
            logger.info("topics: Redis is back.")
        self._is_up.set()
        self._look()
        self._drop_old()
        while self._waiting and not self._lost.is_set():
            each = self._waiting.popleft()
            self._waiting_size -= each.size
            self._forward(each.words, each.future)

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
            SCRIPT,
            2,
            self._key(b"meta", message.topic),
            self._key(b"log", message.topic),
            os.urandom(4).hex(),
            keep.size,
            max(round(keep.ttl * 1000), 1),
            channel,
            fields_of(message, exclude),
        )

    def _key(self, kind: bytes, topic: str) -> bytes:
        return self.prefix + kind + b":" + topic.encode()

    def _command(self, *words: Any) -> Stored:
        """Send a command once the server is there; return the future of its position."""
        future: Stored = asyncio.get_running_loop().create_future()
        if self.up and self._commands is not None and not self._waiting:
            self._forward(words, future)
            return future
        waiting = Waiting(words, future)
        self._drop_old()
        if len(self._waiting) >= WAITING_MESSAGES or self._waiting_size + waiting.size > WAITING_SIZE:
            future.set_exception(EngineDown(f"Redis is away, and too many messages wait for it: {self._reason}"))
            return future
        self._waiting.append(waiting)
        self._waiting_size += waiting.size
        asyncio.get_running_loop().call_later(WAITING_SECONDS, self._drop_old)
        return future

    def _forward(self, words: tuple[Any, ...], future: Stored) -> None:
        assert self._commands is not None
        asked = self._commands.ask(*words)
        asked.add_done_callback(lambda each: settle(each, future))

    def _drop_old(self) -> None:
        now = time.monotonic()
        while self._waiting and now - self._waiting[0].since >= WAITING_SECONDS:
            self._drop(self._waiting.popleft(), f"Redis was away for {WAITING_SECONDS:.0f} s: {self._reason}")

    def _drop(self, waiting: Waiting, why: str) -> None:
        self._waiting_size -= waiting.size
        if not waiting.future.done():
            waiting.future.set_exception(EngineDown(why))

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
            self._take_presence(topic, payload)
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
                    self._later(self._fill(topic))
                    return
                if epoch != last_epoch:
                    self.receiver.gap(topic)
            self._positions[topic] = message.id
        self.receiver.receive(message, exclude)

    def _later(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._work.add(task)
        task.add_done_callback(self._work.discard)

    async def _fill(self, topic: str) -> None:
        """Deliver what is missing of a topic, and then what has come meanwhile."""
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
            raise EngineDown(f"Redis is away: {self._reason}")
        found = await self._history(topic, since, only_position)
        if topic in self._wanted and found.position is not None and topic not in self._held:
            self._baselines.setdefault(topic, found.position)
        return found

    async def _history(self, topic: str, since: str | None, only_position: bool = False) -> Recovery:
        connection = self._commands
        if connection is None:
            raise EngineDown(f"Redis is away: {self._reason}")
        meta = connection.ask("HMGET", self._key(b"meta", topic), "epoch", "offset")
        if only_position:
            return Recovery([], True, position_of(await meta))
        epoch, offset = parsed(since or "")
        entries = connection.ask("XRANGE", self._key(b"log", topic), f"{offset + 1}-0" if epoch else "-", "+")
        position = position_of(await meta)
        rows = await entries
        if position is None:
            return Recovery([], since is None, None)
        newest_epoch, newest = parsed(position)
        if since is not None and epoch != newest_epoch:
            if epoch:  # what was asked for began in another history
                rows = await connection.ask("XRANGE", self._key(b"log", topic), "-", "+")
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
            rows = await connection.ask("XRANGE", self._key(b"log", topic), "-", "+")
            messages = [stored_message(topic, newest_epoch, row) for row in rows]
        return Recovery(messages, complete, f"{newest_epoch}:{newest}")

    # Members

    def join(self, topic: str, member: str, info: str) -> None:
        self._members.setdefault(topic, {})[member] = info
        self._tell_members(topic, only=member)

    def leave(self, topic: str, member: str) -> None:
        members = self._members[topic]
        del members[member]
        if not members:
            del self._members[topic]
        if self._commands is not None:  # else it leaves by not being renewed
            words = (self._channel(topic), self.receiver.name, member)
            quiet(self._commands.ask("EVAL", LEAVE_SCRIPT, 1, self._key(b"members", topic), *words))

    async def members(self, topic: str) -> dict[str, str]:
        if not self.up or self._commands is None:
            raise EngineDown(f"Redis is away: {self._reason}")
        words = (self._key(b"members", topic), self._channel(topic), round(MEMBER_SECONDS * 1000))
        changed: set[str] = set()
        looking = self._looking.setdefault(topic, [])
        looking.append(changed)
        try:
            found = [each.decode() for each in (await self._commands.ask("EVAL", MEMBERS_SCRIPT, 1, *words))[1:]]
        finally:
            looking[:] = [each for each in looking if each is not changed]
            if not looking:
                self._looking.pop(topic, None)
        members = dict(zip(found[::2], found[1::2], strict=True))
        if topic in self.receiver.watched():
            self._compare(topic, members, changed)
        return members

    def _channel(self, topic: str) -> bytes:
        return self.prefix + topic.encode()

    def _tell_members(self, topic: str, over: float = 0.0, only: str | None = None) -> None:
        """Write who is here; of the time that they stay some is over."""
        if self._commands is None:
            return  # it does so when the server is back
        members = self._members[topic]
        names = [only] if only is not None else list(members)
        first = (self._channel(topic), round(MEMBER_SECONDS * 1000), round(over * 1000), self.receiver.name)
        for at in range(0, len(names), MEMBERS_CHUNK):
            words = [word for name in names[at : at + MEMBERS_CHUNK] for word in (name, members[name])]
            quiet(self._commands.ask("EVAL", JOIN_SCRIPT, 1, self._key(b"members", topic), *first, *words))

    def _renew(self) -> None:
        self._renewing = presence.later(asyncio.get_running_loop(), RENEW_SECONDS, self._renew)
        for topic in self._members:
            self._tell_members(topic)
        watched = set(self.receiver.watched())
        for topic in self._present.keys() - watched:
            del self._present[topic]
        self._compared &= watched
        for topic in watched:
            self._later(self._look_at_members(topic))

    async def _look_at_members(self, topic: str) -> None:
        with contextlib.suppress(OSError):
            await self.members(topic)

    def _compare(self, topic: str, members: dict[str, str], changed: set[str]) -> None:
        """Tell the receiver what it does not know of a topic's members, but for those who have changed meanwhile."""
        known = self._present.setdefault(topic, {})
        told = topic in self._compared
        self._compared.add(topic)
        for member in known.keys() - members.keys() - changed:
            info = known.pop(member)
            if told:
                self.receiver.left(topic, member, info)
        for member in members.keys() - known.keys() - changed:
            known[member] = members[member]
            if told:
                self.receiver.joined(topic, member, members[member])

    def _take_presence(self, topic: str, payload: bytes) -> None:
        try:
            what, member, info = json.loads(payload[2:])
            json.loads(info)
        except (ValueError, TypeError) as exc:
            logger.warning("topics: a message of %r that is not valid: %s", topic, exc)
            return
        if topic not in self.receiver.watched():
            return
        for changed in self._looking.get(topic, ()):
            changed.add(member)
        known = self._present.setdefault(topic, {})
        if what == "join" and member not in known:
            known[member] = info
            self.receiver.joined(topic, member, info)
        elif what == "leave" and (known.pop(member, None) is not None or topic not in self._compared):
            self.receiver.left(topic, member, info)

    # Counting

    async def counts(self, topics: list[str]) -> dict[str, int]:
        if not self.up or self._commands is None:
            raise EngineDown(f"Redis is away: {self._reason}")
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


def quiet(future: asyncio.Future[Any]) -> None:
    """Let nobody hear how it ends."""
    future.add_done_callback(lambda each: each.cancelled() or each.exception())


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
