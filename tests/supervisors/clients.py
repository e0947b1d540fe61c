"""Clients of the process tests: pids as answers, and a load that notices every failed or reset request."""

from __future__ import annotations

import asyncio
import functools
import os
import re
import signal
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, TypeVar

import hpack
import support
from fakes.http2 import DATA, GOAWAY, HEADERS, NO_ERROR, PING, PREFACE, headers, parse, ping, settings, window_update
from load import until

TIMEOUT = 60.0

Client = TypeVar("Client")
NewClient = Callable[[], AbstractContextManager[Client]]


def ready(server: support.Command, count: int) -> list[int]:
    """Return the process ids of the first `count` workers, once this many serve; it takes the log level debug."""
    return [
        int(server.wait_line(r"Child process \[(\d+)\] is ready\.$", count=each)[1]) for each in range(1, count + 1)
    ]


def replaced(server: support.Command, count: int) -> list[tuple[int, int]]:
    """Return which worker took over from which one, once `count` have and the old ones have ended."""
    pairs = []
    for each in range(1, count + 1):
        match = server.wait_line(r"Child process \[(\d+)\] takes over from child process \[(\d+)\]", count=each)
        pairs.append((int(match[1]), int(match[2])))
        server.wait_line(rf"Finished server process \[{match[2]}\]")
    return pairs


def ask(server: support.Command, path: str = "/") -> int:
    """Return the process id that the application of a new connection responds with."""
    response = server.get(path)
    assert response.startswith(b"HTTP/1.1 200"), response
    return int(response.rpartition(b"\r\n\r\n")[2])


