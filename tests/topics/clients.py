"""Clients of rooms: WebSockets and event streams in raw bytes, with what they got."""

from __future__ import annotations

import contextlib
import json
import re
from typing import Any

import support
from core.frames import CLOSE, FIN, PING, PONG, frame, text
from protocol.wire import Wire
from ws import Frame, Socket, upgrade

opened: list[Wire] = []  # by a test


def close_all() -> None:
    """Close what a test has opened."""
    while opened:
        opened.pop().close()


class Chat:
    """A WebSocket in a room."""

    def __init__(self, running: Any, path: str, *fields: str) -> None:
        self.socket = Socket(running.connect())
        opened.append(self.socket)
        self.socket.send(upgrade(path, *fields))  # of any server, whose response is not looked at closely
        assert self.socket.file.readline().startswith(b"HTTP/1.1 101")
        while self.socket.file.readline() != b"\r\n":
            pass

    def say(self, words: str) -> None:
        self.socket.send(text(words))

    def frame(self) -> Frame | None:
        """Wait for the next frame; pings, which come to those that wait for long, are answered."""
        while (found := self.socket.frame()) is not None and found[0] == PING:
            with contextlib.suppress(OSError):
                self.socket.send(frame(FIN | PONG, found[1]))
        return found

    def hear(self) -> str:
        """Wait for the next message."""
        found = self.frame()
        assert found is not None, "the WebSocket has ended"
        opcode, data = found
        assert opcode != CLOSE, f"closed with {data!r}"
        return data.decode()

    def hear_all(self, count: int) -> list[str]:
        return [self.hear() for _ in range(count)]

    def hear_json(self) -> Any:
        return json.loads(self.hear())

    def closed(self) -> int:
        """Wait for the close frame; return its code."""
        found = self.frame()
        assert found is not None
        assert found[0] == CLOSE, found
        return int.from_bytes(found[1][:2], "big")

    def leave(self) -> None:
        self.socket.close()


class Stream:
    """An event stream."""

    def __init__(self, running: Any, path: str, *fields: str) -> None:
        self.wire = Wire(running.connect())
        opened.append(self.wire)
        lines = [f"GET {path} HTTP/1.1", "Host: x", *fields]
        self.wire.send(("\r\n".join(lines) + "\r\n\r\n").encode())
        head = self._until(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        self.head = head.decode().lower()
        self.text = ""

    def _until(self, end: bytes) -> bytes:
        data = b""
        while not data.endswith(end):
            byte = self.wire.file.read(1)
            assert byte, f"ended after {data!r}"
            data += byte
        return data

    def next_block(self) -> str:
        """Wait for an event or a comment."""
        while "\n\n" not in self.text:
            size = int(self._until(b"\r\n"), 16)
            assert size, "the stream has ended"
            self.text += self.wire.file.read(size).decode()
            assert self._until(b"\r\n") == b"\r\n"
        block, _, self.text = self.text.partition("\n\n")
        return block

    def event(self) -> dict[str, str]:
        """Wait for the next event, as its fields."""
        block = self.next_block()
        while block.startswith(":"):
            block = self.next_block()
        return dict(re.findall(r"(?m)^(\w+): ?(.*)$", block))

    def leave(self) -> None:
        self.wire.close()


def post(running: support.Running | support.Command, path: str, body: str, *fields: str) -> bytes:
    """POST and return the response."""
    data = body.encode()
    lines = [f"POST {path} HTTP/1.1", "Host: x", "Connection: close", f"Content-Length: {len(data)}", *fields]
    return running.request(("\r\n".join(lines) + "\r\n\r\n").encode() + data)
