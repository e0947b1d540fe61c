"""One measurement: a server is started, checked, warmed, put under load and stopped, and gives a Sample."""

from __future__ import annotations

import contextlib
import http.client
import json
import resource
import socket
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from bench.load import frames, generator, h2load, machine, wrk, wsload
from bench.load.check import Wrong, check, connect, request_bytes
from bench.load.generator import Load
from bench.load.process import Failed, Running
from bench.load.rows import ALONE, Row
from bench.load.servers import Server

_STARTS = 5
_SETTLED = 0.5  # seconds after which a server that still makes responses has taken more memory


@dataclass(frozen=True)
class Sample:
    """Figures of one measurement. `value` is in the row's unit and None when `fault` says why there is none.

    `others` is the share of the server's core that other processes took while it was measured.
    """

    value: float | None
    fault: str | None = None
    errors: str = ""
    requests: int = 0
    seconds: float = 0.0
    rate: float = 0.0
    system: float = 0.0
    p50: float | None = None
    p99: float | None = None
    p999: float | None = None
    resident: float = 0.0
    others: float = 0.0


@dataclass(frozen=True)
class Bench:
    """Where and how long to measure: cores (None: any), seconds of warm-up and of measurement, a folder for logs."""

    server_core: int | None
    load_core: int | None
    warmup: float
    seconds: float
    folder: Path
    log: Path = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "log", self.folder / "server.log")

    def sample(self, row: Row, server: Server) -> Sample:
        """Measures one row of one server; whatever fails is the sample's `fault`, never an exception."""
        row = server.asked(row)
        try:
            if server.name == ALONE:
                return self._alone(row, server)
            if row.kind == "start":
                return self._start(row, server)
            with self._running(row, server) as running:
                running.wait_listening()
                _check(row, running)
                if row.kind == "unread":
                    return self._unread(row, running)
                return self._idle(row, running) if row.kind == "idle" else self._load(row, running)
        except Wrong as error:
            return Sample(None, fault=f"wrong answer: {error}")
        except (Failed, OSError) as error:
            return Sample(None, fault=str(error))

    def _running(self, row: Row, server: Server) -> Running:
        return Running(server.name, server.command(row), self.server_core, self.log, server.environment)

    def _load(self, row: Row, running: Running) -> Sample:
        run = self._generator(row, running.port)
        if self.warmup:
            run(self.warmup)
        logged = self.log.stat().st_size
        before, busy, begin = machine.cpu(running.pids()), machine.busy(self.server_core), time.monotonic()
        load = run(self.seconds)
        pids = running.pids()
        used = machine.cpu(pids) - before
        others = machine.busy(self.server_core) - busy - used.total
        span = time.monotonic() - begin
        size = machine.resident(pids) / 2**20
        if not load.requests:
            raise Failed(f"no {row.noun} was answered ({load.errors})")
        errors = str(load.errors)
        if row.access_log:
            running.stop()
            errors = ", ".join(filter(None, [errors, _missing_lines(self.log, logged, load.requests)]))
        return Sample(
            value=used.total / load.requests * 1e6,
            errors=errors,
            requests=load.requests,
            seconds=load.seconds,
            rate=load.requests / load.seconds,
            system=used.system / used.total,
            p50=load.p50,
            p99=load.p99,
            p999=load.p999,
            resident=size,
            others=max(0.0, others / span) if self.server_core is not None else 0.0,
        )

    def _generator(self, row: Row, port: int) -> Callable[[float], Load]:
        if row.echo:
            return wsload.prepare(row, row.echo, port, self.load_core, self.folder).run
        if row.streams:
            return h2load.Generator(row, port, self.load_core, self.folder).run
        return lambda seconds: wrk.run(row, port, seconds, self.load_core, self.folder)

    def _alone(self, row: Row, server: Server) -> Sample:
        output, code = generator.printed([*server.command(row), str(self.seconds)], self.seconds, self.server_core)
        line = output.strip().rpartition("\n")[2]
        if code:
            raise Failed(f"{server.name} exited with code {code}: {line or 'no output'}")
        calls, seconds = json.loads(line)
        return Sample(seconds / calls * 1e6, requests=calls, seconds=seconds, rate=calls / seconds)

    def _idle(self, row: Row, running: Running) -> Sample:
        # A tenth first, left open: what the first connections make the allocator take is not theirs.
        with contextlib.ExitStack() as connections:
            _open(row, running.port, row.connections // 10, connections)
            before = machine.resident(running.pids())
            _open(row, running.port, row.connections, connections)
            after = machine.resident(running.pids())
        return Sample((after - before) / row.connections / 1024, requests=row.connections, resident=after / 2**20)

    def _unread(self, row: Row, running: Running) -> Sample:
        """What is kept of responses on one connection of which the client takes nothing: as many as it may ask for."""
        from bench.load.http2 import Client

        before = machine.resident(running.pids())
        with connect(row, running.port) as connection:
            client = Client(connection, window=0)
            client.settle()
            count = min(row.streams, client.streams)
            for _ in range(count):
                client.send(row.request)
            # All that can be made has been once nothing more comes, and the memory stays what it is.
            seen, after = -1, before
            while after > seen:
                seen = after
                time.sleep(_SETTLED)
                after = machine.resident(running.pids())
            client.ping()
        return Sample((after - before) / 1024, requests=count, resident=after / 2**20)

    def _start(self, row: Row, server: Server) -> Sample:
        times, sizes = [], []
        for _ in range(_STARTS):
            begin = time.monotonic()
            with self._running(row, server) as running:
                running.wait_answer(lambda port: check(row, port))
                times.append(time.monotonic() - begin)
                sizes.append(machine.resident(running.pids()) / 2**20)
        return Sample(statistics.median(times) * 1e3, requests=_STARTS, resident=statistics.median(sizes))


def _check(row: Row, running: Running) -> None:
    # A server with a worker process may listen before the worker accepts, so refusal is not yet a response.
    running.wait_answer(lambda port: check(row, port))


def _open(row: Row, port: int, count: int, connections: contextlib.ExitStack) -> None:
    packet, frame = request_bytes(row), None
    for _ in range(count):
        connection = connections.enter_context(connect(row, port))
        if row.streams:
            _one_http2(row, connection)
            continue
        if row.echo:
            client = frames.Client(connection, row.echo)
            frame = frame or frames.client_frames(row.echo, client.agreed)[0]
            client.exchange(frame)
            continue
        connection.sendall(packet)
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        answer.read()


def _one_http2(row: Row, connection: socket.socket) -> None:
    from bench.load.http2 import Client

    Client(connection).exchange(row.request)


def _missing_lines(log: Path, offset: int, requests: int) -> str:
    """A complaint when the log has fewer lines than there were requests; the server is stopped, so all are out."""
    with log.open("rb") as file:
        file.seek(offset)
        lines = sum(piece.count(b"\n") for piece in iter(lambda: file.read(1 << 20), b""))
    return "" if lines >= requests else f"{requests - lines} access log lines missing"


@contextlib.contextmanager
def many_files() -> Iterator[None]:
    """The file limit raised as far as it goes, for this process and those it starts."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
