"""Subscriptions of connections: by the core where it serves them, else by `send`, as any ASGI server takes messages."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from fastserve._core.topics.message import Message
from fastserve._core.topics.subscription import Subscription as CoreSubscription
from fastserve.topics.checks import name_of, names_of
from fastserve.topics.engine import EngineDown, Recovery
from fastserve.topics.history import is_after
from fastserve.topics.node import Known, Node, here, logger
from fastserve.topics.presence import text_of

EXTENSION = "fastserve.topics"
MESSAGE = "fastserve.topics.subscribe"
FORMATS = ("data", "json")
POLICIES = ("close", "oldest", "latest")
SLOW_CODE, SLOW_REASON = 1013, "slow consumer"
# Starlette's, whose send() takes nothing but the body of a response.
CLOSED_MIDDLEWARE = "starlette.middleware.base"
DEEPEST = 20  # functions around send() that are looked through

Send = Callable[[Any], Awaitable[None]]
told_of_memory: list[bool] = []  # not empty once it has been logged


class Subscription:
    """What topics.subscribe() returns: it ends with its connection, or by cancel()."""

    __slots__ = ("_inner", "_key", "_member", "_node", "position", "recovered", "topics")

    recovered: bool  # whether nothing is missing since the position that was asked for; True if none was
    position: str | None  # of the newest message at the start, None without a history or with several topics

    def __init__(self, node: Node, names: tuple[str, ...]) -> None:
        self.topics = names
        self.recovered = True
        self.position = None
        self._node = node
        self._key: Any = None  # what publish(exclude=) may know it by
        self._member: str | None = None  # whose connection it is
        self._inner: CoreSubscription | SendSubscription | None = None

    @property
    def active(self) -> bool:
        """Whether its connection still gets messages."""
        return self._inner is not None and self._inner.active

    @property
    def token(self) -> str | None:
        """What publish(exclude=) needs to know of it, None once it has ended."""
        number = 0 if self._inner is None else self._inner.number
        return f"{self._node.name}:{number}" if number else None

    def cancel(self) -> None:
        """End the subscription; may be called from any thread, and more than once."""
        if self._inner is None:
            return
        if asyncio._get_running_loop() is self._node.loop:
            self._inner.cancel()
        else:
            with contextlib.suppress(RuntimeError):  # its loop has ended, and so has it
                self._node.loop.call_soon_threadsafe(self._inner.cancel)

    async def by_core(self, send: Send, options: dict[str, Any], strict: bool = False) -> bool:
        """Subscribe what `send` sends to by the core. Return whether it did; raises what it refuses, if `strict`."""
        if is_closed(send):
            return False
        core = CoreSubscription(self._node.hub, self.topics, recovers=True, **options)
        try:
            await send({"type": MESSAGE, "subscription": core})
        except (RuntimeError, TypeError, KeyError, AssertionError):
            if strict or core.began:
                raise
        if core.began:
            self._inner = core
        return core.began

    def by_send(self, send: Send, is_http: bool, key: Any, options: dict[str, Any]) -> None:
        """Subscribe it by a task that sends the messages as the application would."""
        tell_of_memory()
        known = self._node.by_send.get(key)
        number = self._node.hub.new_number() if known is None else known.number
        self._inner = SendSubscription(self._node, self.topics, send, is_http, number, self._ended, options)

    def known_by(self, key: Any) -> None:
        """Let publish(exclude=key) know it."""
        inner = self._inner
        if inner is None or not inner.active:
            return
        if isinstance(inner, CoreSubscription):
            connection = inner.connection
            if connection is not None and connection.known_by(key):
                self._node.by_send[key] = connection
                return
            inner.note_end(self._ended)
        known = self._node.by_send.get(key)
        if not isinstance(known, Known):
            known = self._node.by_send[key] = Known(inner.number)
        known.subscriptions += 1
        self._key = key

    def join(self, member: str | None, info: str) -> None:
        """Count its connection as one of a member."""
        if member is not None and self.active:
            self._member = member = str.__str__(member)
            if isinstance(self._inner, CoreSubscription):
                self._inner.note_end(self._ended)
            for name in self.topics:
                self._node.presence.enter(name, member, info)

    def _ended(self) -> None:
        if self._member is not None:
            member, self._member = self._member, None
            for name in self.topics:
                self._node.presence.exit(name, member)
        if self._key is not None:
            known = self._node.by_send.get(self._key)
            if isinstance(known, Known):
                known.subscriptions -= 1
                if not known.subscriptions:
                    del self._node.by_send[self._key]
            self._key = None

    async def recover(self, since: Mapping[str, str | None]) -> None:
        """Deliver what the topics had since these positions, and from then on what comes."""
        node = self._node
        await node.carried(self.topics)
        for name in self.topics:
            position = since.get(name)
            try:
                found = await node.engine.history(name, position, only_position=position is None)
            except EngineDown:
                found = Recovery([], position is None, None)
            messages = found.messages if position is not None else []
            self.recovered = self.recovered and found.complete
            if len(self.topics) == 1:
                self.position = found.position
            if self._inner is not None:
                after = after_position(found.position) if messages or position else None
                self._inner.recovered(name, messages, found.complete, after)


def after_position(newest: str | None) -> Callable[[Message], bool] | None:
    return None if newest is None else lambda message: is_after(message.id, newest)


def is_closed(send: Any) -> bool:
    """Whether a middleware is around that fails at messages which it does not know."""
    unseen = [send]
    for _ in range(DEEPEST):
        if not unseen:
            break
        each = unseen.pop()
        if getattr(each, "__module__", None) == CLOSED_MIDDLEWARE:
            return True
        for cell in getattr(each, "__closure__", None) or ():
            with contextlib.suppress(ValueError):  # an empty cell
                if callable(cell.cell_contents):
                    unseen.append(cell.cell_contents)
    return False


def tell_of_memory() -> None:
    if not told_of_memory:
        told_of_memory.append(True)
        logger.info("Topics are delivered by send(): the server, or a middleware, does not take fastserve's extension.")


class SendSubscription:
    """A subscription whose messages are sent by a task with the application's send()."""

    def __init__(
        self,
        node: Node,
        names: tuple[str, ...],
        send: Send,
        is_http: bool,
        number: int,
        end_noted: Callable[[], None],
        options: dict[str, Any],
    ) -> None:
        self.node = node
        self.names = names
        self.send = send
        self.is_http = is_http
        self.end_noted = end_noted
        self.slow = options.get("slow", "close")
        self.gap: Message | None = options.get("gap")
        self.in_json = options.get("in_json", False)
        self.keepalive: float = options.get("keepalive", 0)
        self.number = number
        self.active = True
        self.waiting: deque[Message] = deque()
        self.size = 0
        self.held: dict[str, list[Message | None]] = {name: [] for name in names}
        self.after: dict[str, Callable[[Message], bool]] = {}  # whether a message was not in the history
        self.listeners = {name: self._listener(name) for name in names}
        self.wake = asyncio.Event()
        for name, listener in self.listeners.items():
            node.hub.listen(name, listener)
        self.task = asyncio.ensure_future(self._run())

    def _listener(self, name: str) -> Callable[[Message | None, int], None]:
        def listen(message: Message | None, exclude: int) -> None:
            if exclude == self.number:
                return
            if name in self.held:
                self.held[name].append(message)
            elif message is None:
                self.tell_gap()
            elif name not in self.after or self.after[name](message):
                self.push(message)

        return listen

    def recovered(
        self, name: str, messages: list[Message], complete: bool, after: Callable[[Message], bool] | None = None
    ) -> None:
        held = self.held.pop(name, [])
        if after is not None:
            self.after[name] = after
        if not complete:
            self.tell_gap()
        for message in messages:
            self.push(message)
        for each in held:
            if each is None:
                self.tell_gap()
            elif after is None or after(each):
                self.push(each)

    def tell_gap(self) -> None:
        if self.gap is not None:
            self.push(self.gap)

    def push(self, message: Message) -> None:
        hub = self.node.hub
        if not self.active:
            return
        if self.slow == "latest":
            self.waiting.clear()
            self.size = 0
        if self.waiting and (len(self.waiting) >= hub.queue or self.size + message.size > hub.queue_size):
            if self.slow == "close":
                self.waiting.clear()
                self.cancel()
                self.closing = asyncio.ensure_future(self._close())
                return
            while self.waiting and (len(self.waiting) >= hub.queue - 1 or self.size + message.size > hub.queue_size):
                self.size -= self.waiting.popleft().size
            if self.gap is not None:
                self.waiting.appendleft(self.gap)
                self.size += self.gap.size
        self.waiting.append(message)
        self.size += message.size
        self.wake.set()

    async def _run(self) -> None:
        try:
            while True:
                if not self.waiting:
                    self.wake.clear()
                    try:
                        await asyncio.wait_for(self.wake.wait(), self.keepalive or None)
                    except asyncio.TimeoutError:
                        await self.send({"type": "http.response.body", "body": b":\n\n", "more_body": True})
                    continue
                message = self.waiting.popleft()
                self.size -= message.size
                await self.send(self._sent(message))
        except asyncio.CancelledError:
            raise
        except Exception:
            self.cancel()  # the connection is gone

    def _sent(self, message: Message) -> dict[str, Any]:
        if self.in_json and message is not self.gap:
            message = message.labelled()
        if self.is_http:
            return {"type": "http.response.body", "body": message.event_bytes(), "more_body": True}
        kind = "text" if isinstance(message.data, str) else "bytes"
        return {"type": "websocket.send", kind: message.data}

    async def _close(self) -> None:
        message: dict[str, Any] = {"type": "http.response.body", "body": b""}
        if not self.is_http:
            message = {"type": "websocket.close", "code": SLOW_CODE, "reason": SLOW_REASON}
        with contextlib.suppress(Exception):
            await self.send(message)

    def cancel(self) -> None:
        if not self.active:
            return
        self.active = False
        for name, listener in self.listeners.items():
            self.node.hub.unlisten(name, listener)
        if self.task is not asyncio.current_task():
            self.task.cancel()
        self.end_noted()


