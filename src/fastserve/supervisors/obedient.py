"""What a parent of workers does for the control socket: it carries out the verbs, in its main thread."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING, Any

from fastserve.logging.log_levels import set_level
from fastserve.operations.orders import Order, Refused
from fastserve.operations.reports import requests_of
from fastserve.supervisors.signal_queue import Signals
from fastserve.supervisors.slot import Replacement, Slot

if TYPE_CHECKING:
    from fastserve.operations.verbs import Asked
    from fastserve.supervisors.process import Process

REQUESTS_SECONDS = 0.3  # for a worker to say what it has under way; nothing else is looked at in this time


class Obedient:
    """A parent of workers that takes orders: submit(), then obey() in the main thread."""

    signals: Signals
    slots: list[Slot]
    replacements: list[Replacement]
    replacing: Replacement | None
    should_exit: threading.Event
    told: dict[int, int]
    drained: bool
    level: str | None

    @property
    def everyone(self) -> list[Process]:
        raise NotImplementedError

    def restart_all(self) -> None:
        raise NotImplementedError

    def reopen_files(self) -> int:
        raise NotImplementedError

    def hasten(self) -> None:
        raise NotImplementedError

    def add_worker(self) -> bool:
        raise NotImplementedError

    def remove_worker(self) -> None:
        raise NotImplementedError

    def tell_summary(self) -> None:
        raise NotImplementedError

    def submit(self, order: Order) -> None:
        self.signals.submit(order)

    def obey(self, asked: Asked) -> Any:
        """Carry out a verb, and return what the control socket responds. Raises Refused."""
        word = asked.verb.word
        if self.should_exit.is_set() and word not in ("stop", "requests", "stacks"):
            raise Refused(409, "the server stops")
        return getattr(self, f"order_{word.replace('-', '_')}")(asked)

    def order_reload(self, asked: Asked) -> Any:
        self.restart_all()
        return {"reloading": len(self.slots)}

    def order_reopen(self, asked: Asked) -> Any:
        return {"reopened": self.reopen_files()}

    def order_drain(self, asked: Asked) -> Any:
        return self.drain(True)

    def order_undrain(self, asked: Asked) -> Any:
        return self.drain(False)

    def drain(self, drained: bool) -> Any:
        self.drained = drained
        for process in self.everyone:
            process.drain(drained)
        return {"draining": drained}

    def order_stop(self, asked: Asked) -> Any:
        # A worker that lingers takes the second SIGINT for the end of that, and the third for a stop at once.
        self.told[signal.SIGINT if asked.value == "quick" else signal.SIGTERM] = 3 if asked.value == "quick" else 1
        if self.should_exit.is_set():
            self.hasten()
        self.should_exit.set()
        return {"stopping": asked.value}

    def order_scale(self, asked: Asked) -> Any:
        assert asked.value is not None
        wanted = int(asked.value)
        while len(self.slots) < wanted and self.add_worker():
            pass
        while len(self.slots) > wanted:
            self.remove_worker()
        self.tell_summary()
        if len(self.slots) != wanted:
            raise Refused(503, f"there are {len(self.slots)} workers, the log says why")
        return {"workers": wanted}

    def order_replace(self, asked: Asked) -> Any:
        process, slot = self.of_order(asked)
        if any(each.process is process for each in (*self.replacements, self.replacing) if each is not None):
            raise Refused(409, f"worker {asked.worker} is being replaced")
        self.replacements.append(Replacement(slot, process, "control socket"))
        return {"replacing": process.pid}

    def order_log_level(self, asked: Asked) -> Any:
        assert asked.value is not None
        self.level = asked.value
        set_level(asked.value)
        for process in self.everyone:
            process.set_level(asked.value)
        return {"level": asked.value}

    def order_requests(self, asked: Asked) -> Any:
        return requests_of(self.of_order(asked)[0].where(REQUESTS_SECONDS))

    def order_stacks(self, asked: Asked) -> Any:
        return self.of_order(asked)[0].where()

    def of_order(self, asked: Asked) -> tuple[Process, Slot]:
        """Return the worker that an order names. Raises Refused."""
        slot = next((slot for slot in self.slots if slot.place == asked.worker), None)
        if slot is None:
            raise Refused(404, f"there is no worker {asked.worker}")
        if slot.current is None:
            raise Refused(409, f"worker {asked.worker} is about to be started")
        return slot.current, slot
