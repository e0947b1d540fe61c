"""Whole exchanges through the compiled core on transports that are not sockets: without the kernel's share.

Its transport is not one of tests/fakes: all that a transport does is counted with the exchange, so this one does the
least, and must not change with what tests need.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any

import uvloop

from bench.exchanges import UPGRADE, Exchange
from fastserve._core.connection import Connection
from fastserve._core.http.access_log import AccessLog
from fastserve._core.settings import Settings
from fastserve._core.worker import Worker
from fastserve._core.wsgi.call import WSGIApplication
from fastserve._core.wsgi.environ import Environs
from fastserve.config import Config
from fastserve.logging.access_format import compiled
from fastserve.logging.formatters import ACCESS_FORMAT, AccessFormatter
from fastserve.options.core import core_settings
from fastserve.options.table import Options
from fastserve.wsgi.call import ServedCall
from fastserve.wsgi.files import FileWrapper
from fastserve.wsgi.inline import InlineCall

_QUIET_TURNS = 100
_MOST_TURNS = 100_000
_LEARNED = 6  # exchanges of an HTTP/2 connection, until its header tables have what comes again and again


class Transport(asyncio.Transport):
    """Counts what is written against what is `missing` and tells the harness when all of it is there."""

    def __init__(self, harness: Harness) -> None:
        super().__init__({"peername": ("127.0.0.1", 50000), "sockname": ("127.0.0.1", 8000)})
        self.harness = harness
        self.missing = -1
        self.kept: list[bytes] | None = None
        self.protocol = Connection(harness.worker)
        self.closing = False
        self.protocol.connection_made(self)

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        if self.kept is not None:
            self.kept.append(bytes(data))
        self.missing -= len(data)
        if self.missing == 0 and not self.harness.exchange.fresh:
            self.harness.pending -= 1

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview[Any]]) -> None:
        for data in list_of_data:
            self.write(data)

    def close(self) -> None:
        if not self.closing:
            self.closing = True
            self.harness.loop.call_soon(self._lost)

    abort = close

    def write_eof(self) -> None:
        self.harness.loop.call_soon(self._client_ends)

    def _client_ends(self) -> None:
        if not self.protocol.eof_received():
            self.close()

    def _lost(self) -> None:
        self.protocol.connection_lost(None)
        if self.harness.exchange.fresh:
            self.harness.pending -= 1

    def is_closing(self) -> bool:
        return self.closing

    def is_reading(self) -> bool:
        return not self.closing

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...

    def get_write_buffer_size(self) -> int:
        return 0

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return (0, 0)

    def can_write_eof(self) -> bool:
        return True


def responses(answer: bytes, exchange: Exchange) -> int:
    """Return how many responses with status 200 there are, or messages of a WebSocket, each of which is complete."""
    heads = ends = at = 0
    if exchange.websocket:
        while answer[at : at + 1] == b"\x81":
            size = answer[at + 1]
            at += 2 + size if size < 126 else 4 + int.from_bytes(answer[at + 2 : at + 4], "big")
            heads += 1
        return heads if at == len(answer) else -1
    if not exchange.http2:
        return answer.count(b"HTTP/1.1 200 OK\r\n")
    while at < len(answer):
        kind, flags = answer[at + 3], answer[at + 4]
        heads += kind == 1 and answer[at + 9] == 0x88
        ends += kind in (0, 1) and flags & 1
        at += 9 + int.from_bytes(answer[at : at + 3], "big")
    return heads if heads == ends else -1


class InLoop:
    """Calls WSGI applications in the loop's own thread: a count must not depend on switches of threads."""

    calls = ()

    def submit(self, call: Callable[[], None], loop: asyncio.AbstractEventLoop, alone: bool) -> None:
        loop.call_soon(call)


def _wsgi(exchange: Exchange) -> WSGIApplication:
    threads, kind = (None, InlineCall) if exchange.inline else (InLoop(), ServedCall)
    return WSGIApplication(exchange.app, threads, Environs(True, False, FileWrapper), kind, FileWrapper)


