"""What a parent of workers is told, by signals and by the control socket, and how it obeys."""

from __future__ import annotations

import logging
import signal
import threading
from typing import TYPE_CHECKING, Any

from fastserve.logging.log_files import take_user_signal
from fastserve.operations.orders import Order, Refused
from fastserve.operations.verbs import Asked
from fastserve.supervisors.parent import Parent
from fastserve.supervisors.signal_queue import SIGNALS, Signals
from fastserve.supervisors.slot import Replacement, Slot

if TYPE_CHECKING:
    from fastserve.config import Config
    from fastserve.process.service_manager import Notifier
    from fastserve.supervisors.generations import Generations
    from fastserve.supervisors.process import Process

logger = logging.getLogger("fastserve.error")


class Obedient(Parent):
    """A parent of workers that is told by handle_signal(), and by submit(), which calls obey() in the main thread."""

    config: Config
    processes_num: int
    signals: Signals
    slots: list[Slot]
    leaving: list[Process]
    replacements: list[Replacement]
    replacing: Replacement | None
    generations: Generations | None
    notifier: Notifier | None
    should_exit: threading.Event
    told: dict[int, int]

    @property
    def is_stopping(self) -> bool:
        return self.should_exit.is_set()

    def restart_all(self) -> None:
        raise NotImplementedError

    def add_slot(self) -> None:
        raise NotImplementedError

    def summary(self) -> str:
        raise NotImplementedError

    # Signals

    def handle_signal(self, number: int) -> None:
        name = SIGNALS[number]
        handler = getattr(self, f"handle_{name.lower()}", None)
        if handler is None:
            logger.debug("Received signal %s, but no handler is defined for it.", name)
        elif number in self.told:  # to stop, again
            self.told[number] += 1
            self.hasten()
        elif not self.should_exit.is_set() or name in ("INT", "TERM", "BREAK"):
            handler()

    def exit_on(self, number: int) -> None:
        self.told[number] = 1
        if not self.should_exit.is_set():
            logger.info("Received %s, exiting.", signal.Signals(number).name)
            self.should_exit.set()

    def hasten(self) -> None:
        """Tell stopping workers how often the parent was told to stop, if more than once."""
        for number, times in self.told.items():
            for process in self.leaving:
                if times > 1:
                    process.hasten(times, number == signal.SIGINT)

    def handle_int(self) -> None:
        self.exit_on(signal.SIGINT)

    def handle_term(self) -> None:
        self.exit_on(signal.SIGTERM)

    def handle_break(self) -> None:
        self.exit_on(signal.SIGBREAK)  # type: ignore[attr-defined,unused-ignore]

    def handle_hup(self) -> None:
        logger.info("Received SIGHUP, restarting processes.")
        self.restart_all()

    def handle_usr1(self) -> None:
        take_user_signal(signal.SIGUSR1)
        self.reopen_processes()

    def reopen_processes(self) -> None:
        if self.generations is not None:
            self.generations.reopen()
        super().reopen_processes()

    def handle_ttin(self) -> None:
        logger.info("Received SIGTTIN, increasing the number of processes.")
        self.add_worker()
        self.tell_summary()

    def add_worker(self) -> bool:
        try:
            self.add_slot()
        except OSError as exc:
            logger.error("Keeping %d processes: %s", self.processes_num, exc)
            return False
        self.processes_num += 1
        return True

    def handle_ttou(self) -> None:
        logger.info("Received SIGTTOU, decreasing number of processes.")
        if len(self.slots) <= 1:
            logger.info("Already reached one process, cannot decrease the number of processes anymore.")
            return
        self.remove_worker()
        self.tell_summary()

    def remove_worker(self) -> None:
        self.processes_num -= 1
        slot = self.slots[-1]
        serves_on = bool(slot.own)
        for process in self.remove_slot(slot):
            process.why = "replaced"
            if not serves_on:
                process.retire()

    def remove_slot(self, slot: Slot) -> list[Process]:
        """Remove a slot, and hand its sockets over; return its workers, which are to leave."""
        self.slots.remove(slot)
        going = [each for each in (slot.current, slot.successor) if each is not None]
        self.leaving += going
        if self.replacing is not None and self.replacing.slot is slot:
            self.replacing = None
        if slot.own and self.slots:
            self.hand_over(slot)
        return going

    def hand_over(self, slot: Slot) -> None:
        """Hand the sockets of a removed slot to another one; its workers keep serving until then."""
        receiver = self.slots[-1]
        receiver.receive(slot)
        for process in (receiver.current, receiver.successor):
            if process is not None:
                self.replacements.append(Replacement(receiver, process, "SIGTTOU"))

    def tell_summary(self) -> None:
        if self.notifier is not None:
            self.notifier.status(self.summary())

    # Orders of the control socket

    def submit(self, order: Order) -> None:
        self.signals.submit(order)

    def order_reload(self, asked: Asked) -> Any:
        self.restart_all()
        return {"reloading": len(self.slots)}

    def order_stop(self, asked: Asked) -> Any:
        # To a worker that lingers, the second SIGINT means to stop lingering, and the third to stop at once.
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
            raise Refused(503, f"there are {len(self.slots)} workers; the log says why")
        return {"workers": wanted}

    def order_replace(self, asked: Asked) -> Any:
        process, slot = self.of_order(asked)
        if any(each.process is process for each in (*self.replacements, self.replacing) if each is not None):
            raise Refused(409, f"worker {asked.worker} is being replaced")
        self.replacements.append(Replacement(slot, process, "control socket"))
        return {"replacing": process.pid}

    def process_of(self, asked: Asked) -> Process:
        return self.of_order(asked)[0]

    def of_order(self, asked: Asked) -> tuple[Process, Slot]:
        """Return the worker that an order names, and its slot. Raises Refused."""
        slot = next((slot for slot in self.slots if slot.place == asked.worker), None)
        if slot is None:
            raise Refused(404, f"there is no worker {asked.worker}")
        if slot.current is None:
            raise Refused(409, f"worker {asked.worker} is about to be started")
        return slot.current, slot
