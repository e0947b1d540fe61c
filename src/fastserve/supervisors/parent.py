"""What a parent of processes does with them as the control socket asks, of workers and with --reload alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastserve.logging import log_files
from fastserve.logging.log_levels import set_level
from fastserve.operations.orders import Orders
from fastserve.operations.reports import requests_of
from fastserve.operations.verbs import Asked

if TYPE_CHECKING:
    from fastserve.supervisors.process import Process

REQUESTS_SECONDS = 0.3  # for a process to report its requests; the parent does nothing else in this time


class Parent(Orders):
    """A parent that passes orders on to `everyone`, and to processes that it starts later by brief()."""

    drained = False  # --health is red
    level: str | None = None  # of the loggers, once it was changed

    @property
    def everyone(self) -> list[Process]:
        """Every process that was started and not joined yet."""
        raise NotImplementedError

    def process_of(self, asked: Asked) -> Process:
        """Return the process that an order names. Raises Refused."""
        raise NotImplementedError

    def brief(self, process: Process) -> None:
        """Tell a new process what the others have been told."""
        if self.level is not None:
            process.set_level(self.level)
        if self.drained:
            process.drain(True)

    def reopen_files(self) -> int:
        """Open log files again, also in the processes; return how many there are here."""
        count = log_files.reopen()
        self.reopen_processes()
        return count

    def reopen_processes(self) -> None:
        for process in self.everyone:
            process.reopen()

    def drain(self, drained: bool) -> Any:
        self.drained = drained
        for process in self.everyone:
            process.drain(drained)
        return {"draining": drained}

    def order_reopen(self, asked: Asked) -> Any:
        return {"reopened": self.reopen_files()}

    def order_drain(self, asked: Asked) -> Any:
        return self.drain(True)

    def order_undrain(self, asked: Asked) -> Any:
        return self.drain(False)

    def order_log_level(self, asked: Asked) -> Any:
        assert asked.value is not None
        self.level = asked.value
        set_level(asked.value)
        for process in self.everyone:
            process.set_level(asked.value)
        return {"level": asked.value}

    def order_requests(self, asked: Asked) -> Any:
        return requests_of(self.process_of(asked).where(REQUESTS_SECONDS))

    def order_stacks(self, asked: Asked) -> Any:
        return self.process_of(asked).where()