def ended(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        status = Path(f"/proc/{pid}/stat").read_text("ascii")
    except (ProcessLookupError, FileNotFoundError):
        return True
    return status.rpartition(")")[2].split()[0] in "ZX"


def wait_for_end(*pids: int) -> None:
    """Wait until processes of others have ended: the system closes what they had open a moment before."""
    for pid in pids:
        until(functools.partial(ended, pid), f"the end of process {pid}")


def processor_seconds(pid: int) -> float:
    """Return how much processor time a process has taken so far."""
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Load:
    """Asks a server without a pause while the block runs: on connections kept open, busy and idle, and on new ones.

    `failures` says what went wrong, `answers` counts what each process answered.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.failures: list[str] = []
        self.answers: dict[int, int] = {}
        self.ending = False
        self.enough = threading.Event()
        self.thread = threading.Thread(target=lambda: asyncio.run(self.run()), name="load")

    def __enter__(self) -> Load:
        self.thread.start()
        assert self.enough.wait(60), self.failures
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.ending = True
        self.thread.join(60)

    def wait_for(self, pids: Collection[int]) -> None:
        """Return once one of these processes has answered."""
        until(lambda: not self.answers.keys().isdisjoint(pids), f"an answer of one of {pids}")

    async def run(self) -> None:
        busy = [self.client(0) for _ in range(3)]
        idle = [self.client(pause) for pause in (0.02, 0.1, 0.3)]
        new = [self.client(0.005, close=True) for _ in range(2)]
        await asyncio.gather(*busy, *idle, *new)

    async def client(self, pause: float, close: bool = False) -> None:
        """Ask again and again, pausing in between; reconnect when the server has said that it closes."""
        writer: asyncio.StreamWriter | None = None
        while not self.ending:
            asked = 0
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
                while await self.request(reader, writer, close) and not self.ending:
                    asked += 1
                    await asyncio.sleep(pause)
            except Exception as exc:
                self.failures.append(f"{type(exc).__name__}: {exc}, after {asked} requests on this connection")
                await asyncio.sleep(0.05)
            finally:
                if writer is not None:
                    writer.close()

    async def request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, close: bool) -> bool:
        """Send one request; say whether the connection stays open."""
        connection = b"Connection: close\r\n" if close else b""
        writer.write(b"GET / HTTP/1.1\r\nHost: test\r\n%s\r\n" % connection)
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), TIMEOUT)
        length = re.search(rb"content-length: (\d+)", head)
        assert head.startswith(b"HTTP/1.1 200"), head
        assert length is not None, head
        pid = int(await reader.readexactly(int(length[1])))
        self.answers[pid] = self.answers.get(pid, 0) + 1
        if sum(self.answers.values()) == 200:
            self.enough.set()
        return b"connection: close" not in head


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """Stop a process while the block runs."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


class Visitors(Generic[Client]):
    """Threads that check an application again and again while the block runs, each with a client that it keeps."""

    def __init__(
        self, new_client: Callable[[], AbstractContextManager[Client]], check: Callable[[Client], None]
    ) -> None:
        self.failures: list[str] = []
        self.more = threading.Semaphore(0)  # released at the end of each round
        self.ending = threading.Event()
        self.threads = [threading.Thread(target=self.visit, args=(new_client, check)) for _ in range(3)]

    def visit(self, new_client: NewClient[Client], check: Callable[[Client], None]) -> None:
        with new_client() as client:
            while not self.ending.is_set():
                try:
                    check(client)
                except Exception as exc:
                    self.failures.append(f"{type(exc).__name__}: {exc}")
                    self.ending.set()
                self.more.release()

    def wait(self, rounds: int) -> None:
        for _ in range(rounds):
            assert self.more.acquire(timeout=TIMEOUT), self.failures

    def __enter__(self) -> Visitors[Client]:
        for thread in self.threads:
            thread.start()
        self.wait(3)
        return self

    def __exit__(self, *exc: object) -> None:
        self.ending.set()
        for thread in self.threads:
            thread.join(TIMEOUT)


def replace_workers(server: support.Command, pids: list[int]) -> None:
    """Send SIGHUP, and return when these workers have been replaced and have ended."""
    server.send_signal(signal.SIGHUP)
    for old in pids:
        server.wait_line(rf"takes over from child process \[{old}\]")
        server.wait_line(rf"Finished server process \[{old}\]")


class Http2Load(Load):
    """The same over HTTP/2: each connection has several requests under way, and is replaced when the server says so.

    A client may not open streams after GOAWAY, and may expect responses on those up to the last that it names.
    """

    STREAMS = 8

    async def run(self) -> None:
        await asyncio.gather(*(self.connections() for _ in range(4)))

    async def connections(self) -> None:
        while not self.ending:
            try:
                await self.connection()
            except (OSError, AssertionError, asyncio.IncompleteReadError) as error:
                self.failures.append(repr(error))

    async def connection(self) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(PREFACE + settings())
        decoder = hpack.Decoder()
        rest, following, last = b"", 1, 2**31 - 1
        bodies: dict[int, bytes] = {}
        leaving = False
        while True:
            while not leaving and not self.ending and len(bodies) < self.STREAMS:
                bodies[following] = b""
                writer.write(headers(following))
                following += 2
            if not bodies:
                break
            piece = await reader.read(65536)
            assert piece, f"closed with requests {sorted(bodies)} under way"
            frames, rest = parse(rest + piece)
            for each in frames:
                if each.type == GOAWAY:
                    leaving = True
                    last = int.from_bytes(each.payload[:4], "big")
                    assert int.from_bytes(each.payload[4:8], "big") == NO_ERROR
                    bodies = {stream: body for stream, body in bodies.items() if stream <= last}
                elif each.type == PING and not each.flags:
                    writer.write(ping(each.payload, ack=True))
                elif each.type == HEADERS:
                    fields: list[Any] = list(decoder.decode(each.payload))
                    assert fields[0] == (":status", "200")
                elif each.type == DATA:
                    writer.write(window_update(0, len(each.payload)))
                    bodies[each.stream] += each.payload
                if each.ends and each.stream in bodies:
                    pid = int(bodies.pop(each.stream))
                    self.answers[pid] = self.answers.get(pid, 0) + 1
            if sum(self.answers.values()) > 200:
                self.enough.set()
        writer.close()


class Succeeding:
    """Ends the servers that are started by others."""

    def __init__(self) -> None:
        self.found: list[int] = []

    def next(self, server: support.Command, count: int = 1) -> int:
        """Send SIGUSR2 to the first server, or to its last successor; return the successor once it serves."""
        self.begin(server, count)
        server.wait_line(rf"Successor \[{self.found[-1]}\] serves: stopping this server\.$")
        return self.found[-1]

    def begin(self, server: support.Command, count: int = 1) -> None:
        os.kill(self.found[-1] if self.found else server.pid, signal.SIGUSR2)
        self.found.append(int(server.wait_line(r"Started parent process \[(\d+)\]", count=count + 1)[1]))

    def __enter__(self) -> Succeeding:
        return self

    def __exit__(self, *exc: object) -> None:
        for pid in self.found:
            if not ended(pid):
                os.kill(pid, signal.SIGTERM)
        wait_for_end(*self.found)
