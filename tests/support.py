"""Servers for tests: one in a thread of the test process, one as a real process, and the sockets that ask them."""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import faulthandler
import http.client
import io
import os
import re
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import fastserve
from fastserve.serving import life

APPS = str(Path(__file__).parent / "apps")  # the applications that tests serve in processes of their own
PATIENCE = 60.0  # seconds until something counts as hanging; a busy machine must not come near it
STOP_SECONDS = PATIENCE

life.TICK = 0.01  # servers of this process see should_exit sooner than others do


def read_all(sock: socket.socket) -> bytes:
    """Return what arrives until the peer closes or resets. Raises TimeoutError by the socket's timeout."""
    chunks = []
    try:
        while chunk := sock.recv(65536):
            chunks.append(chunk)
    except ConnectionResetError:
        pass
    return b"".join(chunks)


def read_until(sock: socket.socket, mark: bytes = b"\r\n\r\n") -> bytes:
    """Return what arrives until `mark` has; what comes in the same piece after it is part of it.

    In how many pieces it arrives is up to the kernel. Raises AssertionError if the peer closes before.
    """
    received = b""
    while mark not in received:
        piece = sock.recv(65536)
        assert piece, f"closed without {mark!r}: {received!r}"
        received += piece
    return received


@contextlib.contextmanager
def held_port() -> Iterator[int]:
    """Give a port of 127.0.0.1 that the system gives to nobody else during the block.

    A server that asks for this port can listen on it, if it sets SO_REUSEADDR as servers do.
    """
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", 0))  # and never listens
        yield int(sock.getsockname()[1])


class EventServer(fastserve.Server):
    """A Server that sets `ready` once it listens, or once it is clear that it never will."""

    def __init__(self, config: fastserve.Config) -> None:
        super().__init__(config)
        self.ready = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self.loop = asyncio.get_running_loop()
        await super().startup(sockets=sockets)
        self.ready.set()


