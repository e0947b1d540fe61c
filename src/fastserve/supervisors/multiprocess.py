"""The parent of the workers: it starts and stops them, and replaces those that end, hang or ask for it.

A replacement takes over in this order: it starts, listens on the same sockets and reports that it is ready; then the
previous worker is told to retire. Connections in the queue of a socket are served by any worker. Workers are replaced
one at a time: there is never more than one extra worker.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from multiprocessing.connection import wait
from typing import TYPE_CHECKING

from fastserve._subprocess import get_subprocess
from fastserve.config import STARTUP_FAILURE, Config
from fastserve.logging.formatters import style
from fastserve.metrics.source import ParentSource
from fastserve.metrics.watched import Watched
from fastserve.net.listeners import PlainSockets
from fastserve.net.sockets import bind_again
from fastserve.operations.orders import Order
from fastserve.process.service_manager import Notifier
from fastserve.server import Server
from fastserve.supervisors.generations import Generations
from fastserve.supervisors.messages import READY, WORN
from fastserve.supervisors.obedient import Obedient
from fastserve.supervisors.process import Process, fate
from fastserve.supervisors.signal_queue import SIGNALS, Signals
from fastserve.supervisors.slot import Replacement, Slot, Workers
from fastserve.supervisors.succession import Succession

if TYPE_CHECKING:
    from fastserve.metrics.service import Service
    from fastserve.operations.control import Control

TICK = 0.5  # longest time in seconds between two checks of the workers
SCARCITY_SECONDS = 1.0  # before retrying to start a worker that the system had no resources for
PATIENCE = 3  # how many times longer than the previous worker a replacement may take to get ready

logger = logging.getLogger("fastserve.error")

__all__ = [
    "SIGNALS",
    "STARTUP_FAILURE",
    "Config",
    "Multiprocess",
    "Process",
    "Server",
    "get_subprocess",
    "logger",
    "style",
]


class Multiprocess(Obedient, Succession):
    """Keeps `config.workers` worker processes serving on bound sockets: call run(). `should_exit` stops it.

    Afterwards, `startup_failed` tells whether a worker failed to start the application, as the next one would.
    """

    def __init__(self, config: Config, sockets: list[socket.socket]) -> None:
        super().__init__()
        self.config = config
        self.sockets = sockets
        self.plain_sockets = config.plain_sockets  # which of them are without TLS
        self.processes_num = config.workers or 1
        self.slots: list[Slot] = []
        self.leaving: list[Process] = []  # told to stop
        self.replacements: list[Replacement] = []  # pending
        self.replacing: Replacement | None = None  # in progress
        self.restarting = False  # because of SIGHUP
        self.restart_failed = False  # the last one
        self.serving = False  # a worker has reported that it is ready
        self.should_exit = threading.Event()
        self.startup_failed = False
        self.notifier: Notifier | None = None
        self.metrics: Service | None = None  # serves what the workers count
        self.control: Control | None = None
        self.close_listeners: Callable[[], object] | None = None  # called once no worker is listening
        self.listens = True
        self.watched = Watched()  # what its processes count, and what becomes of them
        self.generations: Generations | None = None  # of templates that fork the workers
        if config.preload:
            self.generations = Generations(config, self.template_ready, self.template_failed)
        config.join_family(os.getpid())
        self.signals = Signals()
        self.told: dict[int, int] = {}  # how often each signal requested a stop
        self.looked_at = time.monotonic()

    @property
    def processes(self) -> list[Process]:
        """The workers that serve or are starting.

        A subclass that starts and stops workers itself appends them, puts them in the places of others, and pops them.
        """
        return Workers(self.slots, self.adopt, self.disown)

    def adopt(self, process: Process, slot: Slot | None) -> Slot:
        """Watch over a worker that has been started elsewhere, in a slot or a new one, and replace it when it ends."""
        if slot is None:
            slot = Slot(self.sockets, [], len(self.slots))
            slot.initial = not self.serving
            self.slots.append(slot)
        old, slot.current = slot.current, process
        if old is not None and old is not process:
            self.leaving.append(old)
        self.brief(process)
        return slot

    def disown(self, slot: Slot) -> None:
        """Remove a slot whose worker is stopped elsewhere."""
        successor = slot.successor
        self.remove_slot(slot)
        if successor is not None:
            successor.retire()

    @property
    def signal_queue(self) -> deque[int | Order]:
        """Signals and orders received and not handled yet."""
        return self.signals.queue

    @property
    def everyone(self) -> list[Process]:
        successors = [slot.successor for slot in self.slots if slot.successor is not None]
        return [*self.processes, *successors, *self.leaving]

    def run(self) -> None:
        """Run the workers until told to stop; return when the last one has ended."""
        self.log_process("Started parent process [%d]")
        self.show()
        with self.signals.captured():
            try:
                self.init_processes()
                while not self.should_exit.is_set():
                    self.look()
                if self.succeeded:
                    self.retire_all()
                else:
                    self.terminate_all()
                self.join_all()
            finally:
                for process in self.everyone:  # left over only after an exception
                    process.kill()
                    process.join()
                if self.generations is not None:
                    self.generations.close()
                if self.successor is not None:
                    self.successor.stop()
        for slot in self.slots:
            slot.close()
        self.signals.close()
        self.close_channels()
        if self.metrics is not None:
            self.metrics.stop()
        if self.control is not None:
            self.control.stop()
        self.log_process("Stopping parent process [%d]")

    def show(self) -> None:
        """Begin to serve the metrics and the control socket."""
        source = ParentSource(self.watched, self.states, self.is_ready, lambda: self.all_sockets)
        if self.metrics is not None:
            self.metrics.start(source)
        if self.control is not None:
            self.control.start(source, self)

    def is_ready(self) -> bool:
        """Return whether a worker serves, and there is no stop."""
        return not (self.should_exit.is_set() or self.drained) and any(process.ready for process in self.processes)

    def states(self) -> dict[int, str]:
        """Return what each process does, by its pid."""
        leaving = {process.pid for process in self.leaving}
        return {
            process.pid: "stopping" if process.pid in leaving else "ready" if process.ready else "starting"
            for process in self.everyone
            if process.pid is not None
        }

    @property
    def all_sockets(self) -> list[socket.socket]:
        """The sockets that the workers listen on, those of the slots among them."""
        return list({id(sock): sock for slot in self.slots for sock in slot.sockets}.values())

    def log_process(self, message: str) -> None:
        coloured = message.replace("%d", style("%d", fg="cyan", bold=True))
        logger.info(message, os.getpid(), extra={"color_message": coloured})

    # Starting and stopping

    def init_processes(self) -> None:
        """Start the configured number of workers, or the template for them."""
        if self.generations is not None:
            self.generations.begin()
        left = [] if self.takeover is None else self.takeover.own_sockets(len(self.sockets))
        for _ in range(self.processes_num):
            self.add_slot(left.pop(0) if left and self.slots else [])
        for each in left:
            self.slots[-1].keep(each)

    def add_slot(self, own: list[socket.socket] | None = None) -> None:
        """Add a place for a worker, which may have sockets of its own already."""
        own = own or []
        if self.config.reuse_port and self.slots and not own:
            receiver = next((slot for slot in self.slots if slot.received), None)
            own = [bind_again(sock) for sock in self.sockets] if receiver is None else receiver.release()
        slot = Slot(own or self.sockets, own, len(self.slots))
        slot.initial = not self.serving  # a failure does not stop workers that serve
        self.slots.append(slot)
        if self.can_start:
            slot.current = self.new_process(slot)

    def new_process(self, slot: Slot) -> Process | None:
        """Return a new worker for a slot; None if it cannot start, which sets should_exit if retrying is pointless."""
        count = len(self.sockets)
        plain = {
            index: self.plain_sockets[index % count]
            for index in range(len(slot.sockets))
            if index % count in self.plain_sockets
        }
        try:
            process = self.made_process(slot, plain)
            process.start()
            self.brief(process)
        except ValueError as exc:
            logger.error("%s", exc)
            self.fail()
            return None
        except OSError as exc:  # out of processes, memory or descriptors, perhaps for a while
            if slot.initial:
                logger.error("Cannot start worker: %s", exc)
                self.fail()
                return None
            delay = max(slot.failed(None), SCARCITY_SECONDS)
            slot.due = time.monotonic() + delay
            logger.error("Cannot start worker: %s; retrying in %g s", exc, delay)
            return None
        return process

    def made_process(self, slot: Slot, plain: PlainSockets) -> Process:
        template = None if self.generations is None else self.generations.current
        return Process(
            self.config, slot.sockets, plain=plain, watched=self.watched, place=slot.place, template=template
        )

    @property
    def can_start(self) -> bool:
        """Whether a worker can be started: with --preload, once a template has imported the application."""
        return self.generations is None or self.generations.current is not None

    def fail(self) -> None:
        self.startup_failed = True
        self.should_exit.set()

    def terminate_all(self) -> None:
        """Tell every worker to stop after the requests under way."""
        if self.notifier is not None:
            self.notifier.stopping()
        if self.generations is not None:
            self.generations.stop_coming()
        if self.successor is not None:
            self.successor.process.terminate()
        for process in self.everyone:
            process.why = process.why or "stop"
            process.terminate()
        self.leaving = self.everyone
        for slot in self.slots:
            slot.current = slot.successor = None
        self.hasten()

    def join_all(self) -> None:
        """Return when the last worker has ended."""
        for process in self.leaving:
            logger.info("Waiting for child process [%d]", process.pid)
        while self.leaving:
            self.stop_listening()
            self.look()

    def stop_listening(self) -> None:
        """Close the parent's copies of the listening sockets when no worker has one open any more.

        From then on clients are refused instead of reset later, and the next server can bind.
        """
        if self.listens and not any(process.listens for process in self.leaving):
            self.listens = False
            for slot in self.slots:
                slot.close()
            if self.close_listeners is not None:
                self.close_listeners()
            logger.debug("All workers have stopped listening: connections are refused.")

    # Watching

    def look(self) -> None:
        """Wait up to TICK seconds for something to happen, and handle it."""
        self.wait()
        for each in self.signals.taken():
            if isinstance(each, Order):
                each.carry_out(self.obey)
            else:
                self.handle_signal(each)
        for process in self.everyone:
            process.receive()
        if self.generations is not None:
            self.generations.look()
        self.look_at_leaving()
        self.keep_subprocess_alive()
        self.look_at_next_parent()
        self.look_at_ancestors()
        if self.notifier is not None:
            self.notifier.watchdog()

    def wait(self) -> None:
        everyone = self.everyone
        tick = min([self.ping_interval, *(max(each - time.monotonic(), 0.0) for each in self.due())])
        handles = [handle for process in everyone for handle in process.handles]
        if self.generations is not None:
            handles += self.generations.handles
        if self.successor is not None and not self.should_exit.is_set():
            handles.append(self.successor.channel)
        handles += [each.channel for each in self.ancestors]
        wait([self.signals.reader, *handles], tick)
        now = time.monotonic()
        stood_still = now - self.looked_at - 2 * TICK  # the whole machine, perhaps
        for process in everyone:
            if stood_still > 0:
                process.forgive(stood_still)
            process.ask(self.ping_interval)
        self.looked_at = now

    def due(self) -> list[float]:
        """Return the times at which workers are due to start."""
        if self.should_exit.is_set() or not self.can_start:
            return []
        missing = [slot.due for slot in self.slots if slot.current is None]
        # Replacements start one at a time: the others wait for the current one, not for the clock.
        return missing if self.replacing is not None else missing + [each.due for each in self.replacements]

    @property
    def ping_interval(self) -> float:
        return min(TICK, self.config.timeout_worker_healthcheck / 4)

    def keep_subprocess_alive(self) -> None:
        """Handle what the workers sent, and workers that hang or have ended."""
        for slot in self.slots:
            if slot.successor is not None:
                self.look_at_successor(slot, slot.successor)
            if slot.current is not None:
                self.look_at_current(slot, slot.current)
            due = self.can_start and time.monotonic() >= slot.due
            if slot.current is None and due and not self.should_exit.is_set():
                slot.current = self.new_process(slot)
            for process in slot.retired():
                process.retire()
        if not self.should_exit.is_set():
            self.next_replacement()
        self.retire_next()

    def look_at_leaving(self) -> None:
        for process in list(self.leaving):
            if self.has_ended(process):
                self.leaving.remove(process)

    def look_at_current(self, slot: Slot, process: Process) -> None:
        for kind, *details in process.take_events():
            if kind == READY:
                logger.debug("Child process [%d] is ready.", process.pid)
                slot.initial = False
                self.started_serving()
            elif kind == WORN:
                self.worn(slot, process, *details)
        if not self.has_ended(process):
            return
        slot.current = None
        if self.takeover is not None:
            self.log_death(process)
            self.fail()
        elif process.exitcode == STARTUP_FAILURE and slot.initial:
            message = "Child process [%d] failed to start, stopping the parent process."
            logger.error(message, process.pid, extra=which(process))
            self.fail()
        elif slot.successor is not None:
            self.log_death(process)
            slot.current, slot.successor, self.replacing = slot.successor, None, None
        elif not self.should_exit.is_set():
            self.log_death(process, slot.failed(process))

    def has_ended(self, process: Process) -> bool:
        """Return whether a process has ended; one that does not answer is killed first."""
        if process.is_alive(timeout=self.config.timeout_worker_healthcheck):
            self.warn_of_block(process)
            return False
        if process.process.is_alive():
            process.why = process.silent_why(self.config.timeout_worker_healthcheck)
            silence = process.silence(self.config.timeout_worker_healthcheck) or "has not answered in time"
            self.end_silent(process, silence)
            if self.notifier is not None:
                self.notifier.watchdog()  # this may have taken seconds, and others may hang as well
        process.join()
        return True

    def end_silent(self, process: Process, silence: str) -> None:
        message = "Child process [%d] %s. Killing it. It was at:\n%s"
        logger.error(message, process.pid, silence, process.where(), extra=which(process))
        process.kill()

    def warn_of_block(self, process: Process) -> None:
        """Log where a worker stands whose event loop is blocked, which delays all its requests."""
        seconds = process.new_block(self.config.timeout_worker_healthcheck)
        if seconds is not None:
            message = "Child process [%d] has an event loop that has been blocked for %.1f s. It is at:\n%s"
            logger.warning(message, process.pid, seconds, process.where(), extra=which(process))

    def log_death(self, process: Process, delay: float = 0.0) -> None:
        later = f"; starting the next one in {delay:g} s" if delay else ""
        code = process.exitcode
        logger.warning("Child process [%d] died: %s%s", process.pid, fate(code), later, extra=which(process))

    def started_serving(self) -> None:
        if not self.serving:
            self.serving = True
            if self.notifier is not None:
                self.notifier.ready(self.summary())
        self.take_over()

    def summary(self) -> str:
        return f"Serving with {len(self.slots)} worker processes"

    # Replacing

    def worn(self, slot: Slot, process: Process, reason: str, again_soon: bool) -> None:
        """Schedule the replacement of a worker that asks for it; after a back-off unless `again_soon`."""
        logger.info("Replacing worker [%d]: %s", process.pid, reason, extra=which(process))
        process.why = limit_of(reason)
        delay = 0.0 if again_soon else slot.failed(process)
        self.replacements.append(Replacement(slot, process, reason, due=time.monotonic() + delay))

    def next_replacement(self) -> None:
        """Begin the next pending replacement, unless one is in progress."""
        while self.replacing is None and self.can_start:
            now = time.monotonic()
            following = next((each for each in self.replacements if each.due <= now), None)
            if following is None:
                break
            self.replacements.remove(following)
            slot = following.slot
            if slot in self.slots and slot.current is following.process:
                slot.successor = self.new_process(slot)
                if slot.successor is not None:
                    self.replacing = following
                else:
                    following.due = slot.due
                    self.replacements.append(following)
        pending = self.replacing is not None or any(each.restart for each in self.replacements)
        importing = self.generations is not None and self.generations.coming is not None
        if self.restarting and not pending and not importing:
            self.end_restart()

    def look_at_successor(self, slot: Slot, process: Process) -> None:
        if process.ready:
            old, slot.current, slot.successor, self.replacing = slot.current, process, None, None
            assert old is not None
            message = "Child process [%d] takes over from child process [%d]"
            logger.info(message, process.pid, old.pid, extra=which(process))
            old.why = old.why or "replaced"
            old.retire()
            self.leaving.append(old)
            return
        assert slot.current is not None
        budget = max(self.config.timeout_worker_healthcheck, PATIENCE * slot.current.ready_seconds)
        in_time = process.age() < budget
        if process.process.is_alive() and in_time:
            return
        if in_time:
            why = f"ended before it was ready ({fate(process.exitcode)})"
        else:
            why = "was not ready in time"
            process.why = "startup"
            process.kill()
        process.join()
        slot.successor = None
        self.replacement_failed(process, why)

    def replacement_failed(self, process: Process, why: str) -> None:
        replacement, self.replacing = self.replacing, None
        assert replacement is not None
        kept = f"New child process [{process.pid}] {why}; keeping worker [{replacement.process.pid}]"
        if replacement.restart:
            logger.error("%s and aborting the restart.", kept)
            self.watched.reloaded("failed")
            self.restart_failed = True
            self.replacements = [each for each in self.replacements if not each.restart]
            return
        delay = max(replacement.slot.failed(process), 1.0)
        logger.error("%s, starting the next one in %g s.", kept, delay)
        replacement.due = time.monotonic() + delay
        self.replacements.append(replacement)

    def restart_all(self) -> None:
        """Begin to replace every worker, one at a time, so that they load the current code."""
        if self.notifier is not None:
            self.notifier.reloading()
        self.restarting, self.restart_failed = True, False
        self.replacements = [each for each in self.replacements if not each.restart]
        for slot in self.slots:
            slot.due = slot.failures = 0
        if self.generations is None:
            self.replace_all()
        else:
            self.generations.begin()  # the workers follow once it is ready

    def replace_all(self) -> None:
        for slot in self.slots:
            if slot.current is not None:
                self.replacements.append(Replacement(slot, slot.current, "SIGHUP", restart=True))
            if slot.successor is not None:
                self.replacements.append(Replacement(slot, slot.successor, "SIGHUP", restart=True))

    def template_ready(self) -> None:
        """Replace all workers by ones forked from the new template."""
        self.replace_all()

    def template_failed(self, text: str) -> None:
        """Go on with the present generation, if there is one."""
        assert self.generations is not None
        if self.restarting:
            logger.error("%s; keeping the workers and aborting the restart.", text)
            self.watched.reloaded("failed")
            self.restart_failed = True
        elif self.serving:
            logger.error("%s; keeping the present workers.", text)
            self.generations.retry()
        else:
            logger.error("%s, stopping the parent process.", text)
            self.fail()

    def end_restart(self) -> None:
        self.restarting = False
        if self.generations is not None:
            self.generations.settle(self.restart_failed)
        if not self.restart_failed:
            self.watched.reloaded("ok")
        if self.notifier is not None:
            self.notifier.ready(self.summary())


def limit_of(reason: str) -> str:
    """Return which limit a worker asks to be replaced for, as its end is counted."""
    for text, limit in (("request limit", "requests"), ("lifetime", "lifetime"), ("memory", "rss")):
        if text in reason:
            return limit
    return "replaced"


def which(process: Process) -> dict[str, int]:
    """Return what a record has of the worker that it is about, for a log of JSON."""
    return {"worker": process.place}
