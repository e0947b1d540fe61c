"""The parent's handle of a template process, which has imported the application and forks workers (--preload).

Parent and template exchange packets over a socket: the request for a worker carries the worker's sockets and pipes, and
the template, whose child the worker is, reports its end.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import pickle
import signal
import socket
import time
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, Any

from fastserve.config import Config
from fastserve.metrics.pages import Page
from fastserve.supervisors import child, preloading
from fastserve.supervisors.messages import ENDED, FORK, FORKED, IMPORTED, REOPEN, RETIRE, UNFORKED

if TYPE_CHECKING:
    from fastserve.net.listeners import PlainSockets

FORK_SECONDS = 30.0  # for a fork; the process may be large
END_SECONDS = 2.0  # for a template to end after its workers
POLL_SECONDS = 0.05  # between two checks of a worker whose template is gone
ENDED_STATES = "Z", "X"  # in /proc, of processes that wait for being reaped
UNKNOWN_END = 255  # the exit code of a worker whose template could not report it

logger = logging.getLogger("fastserve.error")


class Template:
    """A template process: start() it, and fork() once it is `ready`; `gone` once it has ended."""

    def __init__(self, config: Config) -> None:
        self.channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.channel.setblocking(False)
        self.process = child.spawn.Process(target=preloading.main, args=(config, theirs, child.standard_input()))
        self.ready = False
        self.ready_at = 0.0
        self.gone = False
        self.workers: dict[int, ForkedProcess] = {}  # living ones, by pid
        self.answers: dict[int, tuple[Any, ...]] = {}  # to requests for workers
        self.requests = 0
        try:
            child.start(self.process)
        except BaseException:
            self.channel.close()
            raise
        finally:
            theirs.close()
        logger.info("Started template process [%d]", self.process.pid)

    @property
    def pid(self) -> int | None:
        return self.process.pid

    def receive(self) -> None:
        """Handle what it has sent."""
        while not self.gone:
            try:
                packet = self.channel.recv(preloading.PACKET_BYTES)
            except BlockingIOError:
                return
            except OSError:
                packet = b""
            if not packet:
                self.gone = True
                return
            kind, *details = pickle.loads(packet)
            if kind == IMPORTED:
                self.ready = True
                self.ready_at = time.monotonic()
            elif kind == ENDED:
                pid, code = details
                worker = self.workers.pop(pid, None)
                if worker is not None:
                    worker.exitcode = code
            elif kind in (FORKED, UNFORKED):
                self.answers[details[0]] = (kind, *details[1:])

    def fork(self, worker: ForkedProcess) -> int:
        """Fork a worker, and return its pid. Raises OSError."""
        self.requests += 1
        number = self.requests
        packet = pickle.dumps((FORK, number, worker.place, worker.plain, worker.page is not None))
        descriptors = [worker.connection.fileno(), worker.dump.fileno()]
        if worker.page is not None:
            descriptors.append(worker.page.fd)
        descriptors += [sock.fileno() for sock in worker.sockets]
        socket.send_fds(self.channel, [packet], descriptors)
        end = time.monotonic() + FORK_SECONDS
        while number not in self.answers:
            wait([self.channel], max(end - time.monotonic(), 0.0))
            self.receive()
            if self.gone:
                raise OSError(errno.ESRCH, f"template process [{self.pid}] has ended")
            if time.monotonic() >= end:
                raise OSError(errno.ETIMEDOUT, f"template process [{self.pid}] does not fork")
        kind, answer = self.answers.pop(number)
        if kind == UNFORKED:
            raise OSError(answer, os.strerror(answer))
        self.workers[answer] = worker
        return int(answer)

    def tell(self, *message: str) -> None:
        with contextlib.suppress(OSError):  # its end is noticed elsewhere
            self.channel.send(pickle.dumps(message))

    def reopen(self) -> None:
        """Tell it to open its log files again, for the workers that it will fork."""
        self.tell(REOPEN)

    def retire(self) -> None:
        """Tell it to end after its last worker, or at once if it still imports."""
        if self.ready:
            self.tell(RETIRE)
        else:
            self.process.kill()

    def close(self) -> None:
        """End it; its workers have ended."""
        self.retire()
        self.channel.close()
        self.gone = True
        self.process.join(END_SECONDS)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


class ForkedProcess:
    """A worker forked by a template, with the interface of multiprocessing's processes."""

    sentinel = None  # the template tells of its end

    def __init__(
        self,
        template: Template,
        sockets: list[socket.socket],
        connection: Connection,
        dump: Connection,
        plain: PlainSockets | None,
        page: Page | None,
        place: int,
    ) -> None:
        self.template = template
        self.sockets = sockets
        self.connection = connection
        self.dump = dump
        self.plain = plain
        self.page = page
        self.place = place
        self.pid: int | None = None
        self.exitcode: int | None = None

    def start(self) -> None:
        """Raises OSError."""
        self.pid = self.template.fork(self)

    def is_alive(self) -> bool:
        if self.pid is None:
            return False
        self.template.receive()
        if self.exitcode is None and self.template.gone:
            self.exitcode = end_of_orphan(self.pid)
        return self.exitcode is None

    def kill(self) -> None:
        if self.pid is not None and self.exitcode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def join(self) -> None:
        while self.is_alive():
            if self.template.gone:
                time.sleep(POLL_SECONDS)
            else:
                wait([self.template.channel], 1.0)


def end_of_orphan(pid: int) -> int | None:
    """Return the exit code of a process whose parent has ended: None while it runs, UNKNOWN_END if others reap it."""
    try:
        found, status = os.waitpid(pid, os.WNOHANG)  # the first process of a container inherits orphans
    except ChildProcessError:
        return None if runs(pid) else UNKNOWN_END
    return os.waitstatus_to_exitcode(status) if found else None


def runs(pid: int) -> bool:
    """Return whether a process has not ended; one that has may never be reaped, by a container's first process."""
    try:
        os.kill(pid, 0)
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:  # noqa: PTH123
            return file.read().rpartition(")")[2].split()[0] not in ENDED_STATES
    except ProcessLookupError:
        return False
    except (OSError, IndexError):
        return True  # the system has no such file
