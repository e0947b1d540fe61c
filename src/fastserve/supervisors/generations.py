"""The template processes of a parent (--preload): a generation of workers is forked from each.

A new template imports the code on the disk while the current one goes on forking. The current one is kept until the
new generation serves, in case that cannot start.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from fastserve.config import Config
from fastserve.supervisors.process import fate
from fastserve.supervisors.slot import STABLE_SECONDS
from fastserve.supervisors.template import Template

FIRST_DELAY, LONGEST_DELAY = 0.5, 30.0  # seconds before a template that ended is replaced

logger = logging.getLogger("fastserve.error")


class Generations:
    """Template processes: begin() one, and call look() often; `current` forks the workers, None until one is ready.

    `ready` is called when a template has become the current one, `failed` with the reason when one has not.
    """

    def __init__(self, config: Config, ready: Callable[[], None], failed: Callable[[str], None]) -> None:
        self.config = config
        self.ready = ready
        self.failed = failed
        self.current: Template | None = None
        self.coming: Template | None = None  # imports the application
        self.previous: Template | None = None  # kept until the new generation serves
        self.leaving: list[Template] = []  # end after their last workers
        self.failures = 0  # templates in a row that ended, as the current one or before they were
        self.due: float | None = None  # when to replace a template that ended

    def begin(self) -> None:
        """Start a template, and end one that still imports: it may have read old code."""
        self.due = None
        self.leave(self.coming)
        self.coming = None
        try:
            self.coming = Template(self.config)
        except (OSError, ValueError) as exc:
            self.failed(f"Cannot start template process: {exc}")

    def look(self) -> None:
        """Handle what templates have sent, and those that have ended."""
        for template in self.all:
            template.receive()
        self.leaving = [each for each in self.leaving if not ended(each)]
        if ended(self.previous):
            self.previous = None
        if ended(self.current):
            self.lost()
        coming = self.coming
        if coming is not None and coming.ready:
            logger.debug("Template process [%d] is ready.", coming.pid)
            self.leave(self.previous)
            self.previous, self.current, self.coming = self.current, coming, None
            self.ready()
        elif ended(coming):
            assert coming is not None
            self.coming = None
            self.failed(f"Template process [{coming.pid}] ended before it was ready ({fate(coming.process.exitcode)})")
        if self.due is not None and time.monotonic() >= self.due:
            self.begin()

    def lost(self) -> None:
        """Replace a current template that has ended, for example because memory ran out."""
        assert self.current is not None
        logger.error("Template process [%d] died: %s", self.current.pid, fate(self.current.process.exitcode))
        if time.monotonic() - self.current.ready_at >= STABLE_SECONDS:
            self.failures = 0
        self.current = None
        self.retry()

    def retry(self) -> None:
        """Schedule a template in place of one that ended."""
        self.failures += 1
        if self.coming is None:
            delay = 0.0 if self.failures == 1 else min(FIRST_DELAY * 2.0 ** (self.failures - 2), LONGEST_DELAY)
            self.due = time.monotonic() + delay

    def settle(self, failed: bool) -> None:
        """End the generation that a restart leaves over: the previous one, or the new one if that has failed."""
        if failed and self.previous is not None:
            self.current, self.previous = self.previous, self.current
        self.leave(self.previous)
        self.previous = None

    def leave(self, template: Template | None) -> None:
        if template is not None and not template.gone:
            template.retire()
            self.leaving.append(template)

    @property
    def all(self) -> list[Template]:
        found = [*self.leaving, self.previous, self.current, self.coming]
        return [each for each in found if each is not None]

    @property
    def handles(self) -> list[Any]:
        """Handles to wait on until one of them sends something or ends."""
        return [each.channel for each in self.all if not each.gone]

    def reopen(self) -> None:
        for template in self.all:
            template.reopen()

    def stop_coming(self) -> None:
        """Let no further template become the current one."""
        self.due = None
        self.leave(self.coming)
        self.coming = None

    def close(self) -> None:
        for template in self.all:
            template.close()


def ended(template: Template | None) -> bool:
    """Return whether a template has ended, and reap it then."""
    if template is None or not template.gone:
        return False
    template.process.join()
    template.channel.close()
    return True