class Running:
    """A server that runs in a thread with an event loop of its own, listening on a port of the kernel's choice."""

    def __init__(self, server: EventServer) -> None:
        self.server = server
        self.error: BaseException | None = None
        self._sockets: list[socket.socket] = []
        self._thread = threading.Thread(target=self._run, name="server", daemon=True)

    def _run(self) -> None:
        try:
            self.server.run()
        except BaseException as exc:  # handed to the test's thread by start() and stop()
            self.error = exc
        finally:
            self.server.ready.set()

    def start(self) -> Running:
        """Start the thread and return once the server listens. Raises RuntimeError, from the cause, if it cannot."""
        self._thread.start()
        if not self.server.ready.wait(STOP_SECONDS):
            raise RuntimeError(f"no server after {STOP_SECONDS} s")
        if not self.server.started:
            self._thread.join(STOP_SECONDS)
            raise RuntimeError("the server did not start") from self.error
        return self

    def go_round(self) -> None:
        """Return when the loop has ended what it is doing: a client may have its response before a step has ended."""
        if self._thread.is_alive() and self.server.started:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                done = threading.Event()
                self.server.loop.call_soon_threadsafe(done.set)
                while not done.wait(0.01) and self._thread.is_alive():
                    pass

    @property
    def address(self) -> Any:
        """The listening socket's name: (host, port, ...) for TCP, a path for a UNIX socket."""
        return self.server.servers[0].sockets[0].getsockname()

    @property
    def host(self) -> str:
        return str(self.address[0])

    @property
    def port(self) -> int:
        return int(self.address[1])

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    def connect(self, timeout: float = PATIENCE) -> socket.socket:
        """Return a connected socket whose operations time out after `timeout` seconds; stop() closes it."""
        address = self.address
        if isinstance(address, str):
            sock = socket.socket(socket.AF_UNIX)
            sock.settimeout(timeout)
            sock.connect(address)
        else:
            sock = socket.create_connection(address[:2], timeout=timeout)
        self._sockets.append(sock)
        return sock

    def request(self, raw: bytes, timeout: float = PATIENCE) -> bytes:
        """Send `raw` on a new connection and return what the server sends until it closes."""
        with self.connect(timeout) as sock:
            sock.sendall(raw)
            return read_all(sock)

    def fetch(
        self, path: str = "/", method: str = "GET", body: Any = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        """Ask by http.client on a new connection; return status, headers and body."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=PATIENCE)
        try:
            connection.request(method, path, body=body, headers=dict(headers or {}))
            response = connection.getresponse()
            return response.status, response.headers, response.read()
        finally:
            connection.close()

    def stop(self) -> None:
        """Close the sockets of connect(), stop the server gracefully and join its thread; can be called again.

        Raises AssertionError if the server has not stopped after STOP_SECONDS, and what the server raised, if it did.
        """
        for sock in self._sockets:
            sock.close()
        self._sockets.clear()
        self.server.should_exit = True
        self.join()

    def join(self) -> None:
        """Wait for a server that was told to stop; raises as stop() does."""
        self._thread.join(STOP_SECONDS)
        if self._thread.is_alive():
            faulthandler.dump_traceback(all_threads=True)
            self.server.force_exit = True
            self._thread.join(STOP_SECONDS)
            raise AssertionError(f"the server did not stop within {STOP_SECONDS} s")
        if self.error is not None:
            error, self.error = self.error, None
            raise error

    def __enter__(self) -> Running:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()


def serve(app: Any, *, server_class: type[EventServer] = EventServer, **config: Any) -> Running:
    """Return a started server of `app`; by default on port 0, without lifespan or log configuration (caplog works)."""
    config = {"port": 0, "lifespan": "off", "log_config": None, **config}
    return Running(server_class(fastserve.Config(app, **config))).start()


AT_ONCE = 10_000  # lines, of a process that never stops writing


class Output:
    """A pipe from a process, and the lines that have come from it."""

    def __init__(self, stream: IO[bytes], lines: list[str]) -> None:
        self.stream = stream
        self.lines = lines
        self.rest = ""
        decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
        self.decoder = io.IncrementalNewlineDecoder(decoder, translate=True)
        os.set_blocking(stream.fileno(), False)

    def take(self, found: list[tuple[list[str], str]]) -> bool:
        """Read what there is, put its lines into `found`, and close the pipe at its end; False for nothing."""
        if self.stream.closed:
            return False
        try:
            data = os.read(self.stream.fileno(), 65536)
        except BlockingIOError:
            return False
        *lines, self.rest = (self.rest + self.decoder.decode(data, final=not data)).split("\n")
        if not data:
            lines += [self.rest] if self.rest else []
            self.stream.close()
        found += ((self.lines, line) for line in lines)
        return True


class Command:
    """A real `python -m fastserve` process (or another command line), with both outputs read as they come."""

    def __init__(
        self,
        argv: list[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | Path | None = None,
        pass_fds: tuple[int, ...] = (),
        start_new_session: bool = False,
    ) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("FASTSERVE_")}
        for name in ("WEB_CONCURRENCY", "PYTHONUNBUFFERED", "NO_COLOR", "FORCE_COLOR"):
            environment.pop(name, None)
        environment.update(env or {})
        self.stdout: list[str] = []
        self.stderr: list[str] = []
        self.lines: list[str] = []  # both, in order of arrival
        self._changed = threading.Condition()
        self._open = 2
        self.process = subprocess.Popen(
            argv,
            env=environment,
            cwd=cwd,
            pass_fds=pass_fds,
            start_new_session=start_new_session,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert self.process.stdout is not None and self.process.stderr is not None
        outputs = [Output(self.process.stdout, self.stdout), Output(self.process.stderr, self.stderr)]
        self._thread = threading.Thread(target=self._pump, args=(outputs,), daemon=True)
        self._thread.start()

    def _pump(self, outputs: list[Output]) -> None:
        """Note the lines of both outputs as they come, until both have ended.

        A line is noted with all that was written before it to the other output, by whichever process: both are read
        until neither has more. So who has waited for a line of one may look at the lines of the other.
        """
        with selectors.DefaultSelector() as selector:
            for each in outputs:
                selector.register(each.stream, selectors.EVENT_READ)
            while outputs:
                selector.select()
                found: list[tuple[list[str], str]] = []
                while sum(each.take(found) for each in outputs) and len(found) < AT_ONCE:
                    pass
                ended = [each for each in outputs if each.stream.closed]
                outputs = [each for each in outputs if each not in ended]
                for each in ended:
                    selector.unregister(each.stream)
                with self._changed:
                    for lines, line in found:
                        lines.append(line)
                        self.lines.append(line)
                    self._open -= len(ended)
                    self._changed.notify_all()

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def output(self) -> str:
        with self._changed:
            return "\n".join(self.lines)

    def wait_line(self, pattern: str, timeout: float = PATIENCE, count: int = 1) -> re.Match[str]:
        """Return the first match of `pattern` in a line of either output, or that in the `count`th line that has one.

        Waits for it if need be. Raises AssertionError, with all output, when both outputs end or `timeout` seconds pass
        without one.
        """
        regex = re.compile(pattern)
        deadline = time.monotonic() + timeout
        seen = found = 0
        with self._changed:
            while True:
                for line in self.lines[seen:]:
                    if match := regex.search(line):
                        found += 1
                        if found == count:
                            return match
                seen = len(self.lines)
                left = deadline - time.monotonic()
                if self._open == 0 or left <= 0:
                    why = "the outputs ended" if self._open == 0 else f"{timeout} s passed"
                    raise AssertionError(f"{why} without {pattern!r} in:\n" + "\n".join(self.lines))
                self._changed.wait(left)

    @property
    def port(self) -> int:
        """The port of the running line, waited for."""
        return int(self.url.rpartition(":")[2])

    @property
    def url(self) -> str:
        return self.wait_line(r"running on (?:\x1b\[1m)?(https?://\S*:\d+)")[1]

    def connect(self, timeout: float = PATIENCE, host: str = "127.0.0.1") -> socket.socket:
        return socket.create_connection((host, self.port), timeout=timeout)

    def request(self, raw: bytes, timeout: float = PATIENCE) -> bytes:
        """Send `raw` on a new connection and return what the server sends until it closes."""
        with self.connect(timeout) as sock:
            sock.sendall(raw)
            return read_all(sock)

    def get(self, path: str = "/", headers: str = "") -> bytes:
        """Return the raw response to a GET that asks the server to close; each header line ends in CRLF."""
        return self.request(f"GET {path} HTTP/1.1\r\nHost: test\r\n{headers}Connection: close\r\n\r\n".encode())

    def send_signal(self, number: int) -> None:
        self.process.send_signal(number)

    def wait(self, timeout: float = PATIENCE) -> int:
        """Return the exit code (minus the signal's number for a death by signal) once all output has been read."""
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {timeout} s:\n{self.output}") from None
        self._thread.join(timeout)
        return code

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal if the process still runs, and return wait()."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.wait()

    def close(self) -> None:
        """End the process, by force if it does not end by itself, and read the rest of its output."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.wait()
        self._thread.join(STOP_SECONDS)


def set_once_listening(server: Any, event: Any) -> None:
    """Have a server, of uvicorn as well, set an event of threading or asyncio when it listens."""
    startup = server.startup

    async def patched(sockets: Any = None) -> None:
        await startup(sockets)
        event.set()

    server.startup = patched


def command(*args: str, **options: Any) -> Command:
    """Start `python -m fastserve` with these arguments; FASTSERVE_* variables come from `env` alone."""
    return Command([sys.executable, "-m", "fastserve", *args], **options)


Serve = Callable[..., Running]
StartCommand = Callable[..., Command]
