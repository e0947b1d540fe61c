"""Commands that wait for a Redis that is away, up to a number, a size and an age."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

from fastserve.topics.engine import EngineDown, Stored

MOST, MOST_SIZE, SECONDS = 10_000, 8 << 20, 10.0


class Command(NamedTuple):
    words: tuple[Any, ...]
    future: Stored
    since: float
    size: int


class Waiting:
    """The commands in their order, each with the future of its position; `reason` tells why the server is away."""

    def __init__(self, reason: Callable[[], Exception | None]) -> None:
        self._reason = reason
        self._commands: deque[Command] = deque()
        self._size = 0

    def __bool__(self) -> bool:
        return bool(self._commands)

    def add(self, words: tuple[Any, ...], future: Stored) -> None:
        """Keep a command for up to SECONDS, or refuse it."""
        self.drop_old()
        size = sum(len(word) for word in words if isinstance(word, bytes))
        if len(self._commands) >= MOST or self._size + size > MOST_SIZE:
            future.set_exception(EngineDown(f"Redis is unavailable, and too many messages wait: {self._reason()}"))
            return
        self._commands.append(Command(words, future, time.monotonic(), size))
        self._size += size
        asyncio.get_running_loop().call_later(SECONDS, self.drop_old)

    def next(self) -> tuple[tuple[Any, ...], Stored]:
        """Remove the first command, and return it with its future."""
        command = self._commands.popleft()
        self._size -= command.size
        return command.words, command.future

    def drop_old(self) -> None:
        now = time.monotonic()
        while self._commands and now - self._commands[0].since >= SECONDS:
            self._drop(f"Redis was unavailable for {SECONDS:.0f} s: {self._reason()}")

    def drop_all(self, why: str) -> None:
        while self._commands:
            self._drop(why)

    def _drop(self, why: str) -> None:
        _, future = self.next()
        if not future.done():
            future.set_exception(EngineDown(why))
