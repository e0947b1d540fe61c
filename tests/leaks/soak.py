"""Clients that hold conversations with a server, many at once, and see that each response is there."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from typing import NamedTuple

from leaks.conversations import Conversation, Step, conversation
from load import RESETS

AT_ONCE = 40
PATIENCE = 60.0  # seconds for any conversation


class Count(NamedTuple):
    requests: int
    conversations: int
    resets: int


class Talk:
    """One client of one conversation."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.address = address
        self.reader: asyncio.StreamReader
        self.writer: asyncio.StreamWriter
        self.left = -1  # bytes to send before the reset
        self.requests = 0  # that were sent as a whole

    @property
    def sock(self) -> socket.socket:
        sock: socket.socket = self.writer.get_extra_info("socket")
        return sock

    async def run(self, what: Conversation) -> bool:
        """Hold the conversation; return whether it ended in a reset of ours."""
        self.reader, self.writer = await asyncio.open_connection(*self.address)
        self.left = what.cut
        try:
            for step in what.steps:
                if not await self.take(step, what.pieces):
                    return True
            await self.end(what.end)
            return what.end == "reset"
        finally:
            self.writer.transport.abort() if what.end == "reset" or what.cut >= 0 else self.writer.close()

    async def take(self, step: Step, pieces: int) -> bool:
        """Send the bytes of a step and wait for what it says; False where the reset is due."""
        size = max(len(step.data) // pieces, 1)
        for at in range(0, len(step.data), size):
            piece = step.data[at : at + size]
            if 0 <= self.left < len(piece):
                self.writer.write(piece[: self.left])
                self.linger()
                return False
            self.left -= len(piece) if self.left >= 0 else 0
            self.writer.write(piece)
            if pieces > 1:
                await asyncio.sleep(0)
        self.requests += len(step.methods) or not step.interim
        if step.interim:
            head = await self.reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 100 "), head
        for method in step.methods:
            await self.response(method)
        if step.take:
            await self.reader.read(step.take)
        return True

    async def response(self, method: str) -> None:
        head = await self.reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 "), head
        if method == "HEAD":
            return
        lower = head.lower()
        if b"content-length: " in lower:
            await self.reader.readexactly(int(lower.split(b"content-length: ")[1].split(b"\r\n")[0]))
            return
        assert b"transfer-encoding: chunked" in lower, head
        while size := int(await self.reader.readuntil(b"\r\n"), 16):
            await self.reader.readexactly(size + 2)
        await self.reader.readexactly(2)

    def linger(self) -> None:
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESETS)

    async def end(self, how: str) -> None:
        if how == "reset":
            self.linger()
        elif how == "half-close":
            self.writer.write_eof()
            await self.reader.read()
        elif how == "server":
            await self.reader.read()


async def hold(address: tuple[str, int], numbers: Iterator[int], seed: int, wanted: int, found: list[int]) -> None:
    for number in numbers:
        if found[0] >= wanted:
            return
        what = conversation(seed, number)
        talk = Talk(address)
        try:
            was_reset = await asyncio.wait_for(talk.run(what), PATIENCE)
        except Exception as error:
            raise AssertionError(f"conversation {number} of seed {seed}: {error!r}: {what}") from error
        found[0] += talk.requests
        found[1] += 1
        found[2] += was_reset


async def soak(address: tuple[str, int], seed: int, first: int, requests: int) -> Count:
    """Hold conversations from number `first` on until they had this many requests in all."""
    numbers = iter(range(first, 1 << 62))
    found = [0, 0, 0]
    await asyncio.gather(*(hold(address, numbers, seed, requests, found) for _ in range(AT_ONCE)))
    return Count(*found)