class Harness:
    """Serves one kind of exchange on a number of connections at a time; a context manager.

    Raises RuntimeError if a request does not get a 200.
    """

    def __init__(self, exchange: Exchange, connections: int) -> None:
        self.exchange = exchange
        self.connections = connections
        self.loop = uvloop.new_event_loop()
        self.files = contextlib.ExitStack()
        self.error: BaseException | None = None  # one that the core could only give to the interpreter's hook
        self.files.callback(setattr, sys, "unraisablehook", sys.unraisablehook)
        sys.unraisablehook = self._unraisable
        self.wsgi = _wsgi(exchange) if exchange.wsgi else None
        if exchange.topics:
            from fastserve.topics import node  # the others are counted without

            node.node_of(self.loop)
        self.worker = Worker(
            self.loop,
            exchange.app,
            self._settings(),
            state={},
            log=logging.getLogger("fastserve.error").log,
            access=self._access_log() if exchange.access_log else None,
            direct=self.wsgi,
        )
        if exchange.by_route:
            self.worker.metrics.count_by_route()
        self.transports: list[Transport] = []
        self.pending = 0
        self.rounds = 0
        self.turns = 0
        self.reads = exchange.reads
        self.number = 0  # of the exchange that is next, on each of the connections
        self.answer_sizes = self._learn()
        if not exchange.fresh:
            self.transports = [self._opened() for _ in range(connections)]

    def __enter__(self) -> Harness:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def run(self, rounds: int) -> None:
        """Run this many rounds of one exchange on each connection."""
        self.rounds = rounds
        self.loop.call_soon(self._begin)
        self.loop.run_forever()
        if self.pending or self.error:
            raise RuntimeError(f"{self.exchange.name}: {self.pending} exchanges got no response") from self.error

    def close(self) -> None:
        for transport in self.transports:
            transport.close()
        self._idle()
        self.worker.close()
        if self.wsgi is not None:
            self.wsgi.close()
        self.loop.close()
        self.files.close()

    def _settings(self) -> Settings:
        # The date would be of another size, once a second, in HTTP/2.
        options = Options("app", date_header=not self.exchange.http2, **self.exchange.options)
        proxies = Config("app", **self.exchange.options).trusted_proxies() if self.exchange.options else None
        return core_settings(options, proxies=proxies)

    def _unraisable(self, what: sys.UnraisableHookArgs) -> None:
        self.error = what.exc_value

    def _access_log(self) -> AccessLog:
        logger = logging.getLogger("bench.access")
        logger.setLevel(logging.INFO)
        logger.propagate = False
        stream = self.files.enter_context(Path(os.devnull).open("w"))  # noqa: SIM115 (the stack closes it)
        handler = logging.StreamHandler(stream)
        handler.setFormatter(AccessFormatter(ACCESS_FORMAT))
        logger.handlers = [handler]
        return AccessLog(logger, AccessFormatter, ACCESS_FORMAT, format=compiled(self.exchange.log_format))

    def _opened(self) -> Transport:
        """Return a connection, after the handshake if there is one."""
        transport = Transport(self)
        if self.exchange.websocket:
            self.loop.call_soon(transport.protocol.data_received, UPGRADE)
            self._idle()
        return transport

    def _learn(self) -> list[int]:
        """Return the sizes of the right responses, learnt from exchanges on one connection with enough time."""
        transport = self._opened()
        sizes = []
        for number in range(_LEARNED if self.exchange.http2 else 1):
            transport.kept = []
            for read in self.exchange.reads_of(number):
                self.loop.call_soon(transport.protocol.data_received, read)
                self._idle()
            if not self.exchange.http2 and not self.exchange.websocket:
                transport.close()  # its end may be a part of the answer
                self._idle()
            answer = b"".join(transport.kept)
            if responses(answer, self.exchange) != self.exchange.answers:
                raise RuntimeError(f"{self.exchange.name}: wrong answer {answer[:200]!r}")
            sizes.append(len(answer))
        transport.close()
        self._idle()
        return sizes

    def _idle(self) -> None:
        for _ in range(_QUIET_TURNS):
            self.loop.call_soon(self.loop.stop)
            self.loop.run_forever()

    def _begin(self) -> None:
        self.rounds -= 1
        self.turns = 0
        self.pending = self.connections
        if self.exchange.fresh:
            self.transports = [Transport(self) for _ in range(self.connections)]
        size = self.answer_sizes[-1]
        if self.exchange.http2:
            size = self.answer_sizes[min(self.number, len(self.answer_sizes) - 1)]
            self.reads = self.exchange.reads_of(self.number)
            self.number += 1
        for transport in self.transports:
            transport.missing = size
        self._feed(0)

    def _feed(self, step: int) -> None:
        data = self.reads[step]
        for transport in self.transports:
            transport.protocol.data_received(data)
        if step + 1 < len(self.reads):
            self.loop.call_soon(self._feed, step + 1)
        else:
            self._look()

    def _look(self) -> None:
        self.turns += 1
        if self.pending and self.turns < _MOST_TURNS:
            self.loop.call_soon(self._look)
        elif self.rounds and not self.pending:
            self.loop.call_soon(self._begin)
        else:
            self.loop.stop()
