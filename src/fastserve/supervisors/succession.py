"""How a parent of workers hands over to its successor (SIGUSR2), or takes over from its predecessor.

The successor serves with all its workers before the predecessor lets go. Then the predecessor's workers retire one
after another, as when they are replaced, so that each can pass its histories of topics on to those that stay.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import time
from typing import TYPE_CHECKING, NamedTuple

from fastserve.config import Config
from fastserve.logging.log_files import take_user_signal
from fastserve.metrics.pages import Live
from fastserve.process.service_manager import Notifier
from fastserve.supervisors.process import Process
from fastserve.supervisors.slot import Slot
from fastserve.supervisors.successor import Estate, Successor, Takeover, impossible

if TYPE_CHECKING:
    from fastserve.metrics.service import Service
    from fastserve.metrics.watched import Watched
    from fastserve.operations.control import Control

MOST_ANCESTORS = 12  # whose workers are told apart, with the pages of metrics in one message
RETIRE_SECONDS = 1.0  # between two workers that retire, unless the first one ends sooner

logger = logging.getLogger("fastserve.error")


class Ancestor(NamedTuple):
    """A parent that has been replaced, and has not ended: then it closes the channel."""

    channel: socket.socket
    processes: list[Live]


class Succession:
    """A parent of workers that can have a successor, and be one."""

    config: Config
    sockets: list[socket.socket]
    slots: list[Slot]
    leaving: list[Process]
    notifier: Notifier | None
    metrics: Service | None
    control: Control | None
    should_exit: threading.Event
    told: dict[int, int]
    watched: Watched

    def __init__(self) -> None:
        self.estate: Estate | None = None  # what a successor would get
        self.successor: Successor | None = None  # while it starts
        self.succeeded = False  # it serves
        self.takeover: Takeover | None = None  # until this process has replaced its predecessor
        self.to_retire: list[Process] = []
        self.retiring: Process | None = None
        self.retire_due = 0.0
        self.channel: socket.socket | None = None  # to the successor, while both exist
        self.ancestors: list[Ancestor] = []  # the predecessor, and those before it

    @property
    def everyone(self) -> list[Process]:
        raise NotImplementedError

    def fail(self) -> None:
        raise NotImplementedError

    def summary(self) -> str:
        raise NotImplementedError

    def show(self) -> None:
        raise NotImplementedError

    # As the predecessor

    def handle_usr2(self) -> None:
        """Start a successor."""
        if self.estate is None:
            take_user_signal(signal.SIGUSR2)
            return
        if self.successor is not None:
            logger.info("Received SIGUSR2, but the successor [%d] has not started yet.", self.successor.pid)
            return
        why = impossible()
        if why is not None:
            logger.error("Received SIGUSR2, but there cannot be a successor: %s.", why)
            return
        logger.info("Received SIGUSR2, starting a successor.")
        own = [sock for slot in self.slots for sock in slot.own]
        try:
            self.successor = Successor(self.config, self.estate, own)
        except OSError as exc:
            logger.error("Cannot start a successor: %s", exc)

    def look_at_next_parent(self) -> None:
        """Let go if the successor serves; go on if it has failed."""
        successor = self.successor
        if successor is None or self.estate is None or self.should_exit.is_set():
            return
        successor.look()
        if successor.failed is not None:
            logger.error("Successor [%d] %s; this server keeps running.", successor.pid, successor.failed)
            self.successor = None
        elif successor.serves:
            logger.info("Successor [%d] serves: stopping this server.", successor.pid)
            if self.notifier is not None:
                self.notifier.passed_on(successor.pid)  # systemd takes it from the main process only
                self.notifier = None
            self.estate.let_go()
            self.metrics = self.control = None
            del self.ancestors[MOST_ANCESTORS:]
            self.leave_counts()
            counted, pages = self.watched.left([each.processes for each in self.ancestors])
            successor.go(counted, [*pages, *(each.channel.fileno() for each in self.ancestors)])
            self.close_channels()
            self.channel = successor.channel  # the end of this process closes it, for which the successor waits
            self.successor = None
            self.succeeded = True
            self.should_exit.set()

    def leave_counts(self) -> None:
        """Do what is due before the successor gets what has been counted."""

    def retire_all(self) -> None:
        """Begin to retire the workers."""
        self.to_retire = self.everyone
        self.leaving = self.everyone
        for slot in self.slots:
            slot.current = slot.successor = None
        self.retire_next()

    def retire_next(self) -> None:
        """Retire the next worker if it is time, or all of them if this process was told to stop as well."""
        while self.to_retire:
            waits = self.retiring in self.leaving and time.monotonic() < self.retire_due
            if waits and not self.told:
                return
            self.retiring = process = self.to_retire.pop(0)
            self.retire_due = time.monotonic() + RETIRE_SECONDS
            process.why = process.why or "replaced"
            process.retire()

    # As the successor

    def go_on_counting(self, counted: bytes, descriptors: list[int], channel: socket.socket) -> None:
        """Continue with the predecessor's counts, so that no counter falls."""
        processes: list[list[Live]] = [[]]
        try:
            if counted:
                processes, descriptors = self.watched.inherit(counted, descriptors)
        except Exception as exc:  # the predecessor may be another version
            logger.warning("Counters start from zero: those of the predecessor cannot be read: %s", exc)
            for descriptor in descriptors:
                os.close(descriptor)
            descriptors = []
        channels = [channel, *(socket.socket(fileno=descriptor) for descriptor in descriptors)]
        self.ancestors = [Ancestor(*each) for each in zip(channels, processes, strict=True)]

    def look_at_ancestors(self) -> None:
        """Count the workers of an earlier parent as ended once it has."""
        for each in list(self.ancestors):
            try:
                each.channel.setblocking(False)
                each.channel.recv(1)  # it says nothing more
            except BlockingIOError:
                continue
            except OSError:
                pass
            self.watched.ancestor_ended(each.processes)
            self.ancestors.remove(each)
            each.channel.close()

    def close_channels(self) -> None:
        """Close what leads to others: a successor looks at the ancestors of this process from now on."""
        for each in self.ancestors:
            each.channel.close()
        self.ancestors = []
        if self.channel is not None:
            self.channel.close()
            self.channel = None

    def take_over(self) -> None:
        """Replace the predecessor if all workers of this process serve."""
        if self.takeover is None or not all(slot.current is not None and slot.current.ready for slot in self.slots):
            return
        takeover, self.takeover = self.takeover, None
        try:
            counted, descriptors = takeover.complete(self.config)
        except OSError as exc:
            logger.error("%s", exc)
            self.fail()
            return
        self.go_on_counting(counted, descriptors, takeover.handover.channel)
        logger.info("Taken over from process [%d].", takeover.predecessor)
        assert self.estate is not None
        self.metrics, self.control = self.estate.metrics, self.estate.control
        self.show()
        self.notifier = Notifier.from_environment()
        if self.notifier is not None:
            self.notifier.ready(self.summary())
