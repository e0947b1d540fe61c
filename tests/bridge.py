"""From clients of WebSockets over HTTP/1.1 to a server of HTTP/2: each connection is an extended CONNECT (RFC 8441).

Only bytes are passed on, as fast as the other side takes them; how a connection ends becomes how the stream ends, and
the other way round.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import socket
import threading
from typing import Any

import hpack
import support
from fakes.http2 import (
    DATA,
    ENABLE_CONNECT_PROTOCOL,
    END_STREAM,
    GOAWAY,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    PING,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    Frame,
    data,
    headers,
    parse,
    ping,
    rst_stream,
    settings,
    window_update,
)
from fakes.websocket_streams import FIRST_WINDOW, LARGEST_FRAME, extended

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
PIECE = 65536
WINDOW = 1 << 20  # of the stream and of the connection
STREAM = 1


class Bridge:
    """A bridge to a server on this host, in a thread of its own."""

    def __init__(self, port: int) -> None:
        self.target = port
        self.port = 0
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.run, name="bridge")
        self.ready = threading.Event()
        self.stopping = asyncio.Event()
        self.tasks: set[asyncio.Task[None]] = set()

    def run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_until_complete(self.serve())
        self.loop.close()

    async def serve(self) -> None:
        server = await asyncio.start_server(self.accept, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self.ready.set()
        await self.stopping.wait()
        server.close()
        await asyncio.sleep(0)  # who has just connected is accepted
        await asyncio.sleep(0)
        for task in list(self.tasks):
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await asyncio.sleep(0)  # the transports close

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task: Any = asyncio.current_task()
        self.tasks.add(task)
        try:
            await Passage(reader, writer).run(self.target)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
            writer.transport.abort()
            self.tasks.discard(task)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=support.PATIENCE)

    def start(self) -> Bridge:
        self.thread.start()
        self.ready.wait()
        return self

    def stop(self) -> None:
        self.loop.call_soon_threadsafe(self.stopping.set)
        self.thread.join()


class Passage:
    """One client, and its stream."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.changed = asyncio.Event()  # the server has said something
        self.answered = self.accepted = self.ended = self.broken = False
        self.windows = [FIRST_WINDOW, FIRST_WINDOW]  # that the server gives: of the connection, of the stream
        self.decoder = hpack.Decoder()
        self.key = b""

    async def run(self, port: int) -> None:
        head = await self.reader.readuntil(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")[:-2]
        for line in lines:
            if line.lower().startswith("sec-websocket-key:"):
                self.key = line.partition(":")[2].strip().encode()
        self.below, self.up = await asyncio.open_connection("127.0.0.1", port)
        self.up.write(PREFACE + settings((INITIAL_WINDOW_SIZE, WINDOW)) + window_update(0, WINDOW - FIRST_WINDOW))
        down = asyncio.ensure_future(self.pass_down(extended(lines)))
        up = asyncio.ensure_future(self.pass_up())
        try:
            await down
            await up  # the client ends its side as well, sooner or later
        finally:
            down.cancel()
            up.cancel()
            self.up.close()
            self.up.transport.abort()
            await asyncio.gather(down, up, return_exceptions=True)

    # From the server to the client

    async def pass_down(self, request: list[tuple[str, str]]) -> None:
        rest = b""
        while not (self.ended or self.broken):
            raw = await self.below.read(PIECE)
            self.broken = not raw
            frames, rest = parse(rest + raw)
            for each in frames:
                if each.type == SETTINGS and not each.flags:
                    assert bytes([0, ENABLE_CONNECT_PROTOCOL, 0, 0, 0, 1]) in each.payload
                    self.up.write(settings(ack=True) + headers(STREAM, request, end=False))
                await self.take(each)
            self.changed.set()
        if self.broken:
            self.writer.transport.abort()

    async def take(self, each: Frame) -> None:
        if each.type == HEADERS:
            self.answer(list(self.decoder.decode(each.payload)))
        elif each.type == DATA:
            self.writer.write(each.payload)
            await self.writer.drain()
            if each.payload:
                self.up.write(window_update(0, len(each.payload)) + window_update(STREAM, len(each.payload)))
        elif each.type == WINDOW_UPDATE:
            self.windows[1 if each.stream else 0] += each.number
        elif each.type == PING and not each.flags:
            self.up.write(ping(each.payload, ack=True))
        elif each.type == RST_STREAM or (each.type == GOAWAY and each.payload[4:8] != bytes(4)):
            self.broken = True
        if each.type in (HEADERS, DATA) and each.flags & END_STREAM:
            self.ended = True
            self.writer.write_eof()

    def answer(self, fields: Any) -> None:
        """Pass the head on, with what HTTP/1.1 has besides."""
        status = fields[0][1]
        self.answered, self.accepted = True, status == "200"
        lines = [f"HTTP/1.1 {101 if self.accepted else status} "]
        lines += [f"{name}: {value}" for name, value in fields[1:]]
        if self.accepted:
            digest = hashlib.sha1(self.key + GUID, usedforsecurity=False).digest()
            lines += ["upgrade: websocket", "connection: upgrade"]
            lines.append(f"sec-websocket-accept: {base64.b64encode(digest).decode()}")
        else:
            lines.append("connection: close")
        self.writer.write("\r\n".join([*lines, "", ""]).encode("latin-1"))

    # From the client to the server

    async def pass_up(self) -> None:
        while not (self.answered or self.broken):
            await self.wait()
        try:
            while piece := await self.reader.read(PIECE):
                if self.accepted:
                    await self.send(piece)
            last = data(STREAM, end=True)
        except OSError:
            last = rst_stream(STREAM)
        if not self.broken:
            self.up.write(last)
            await self.up.drain()

    async def send(self, piece: bytes) -> None:
        at = 0
        while at < len(piece) and not self.broken:
            size = min(*self.windows, LARGEST_FRAME, len(piece) - at)
            if size <= 0:
                await self.wait()
                continue
            self.up.write(data(STREAM, piece[at : at + size]))
            self.windows = [window - size for window in self.windows]
            at += size
        await self.up.drain()

    async def wait(self) -> None:
        self.changed.clear()
        await self.changed.wait()
