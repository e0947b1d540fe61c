"""Messages in bytes, for engines: fields with their lengths before them, nothing that is executed when it is read."""

from __future__ import annotations

import functools
import struct

from fastserve._core.topics.message import Message

NONE = 0xFFFF  # in place of a length
LENGTH = struct.Struct(">H")
LONG = struct.Struct(">I")
TEXT, BINARY = b"t", b"b"


def pack(*fields: str | None) -> bytes:
    """Return texts in bytes. Raises ValueError for one that is too long."""
    parts = []
    for field in fields:
        if field is None:
            parts.append(LENGTH.pack(NONE))
            continue
        data = field.encode()
        if len(data) >= NONE:
            raise ValueError(f"a field of {len(data)} bytes is too long for an engine")
        parts += (LENGTH.pack(len(data)), data)
    return b"".join(parts)


@functools.lru_cache(maxsize=256)
def packed(topic: str) -> bytes:
    """Return the fields of a message that has a topic alone."""
    return pack(topic, None, None)


class Reader:
    """Takes bytes apart. Its methods raise ValueError where they are not what pack() makes."""

    def __init__(self, data: bytes, at: int = 0) -> None:
        self.data = data
        self.at = at

    def number(self) -> int:
        found: int = self._unpack(LONG)
        return found

    def optional(self) -> str | None:
        size: int = self._unpack(LENGTH)
        return None if size == NONE else self.take(size).decode()

    def text(self) -> str:
        found = self.optional()
        if found is None:
            raise ValueError("a field is missing")
        return found

    def take(self, size: int) -> bytes:
        found = self.data[self.at : self.at + size]
        if len(found) < size:
            raise ValueError("bytes are missing")
        self.at += size
        return found

    def rest(self) -> bytes:
        return self.take(len(self.data) - self.at)

    def _unpack(self, form: struct.Struct) -> int:
        found: int = form.unpack(self.take(form.size))[0]
        return found

    def message(self) -> Message:
        """Take what pack_message() has made."""
        topic, position, event, size = self.text(), self.optional(), self.optional(), self.number()
        data = self.take(size & 0x7FFFFFFF)
        return Message(topic, data if size >> 31 else data.decode(), position, event)


def pack_message(message: Message) -> bytes:
    data = message.data
    binary = isinstance(data, bytes)
    encoded = data if isinstance(data, bytes) else data.encode()
    plain = message.id is None and message.event is None
    head = packed(message.topic) if plain else pack(message.topic, message.id, message.event)
    return head + LONG.pack(len(encoded) | (binary << 31)) + encoded


# Payloads of engines that others may publish to


def payload_of(message: Message, exclude: str | None) -> bytes:
    """Return the text of a message where that says everything, else an envelope: NUL, position, a space, fields."""
    data = message.data
    if isinstance(data, str) and exclude is None and message.event is None and not data.startswith("\0"):
        return data.encode()
    return b"\0 " + fields_of(message, exclude)


def fields_of(message: Message, exclude: str | None) -> bytes:
    data = message.data
    kind, encoded = (BINARY, data) if isinstance(data, bytes) else (TEXT, data.encode())
    return pack(exclude, message.event) + kind + encoded


def message_of(topic: str, payload: bytes) -> tuple[Message, str | None]:
    """Return the message in a payload, and whom it is not for. Raises ValueError."""
    if payload[:1] != b"\0":
        try:
            return Message(topic, payload.decode()), None
        except UnicodeDecodeError:
            return Message(topic, payload), None
    head, space, fields = payload[1:].partition(b" ")
    if not space:
        raise ValueError("an envelope without a position")
    return unpacked(topic, head.decode() or None, fields)


def unpacked(topic: str, position: str | None, fields: bytes) -> tuple[Message, str | None]:
    parts = Reader(fields)
    exclude, event = parts.optional(), parts.optional()
    kind, data = parts.take(1), parts.rest()
    return Message(topic, data if kind == BINARY else data.decode(), position, event), exclude
