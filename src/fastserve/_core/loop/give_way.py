"""A turn of the loop that an application gives when it sends to nobody, and what a cancellation does in it.

Where such a send() does not suspend, as under uvicorn, a task is cancelled where it waits: in a generator, whose
finally blocks then run at once and in this task. Here the same is seen. A cancellation within the turn is put off:
send() returns, and the task is cancelled again in the next turn, where it has gone on to by then. If that is another
send() to nobody, the cancellation is put off once more, up to PUT_OFF times in a row, so that an application that sends
without end is ended.

It is not repeated at once, within the step that send() returns to. Up to Python 3.12 a task that cancels itself is
cancelled even if that is taken back: by a timeout or a group of tasks that ends in the same step.
"""

from __future__ import annotations

import asyncio
import threading
import types
from collections.abc import Generator
from typing import Any

PUT_OFF = 16
# How the messages of anyio's cancellations begin, by version. Its scopes repeat them themselves in each turn of the
# loop, and know when not to: a task may be shielded by now, or have left the scope.
REPEATED = ("Cancelled by cancel scope ", "Cancelled via cancel scope ")


class Latest(threading.local):
    """What was put off last in the loop of this thread. The task's next suspension is in the same step."""

    put_off: PutOff | None = None


latest = Latest()


class PutOff:
    """A cancellation that was put off."""

    __slots__ = ("before", "message", "task", "times")

    def __init__(self, task: Any, before: int | None, times: int, message: Any) -> None:
        self.task = task
        self.before = before  # requests of it that were there before
        self.times = times  # that this one has been put off, in a row
        self.message = message

    def repeat(self) -> None:
        """Cancel the task, which has gone on since, unless that has been taken back by uncancel()."""
        if latest.put_off is self:
            latest.put_off = None
        if isinstance(self.message, str) and self.message.startswith(REPEATED):
            return
        if not self.task.done() and is_requested(self.task, self.before):
            self.task.cancel(self.message)
            if hasattr(self.task, "uncancel"):
                self.task.uncancel()  # cancelling() counts what others have called


def requests(task: Any) -> int | None:
    """Return how many calls of cancel() have not been taken back, or None where a task cannot tell (Python 3.10)."""
    return task.cancelling() if hasattr(task, "cancelling") else None


def is_requested(task: Any, before: int | None) -> bool:
    """Return whether cancel() has been called since there were `before` requests."""
    now = requests(task)
    return now is None or before is None or now > before


def running_task() -> Any:
    try:
        return asyncio.current_task()
    except RuntimeError:  # no loop runs
        return None


@types.coroutine
def give_way() -> Generator[None, None, None]:
    """Suspend for a turn of the loop."""
    task = running_task()
    last = latest.put_off
    if last is not None and last.task is task:
        before, times = last.before, last.times
    else:
        before, times = requests(task), 0
        if before and getattr(task, "_must_cancel", False):
            before -= 1  # cancelled by itself, in this step
    try:
        yield
    except asyncio.CancelledError as error:
        if task is None or times == PUT_OFF or not is_requested(task, before):
            raise
        latest.put_off = PutOff(task, before, times + 1, error.args[0] if error.args else None)
        task.get_loop().call_soon(latest.put_off.repeat)
