"""What an application waits for in an exchange, cheaper than a future.

To a task of asyncio this is a future without a result, with callbacks that the loop calls. A task of ours that awaits
it is resumed with the turn's applications, like an exchange that begins: it takes part in the batches of the turn,
and neither a callback nor a turn of the loop is spent on it.
"""
import contextvars
from asyncio import CancelledError, InvalidStateError

from .turn cimport Runnable, Turn

cdef enum:
    PENDING
    DONE
    CANCELLED


cdef Waiter make_waiter(object loop, Turn turn):
    cdef Waiter self = Waiter.__new__(Waiter)
    self._asyncio_future_blocking = False
    self.loop = loop
    self.turn = turn
    return self


cdef class Sleeper:
    cdef void resume(self) noexcept:
        """Go on."""


cdef class Waiter(Runnable):
    cdef bint is_pending(self) noexcept:
        return self.state == PENDING

    cdef bint rearm(self) noexcept:
        if self.state != DONE or self.sleeper is not None or self.callbacks is not None:
            return False
        self.state = PENDING
        return True

    cdef int wake(self) except -1:
        """End the wait."""
        if self.state != PENDING:
            return 0
        self.state = DONE
        return self.turn.submit(self) if self.sleeper is not None else self.schedule_callbacks()

    cdef int wake_later(self) except -1:
        """End the wait; the task goes on once the loop has finished what it is doing."""
        if self.state == PENDING:
            self.state = DONE
            self.leave_to_loop()
        return 0

    cdef int leave_to_loop(self) except -1:
        sleeper, self.sleeper = self.sleeper, None
        if sleeper is not None:
            self.loop.call_soon(sleeper._wakeup, self, context=sleeper.get_context())
        return self.schedule_callbacks()

    cdef void run(self) noexcept:
        sleeper, self.sleeper = self.sleeper, None
        if sleeper is not None:
            (<Sleeper>sleeper).resume()

    cdef int schedule_callbacks(self) except -1:
        if self.callbacks is not None:
            for function, context in self.callbacks:
                self.loop.call_soon(function, self, context=context)
            self.callbacks.clear()
        return 0

    def cancel(self, msg=None):
        """Raise CancelledError where this is awaited. Return False if the wait is already over."""
        if self.state != PENDING:
            return False
        self.state = CANCELLED
        self.cancel_message = msg
        self.leave_to_loop()
        return True

    def get_loop(self):
        return self.loop

    def done(self):
        return self.state != PENDING

    def cancelled(self):
        return self.state == CANCELLED

    def result(self):
        if self.state == PENDING:
            raise InvalidStateError("Result is not set.")
        if self.state == CANCELLED:
            raise CancelledError() if self.cancel_message is None else CancelledError(self.cancel_message)

    def exception(self):
        self.result()

    def add_done_callback(self, fn, *, context=None):
        """Call `fn(self)` from the loop when the wait is over."""
        if context is None:
            context = contextvars.copy_context()
        if self.state != PENDING:
            self.loop.call_soon(fn, self, context=context)
            return
        if self.callbacks is None:
            self.callbacks = []
        self.callbacks.append((fn, context))

    def remove_done_callback(self, fn):
        """Remove each callback equal to `fn`. Return how many there were."""
        before = self.callbacks or []
        left = [each for each in before if each[0] != fn]
        removed = len(before) - len(left)
        if removed:
            self.callbacks = left
        return removed
