"""The engine over NATS, by nats-py: for live messages, without histories.

A topic is a subject: its name after the prefix, with what a subject cannot have as %XX. A payload is as with Redis. The
library connects again for ever, subscribes again, and then sends what was published until then; subscribers are told a
gap, before the first message of their topic that comes by the new connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
from collections import deque
from typing import Any

from fastserve._core.topics.message import Message
from fastserve._version import requirement
from fastserve.topics.engine import Engine, EngineDown, Keep, Receiver, Recovery, Stored
from fastserve.topics.wire import message_of, payload_of

READY_SECONDS = 1.0  # that a start waits for the server
COUNT_SECONDS = 0.25  # for the answers of all servers: nobody knows how many there are
STOP_SECONDS = 2.0
CANCEL_SECONDS = 0.2  # until a task is cancelled again
WAITING_MESSAGES, WAITING_SIZE = 10_000, 8 << 20
UNSAFE = re.compile(rb"[^\w:/~+=.-]")

logger = logging.getLogger("fastserve.error")


def subject_of(name: str) -> str:
    """Return the subject of a name, which may be anything."""
    safe = UNSAFE.sub(lambda match: b"%%%02X" % match[0][0], name.encode()).decode("ascii")
    return re.sub(r"(?:^|(?<=\.))\.|\.$", "%2E", safe)


class NatsEngine(Engine):
    """Carries messages by the NATS server at a URL."""

    features = frozenset({"processes", "hosts"})

    def __init__(self, url: str, prefix: str, max_size: int) -> None:
        try:
            from nats.aio.client import Client
        except ImportError:
            extra = requirement("nats")
            raise EngineDown(f"--topics nats://... needs the package nats-py: install it, or {extra}.") from None
        self.url = url
        self.prefix = prefix
        self.max_size = max_size
        self.receiver: Receiver
        self.up = asyncio.Event()
        self._client: Any = Client()
        self._subscriptions: dict[str, Any] = {}  # those of the library, by topic
        self._missed: set[str] = set()  # topics whose subscribers are to be told a gap once the server delivers again
        self._wanted: dict[str, asyncio.Future[None]] = {}
        self._waiting: deque[tuple[str, bytes, Stored]] = deque()
        self._waiting_size = 0
        self._more = asyncio.Event()
        self._tasks: list[asyncio.Future[Any]] = []
        self._told_of_histories = False

    async def start(self, receiver: Receiver) -> None:
        self.receiver = receiver
        self._tasks = [asyncio.ensure_future(self._run())]
        try:
            await asyncio.wait_for(self.up.wait(), READY_SECONDS)
        except asyncio.TimeoutError:
            if self._tasks[0].done():
                raise EngineDown(f"NATS: {self._tasks[0].exception()}") from None
            logger.error("topics: NATS is unavailable, reconnecting")

    async def _run(self) -> None:
        await self._client.connect(
            self.url,
            name="fastserve",
            max_reconnect_attempts=-1,
            reconnect_time_wait=0.5,
            ping_interval=5,
            max_outstanding_pings=1,
            pending_size=WAITING_SIZE,
            disconnected_cb=self._lost,
            reconnected_cb=self._back,
            error_cb=self._failed,
        )
        await self._client.subscribe(subject_of(self.prefix + "\1ask"), cb=self._asked)
        self.up.set()
        while True:
            while self._waiting:
                subject, payload, future = self._waiting.popleft()
                self._waiting_size -= len(payload)
                try:
                    await self._client.publish(subject, payload)
                except Exception as exc:  # of the library: its buffer is full, the payload too large for the server
                    if not future.done():
                        future.set_exception(EngineDown(f"NATS: {str(exc) or type(exc).__name__}"))
                else:
                    if not future.done():
                        future.set_result(None)
            self._more.clear()
            await self._more.wait()

    async def stop(self) -> None:
        with contextlib.suppress(Exception):
            if self.up.is_set():
                while self._waiting:  # noqa: ASYNC110  # the task that sends takes them
                    await asyncio.sleep(0)
                await self._client.flush(STOP_SECONDS)
        running = set(self._tasks)
        while running:  # the wait_for() of Python up to 3.11, in the library, can lose a cancellation
            for task in running:
                task.cancel()
            _, running = await asyncio.wait(running, timeout=CANCEL_SECONDS)
        with contextlib.suppress(Exception):
            await self._client.close()
        for _, _, future in self._waiting:
            if not future.done():
                future.set_exception(EngineDown("NATS is unavailable"))

    async def _lost(self) -> None:
        if self._client.is_closed:
            return
        self._missed.update(self._subscriptions)  # again if it is lost before _back() is called
        if self.up.is_set():
            self.up.clear()
            logger.error("topics: NATS is unavailable, reconnecting: %s", self._client.last_error or "it has closed")

    async def _back(self) -> None:
        self.up.set()
        logger.info("topics: NATS is back.")
        for topic in list(self._subscriptions):
            self._tell_gap(topic)

    def _tell_gap(self, topic: str) -> None:
        if topic in self._missed:
            self._missed.discard(topic)
            self.receiver.gap(topic)

    async def _failed(self, exc: Exception) -> None:
        """The library tells each attempt that fails; the state is logged already."""

    def publish(self, message: Message, keep: Keep | None, exclude: str | None) -> Stored:
        future: Stored = asyncio.get_running_loop().create_future()
        payload = payload_of(message, exclude)
        if len(self._waiting) >= WAITING_MESSAGES or self._waiting_size + len(payload) > WAITING_SIZE:
            future.set_exception(EngineDown("NATS is unavailable, and too many messages wait"))
            return future
        if keep is not None and not self._told_of_histories:
            self._told_of_histories = True
            logger.warning("topics: NATS keeps no histories, messages that have one are sent without.")
        self._waiting.append((subject_of(self.prefix + message.topic), payload, future))
        self._waiting_size += len(payload)
        self._more.set()
        return future

    def subscribe(self, topic: str) -> asyncio.Future[None]:
        work = self._wanted[topic] = asyncio.ensure_future(self._subscribe(topic, self._wanted.get(topic)))
        return work

    async def _subscribe(self, topic: str, before: asyncio.Future[None] | None) -> None:
        if before is not None:
            await asyncio.wait([before])
        if not self.up.is_set():  # its subscribers may go on without it, and others publish before it is there
            self._missed.add(topic)
        await self.up.wait()

        async def take(found: Any) -> None:
            if len(found.data) > self.max_size + 4096:
                return
            try:
                message, exclude = message_of(topic, found.data)
            except ValueError as exc:
                logger.warning("topics: a message of %r that is not valid: %s", topic, exc)
            else:
                if self._client.is_connected:  # else the message is of the connection that is lost
                    self._tell_gap(topic)
                self.receiver.receive(message, exclude)

        self._subscriptions[topic] = await self._client.subscribe(subject_of(self.prefix + topic), cb=take)
        await self._client.flush()
        self._tell_gap(topic)

    def unsubscribe(self, topic: str) -> None:
        work = self._wanted.get(topic)
        if work is not None:
            self._wanted[topic] = asyncio.ensure_future(self._unsubscribe(topic, work))

    async def _unsubscribe(self, topic: str, before: asyncio.Future[None]) -> None:
        await asyncio.wait([before])
        self._missed.discard(topic)
        subscription = self._subscriptions.pop(topic, None)
        if subscription is not None:
            with contextlib.suppress(Exception):  # the library's connection is closed
                await subscription.unsubscribe()
        if self._wanted.get(topic) is asyncio.current_task():
            del self._wanted[topic]

    async def history(self, topic: str, since: str | None, only_position: bool = False) -> Recovery:
        return Recovery([], since is None, None)

    async def counts(self, topics: list[str]) -> dict[str, int]:
        if not self.up.is_set():
            raise EngineDown("NATS is unavailable")
        found = dict.fromkeys(topics, 0)
        inbox = self._client.new_inbox()
        answers = await self._client.subscribe(inbox)
        await self._client.publish(subject_of(self.prefix + "\1ask"), json.dumps(topics).encode(), reply=inbox)
        end = asyncio.get_running_loop().time() + COUNT_SECONDS
        with contextlib.suppress(Exception):  # the library's TimeoutError
            while (left := end - asyncio.get_running_loop().time()) > 0:
                answer = await answers.next_msg(timeout=left)
                for topic, count in json.loads(answer.data).items():
                    found[topic] += count
        await answers.unsubscribe()
        return found

    async def _asked(self, question: Any) -> None:
        with contextlib.suppress(ValueError, TypeError):
            counts = {topic: self.receiver.count(topic) for topic in json.loads(question.data)}
            await question.respond(json.dumps(counts).encode())