def gap_message(gap: str | bytes | None, names: tuple[str, ...]) -> Message | None:
    return None if gap is None else Message(names[0], gap, None, "gap")


def options_of(
    names: tuple[str, ...], slow: str, gap: str | bytes | None, form: str, keepalive: float | None
) -> dict[str, Any]:
    if slow not in POLICIES:
        raise ValueError(f"slow: expected {', '.join(POLICIES)}, not {slow!r}")
    if form not in FORMATS:
        raise ValueError(f"format: expected {', '.join(FORMATS)}, not {form!r}")
    if keepalive is not None and not 0 <= keepalive < 1e6:
        raise ValueError(f"keepalive: expected a number of seconds, not {keepalive!r}")
    return {
        "slow": slow,
        "gap": gap_message(gap, names),
        "in_json": form == "json",
        "keepalive": float(keepalive or 0),
    }


def member_of(node: Node, member: str | None, info: Mapping[str, Any] | None) -> str:
    """Return what a member is known by, in JSON. Raises TypeError, ValueError, Unsupported."""
    if member is None:
        if info is not None:
            raise ValueError("info without member")
        return ""
    name_of(member, "a member")
    text = text_of(info)
    node.check_presence()
    return text


def positions_of(names: tuple[str, ...], since: str | Mapping[str, str] | None) -> dict[str, str | None]:
    if not since:
        return {}
    if isinstance(since, str):
        if len(names) > 1:
            raise ValueError("since: with several topics, expected a mapping of topics to positions")
        return {names[0]: since}
    return {name: position or None for name, position in since.items()}


