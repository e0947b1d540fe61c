"""State shared by the connections of a server, whether of the compiled core or on uvicorn's protocol contract."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastserve.metrics.pages import of_worker

if TYPE_CHECKING:
    from fastserve._core.metrics import Metrics
    from fastserve._core.worker import Worker
    from fastserve.protocols.http.lingering import Lingering


class ServerState:
    """The connections of a server, the tasks of its running requests, and the default headers of responses.

    Protocol classes add themselves to `connections` and their tasks to `tasks`, count in `total_requests`, and add
    `default_headers`, which the server renews every second, to responses. So does the core: the sets and the count
    cover both.
    """

    def __init__(self) -> None:
        self.connections: set[Any] = set()
        self.tasks: set[Any] = set()
        self.default_headers: list[tuple[bytes, bytes]] = []
        self.worker: Worker | None = None  # the core's
        self.lingering: dict[Lingering, None] = {}  # of protocol classes, oldest first
        self.stopping = False  # connections close as soon as they are done
        self.draining = False  # for protocol classes: a response begun now is the last of its connection
        self.replaced = False  # if stopping: by another process, which serves the same clients
        self.goodbye_seconds = 0.0  # how long idle connections stay while draining
        self._red = False  # told to stop: what --health says
        self.left: set[Any] = set()  # for protocol classes: exchanges whose client left before the end of the response
        self._counted = 0

    def attach(self, worker: Worker) -> None:
        """Expose the connections, tasks and count of a worker of the core."""
        self.worker = worker
        worker.red = self._red
        self.connections = worker.connections
        self.tasks = worker.tasks

    @property
    def red(self) -> bool:
        """Whether --health says that the server stops."""
        return self._red

    @red.setter
    def red(self, red: bool) -> None:
        self._red = red
        for worker in [] if self.worker is None else [self.worker, *self.worker.others]:
            worker.red = red

    @property
    def metrics(self) -> Metrics:
        """The page of this worker, or of this process."""
        return of_worker() if self.worker is None else self.worker.metrics

    @property
    def total_requests(self) -> int:
        return self._counted + (0 if self.worker is None else self.worker.total_requests)

    @total_requests.setter
    def total_requests(self, count: int) -> None:
        self._counted = count - (0 if self.worker is None else self.worker.total_requests)

    @property
    def open_connections(self) -> int:
        """The number of connections, without those that only wait for their client to close."""
        lingering = len(self.lingering) + (0 if self.worker is None else self.worker.lingering)
        return len(self.connections) - lingering

    def renew_default_headers(self, own: list[tuple[bytes, bytes]], date: bool) -> None:
        """Set the headers that responses get besides the application's: `own`, and with `date` Date."""
        from fastserve._core.loop.clock import http_date

        dated = not date or any(name == b"date" for name, _ in own)
        self.default_headers = own.copy() if dated else [(b"date", http_date()), *own]

    def announce_drain(self, seconds: float) -> None:
        """Make every response from now on the last of its connection; idle connections stay for one more request.

        A connection whose response under way cannot tell its client any more stays for one, for up to `seconds`.
        """
        self.draining = True
        self.goodbye_seconds = seconds
        if self.worker is not None:
            self.worker.announce_drain(seconds)

    def drain(self, replaced: bool = False) -> None:
        """Close idle connections now, and the others after their current response.

        Where another process has taken over (`replaced`), those whose last response did not tell the client that it was
        the last stay for one more request, as announce_drain() says.
        """
        self.draining = self.stopping = True
        self.replaced = replaced
        if self.worker is not None:
            self.worker.drain(replaced)

    def end_streams(self) -> list[Any]:
        """Break off responses of undeclared length, and wake applications that wait for their client to leave.

        Returns the tasks of the responses broken off. Classes on uvicorn's contract may lack end_streams(): their
        responses go on.
        """
        return [] if self.worker is None else self.worker.end_streams()

    def orphans(self) -> list[Any]:
        """Return the tasks whose client left before the end of a response of undeclared length."""
        tasks = [exchange.task for exchange in self.left if exchange.endless]
        return tasks if self.worker is None else tasks + self.worker.orphans()

    def abort(self) -> None:
        """Close every connection at once, whatever it is doing."""
        if self.worker is not None:
            self.worker.abort()

    def close(self) -> None:
        """Release what the core holds; nothing is served after that."""
        if self.worker is not None:
            self.worker.close()
