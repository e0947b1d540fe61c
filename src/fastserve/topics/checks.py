"""What applications may give: names of topics, positions, the size of messages."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from typing import Any, SupportsIndex

from fastserve._core.topics.message import Message
from fastserve.topics.engine import Keep

LONGEST_NAME = 255  # bytes
MOST_KEPT = 100_000  # messages of a topic
TTL = 300.0  # seconds


def names_of(topics: str | Iterable[str]) -> tuple[str, ...]:
    """Return the names of topics, each once. Raises TypeError, ValueError."""
    if not isinstance(topics, Iterable):
        raise TypeError(f"expected a topic or several, not {type(topics).__name__}")
    given = (topics,) if isinstance(topics, str) else topics
    names = tuple(dict.fromkeys([name_of(each) for each in given]))
    if not names:
        raise ValueError("expected at least one topic")
    return names


def name_of(given: Any, what: str = "a topic") -> str:
    """Return a name as a plain string: str() of an Enum's member would be what the member is called."""
    if not isinstance(given, str):
        raise TypeError(f"{what} is a string, not {type(given).__name__}")
    name = str.__str__(given)
    size = len(name.encode())  # ValueError for what is not Unicode
    if not 1 <= size <= LONGEST_NAME:
        raise ValueError(f"the name of {what} has 1 to {LONGEST_NAME} bytes, not {size}")
    if not name.isprintable() and any(ord(each) < 32 or ord(each) == 127 for each in name):
        raise ValueError(f"the name of {what} has no control characters: {name!r}")
    return name


def keep_of(history: SupportsIndex, ttl: float | None) -> Keep | None:
    """Return what is to be kept, None for nothing. Raises TypeError, ValueError."""
    try:
        history = operator.index(history)  # numpy's numbers as well
    except TypeError:
        raise TypeError(f"history: expected a number of messages, not {history!r}") from None
    if not (ttl is None or isinstance(ttl, int | float)):
        raise TypeError(f"ttl: expected a number of seconds, not {ttl!r}")
    if not 0 <= history <= MOST_KEPT:
        raise ValueError(f"history: expected 0 to {MOST_KEPT} messages, not {history!r}")
    if history == 0:
        if ttl is not None:
            raise ValueError("ttl without history")
        return None
    seconds = TTL if ttl is None else ttl
    if not 0 < seconds <= 1e9:
        raise ValueError(f"ttl: expected a positive number of seconds, not {ttl!r}")
    return Keep(history, float(seconds))


def messages_of(topics: str | Iterable[str], data: Any, event: str | None, max_size: int) -> list[Message]:
    """Return the messages to publish. Raises TypeError, ValueError."""
    messages = [Message(name, data, None, event) for name in names_of(topics)]
    check_size(messages[0], max_size)
    return messages


def check_size(message: Message, most: int) -> None:
    if message.size > most:
        raise ValueError(f"a message has at most {most} bytes, not {message.size}")