async def subscribe(
    target: Any,
    topics: str | Iterable[str],
    *,
    since: str | Mapping[str, str] | None = None,
    slow: str = "close",
    gap: str | bytes | None = None,
    format: str = "data",  # noqa: A002  # the name that its callers read
    member: str | None = None,
    info: Mapping[str, Any] | None = None,
) -> Subscription:
    """Send a connection every message that is published to `topics`, a name or several, until it closes.

    `target` is an accepted WebSocket: one of Starlette or FastAPI, a consumer of Channels, or the `send` of an ASGI
    application. `since` is a position: what the topic's history has after it is sent first (for several topics a
    mapping of names to positions). The message `gap` is sent in place of what is no longer kept. `slow` says what
    happens to a client that does not read once 256 messages or 1 MiB wait for it: "close" closes it with 1013, "oldest"
    drops its oldest messages, "latest" keeps only the newest. With `format="json"` each message is an object of topic,
    id and data. With `member`, an id of the application's choice, the connection belongs to that member of the topics,
    and `info`, what JSON has, is what others learn about it: a member joins with its first connection, and leaves 5
    seconds after its last. Raises TypeError and ValueError, what send() raises, and Unsupported for `member` if the
    engine does not support members.
    """
    names = names_of(topics)
    options = options_of(names, slow, gap, format, None)
    positions = positions_of(names, since)
    scope = getattr(target, "scope", None)
    send = target if scope is None else getattr(target, "_send", None) or getattr(target, "base_send", None)
    if not callable(send):
        raise TypeError(f"expected a WebSocket or an ASGI send(), not {type(target).__name__}")
    announced = None if scope is None else EXTENSION in (scope.get("extensions") or {})
    node = here()
    known_by = member_of(node, member, info)
    await node.started()
    subscription = Subscription(node, names)
    key = send if scope is None else id(scope)
    if announced is False or not await subscription.by_core(send, options, announced is True):
        subscription.by_send(send, False, key, options)
        watch_receive(target, subscription)
    subscription.known_by(key)
    subscription.join(member, known_by)
    await subscription.recover(positions)
    return subscription


