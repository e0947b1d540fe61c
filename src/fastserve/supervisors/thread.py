"""What runs in a worker that is a thread of the parent's process."""

from __future__ import annotations

import copy
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fastserve.config import Config
from fastserve.metrics import pages
from fastserve.metrics.pages import Page
from fastserve.net.listeners import PlainSockets
from fastserve.process import place as own_place
from fastserve.server import Server
from fastserve.supervisors import child
from fastserve.supervisors.link import Link

if TYPE_CHECKING:
    import socket


class Outbox:
    """What a worker sends its parent, which is another thread; `wake` tells that there is something."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self.messages: deque[tuple[Any, ...]] = deque()
        self.wake = wake

    def send(self, message: tuple[Any, ...]) -> None:
        self.messages.append(message)
        self.wake()

    def recv(self) -> Any:
        """Raises EOFError: the parent calls the link's methods."""
        raise EOFError


class ThreadLink(Link):
    """A link whose parent is another thread of the process, which calls take() and cannot be gone."""

    def __init__(self, outbox: Outbox) -> None:
        super().__init__(outbox, replaces=True)
        self.native_id = 0

    @property
    def number(self) -> int:
        """The number of the worker in the log: the system's of its thread."""
        return self.native_id


class ThreadProcess:
    """A thread that serves, with the interface of multiprocessing's processes.

    A thread cannot be killed: kill() tells it to end at once, and counts it as ended.
    """

    sentinel = None  # it wakes the parent

    def __init__(
        self,
        config: Config,
        sockets: list[socket.socket],
        plain: PlainSockets,
        page: Page | None,
        place: int,
        outbox: Outbox,
    ) -> None:
        self.outbox = outbox
        self.page = page
        self.place = place
        # dup() sets the mode of the socket that it copies, which all threads share: one in which accept() waits stops
        # the event loops of those that serve.
        for sock in sockets:
            sock.setblocking(False)
        # Copies: a server closes its sockets, and fills its configuration with what only one loop may use.
        self.sockets = [sock.dup() for sock in sockets]
        self.server = Server(copy.copy(config))
        self.server.has_parent = True
        self.server.plain_sockets = plain
        self.link = ThreadLink(outbox)
        self.link.join(self.server)
        self.exitcode: int | None = None
        self.abandoned = False
        self.thread = threading.Thread(target=self.run, name=f"fastserve worker {place}", daemon=True)

    @property
    def pid(self) -> int | None:
        """The system's number of the thread. No process has it."""
        return self.thread.native_id

    def start(self) -> None:
        """Raises OSError."""
        try:
            self.thread.start()
        except RuntimeError as exc:  # out of threads
            self.close()
            raise OSError(str(exc)) from exc

    def run(self) -> None:
        """Serve, in the thread."""
        code = 1
        try:
            self.link.native_id = threading.get_native_id()
            own_place.take_in_thread(self.place)
            if self.server.config.workers_affinity:
                child.pin(self.place)
            if self.page is not None:
                pages.adopt_in_thread(self.page)
            self.server.run(sockets=self.sockets)
            code = 0
        except SystemExit as exc:
            code = exc.code if isinstance(exc.code, int) else int(exc.code is not None)
        finally:
            self.close()
            self.exitcode = code
            self.outbox.wake()

    def close(self) -> None:
        for sock in self.sockets:
            sock.close()

    def is_alive(self) -> bool:
        return self.thread.native_id is not None and self.exitcode is None and not self.abandoned

    def kill(self) -> None:
        self.server.should_exit = self.server.force_exit = True
        self.abandoned = self.exitcode is None

    def join(self) -> None:
        if not self.abandoned and self.thread.native_id is not None:
            self.thread.join()

    def where(self) -> str:
        """Return the stack of the thread and its requests under way, as hang_report has those of a process."""
        from fastserve._core.http.inflight import requests_of_thread

        number = self.thread.ident
        frame = None if number is None else sys._current_frames().get(number)
        if number is None or frame is None:
            return ""
        stack = reversed(traceback.extract_stack(frame))
        lines = [f"Thread {self.pid} (most recent call first):"]
        lines += [f'  File "{each.filename}", line {each.lineno} in {each.name}' for each in stack]
        requests = requests_of_thread(number)
        lines.append("It was working on:" if requests else "It was working on no request.")
        for method, path, seconds in requests:
            lines.append(f"  {method} {path.decode('utf-8', 'replace')} for {int(seconds * 10) / 10:.1f} s")
        return "\n".join(lines)