def watch_receive(socket: Any, subscription: Subscription) -> None:
    """End a subscription when its WebSocket of Starlette hears that the client is gone."""
    receive = getattr(socket, "_receive", None)
    if receive is None:
        return

    async def watched() -> Any:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            subscription.cancel()
        return message

    socket._receive = watched


async def stream(
    scope: Any,
    receive: Any,
    send: Any,
    topics: str | Iterable[str],
    *,
    since: str | Mapping[str, str] | None = None,
    slow: str = "close",
    gap: str | bytes | None = None,
    format: str = "data",  # noqa: A002
    keepalive: float | None = 15.0,
    member: str | None = None,
    info: Mapping[str, Any] | None = None,
    status: int = 200,
    headers: Iterable[tuple[bytes, bytes]] = (),
) -> None:
    """Respond to an HTTP request with the messages of `topics` as server-sent events, until the client leaves.

    The first three arguments are those of an ASGI application, most others those of subscribe(). A client that comes
    back with Last-Event-ID gets what it has missed, as far as the topic has a history; a stream of several topics does
    not, because its last position is that of one of them. A comment is sent after `keepalive` seconds without a
    message. The response to HEAD is the head alone.
    """
    names = names_of(topics)
    headers = tuple(headers)
    if since is None and len(names) == 1:
        since = last_event_id(scope)
    options = options_of(names, slow, gap, format, keepalive)
    positions = positions_of(names, since)
    given = {name.lower() for name, _ in headers}
    fields = [(name, value) for name, value in STREAM_HEADERS if name not in given]
    node = here()
    known_by = member_of(node, member, info)
    await node.started()
    await send({"type": "http.response.start", "status": status, "headers": [*fields, *headers]})
    if scope.get("method") == "HEAD":
        await send({"type": "http.response.body", "body": b""})
        return
    subscription = Subscription(node, names)
    announced = EXTENSION in (scope.get("extensions") or {})
    opened = not announced or not await subscription.by_core(send, options)
    try:
        if opened:  # a middleware may hold the head until there is some body
            await send(COMMENT)
            if not announced or not await subscription.by_core(send, options):
                subscription.by_send(send, True, None, options)
        subscription.join(member, known_by)
        await subscription.recover(positions)
        if not opened:
            await send(COMMENT)
        while (await receive())["type"] != "http.disconnect":
            pass
    finally:
        subscription.cancel()


COMMENT = {"type": "http.response.body", "body": b":\n\n", "more_body": True}
STREAM_HEADERS = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # nginx
)


def last_event_id(scope: Any) -> str | None:
    for name, value in scope.get("headers", ()):
        if name.lower() == b"last-event-id":
            found: str = value.decode("utf-8", "replace")
            return found
    return None
