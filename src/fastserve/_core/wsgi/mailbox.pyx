"""What threads tell an event loop, which is woken once for all that is told meanwhile.

A loop that is woken wants the interpreter's lock, which the thread that wakes it holds: where nothing else is to do, on
one processor, that is two switches of threads for nothing. So a thread with nothing else to do wakes it through an
eventfd, where the system has them: writing there lets go of the lock, as call_soon_threadsafe() cannot.

While the loop wakes a thread, that thread may run, and often is done before the loop goes on. What is told meanwhile,
from `watched` to unwatch(), wakes nobody: the loop looks there by itself.
"""
import os

from ..interfaces cimport DirectCall
from ..loop.turn cimport Turn

cdef object eventfd_read = getattr(os, "eventfd_read", None)
cdef object eventfd_write = getattr(os, "eventfd_write", None)


cdef Reports make_reports(loop, Turn turn):
    """Reports to a loop; with `turn` to the core's own, after which close() is called."""
    cdef Reports self = Reports.__new__(Reports)
    self.loop = loop
    self.turn = turn
    self.calls = []
    self.deliver = self._deliver
    self.event = -1
    if turn is not None and eventfd_write is not None:
        try:
            self.event = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            loop.add_reader(self.event, self._read)
        except (OSError, NotImplementedError):  # no descriptor is left, or the loop does not wait for any
            self.close_event()
    return self


cdef class Reports:
    """See make_reports()."""

    cdef int add(self, DirectCall call, bint last) except -1:
        """Have `call.noticed()` called in the event loop, unless that is closed; `last`: the thread has no other call."""
        self.calls.append(call)
        if self.scheduled or self.watched:
            return 0
        self.scheduled = True
        if last and self.event >= 0 and not self.closed:
            self.writing += 1  # without the lock the loop may close what this thread writes to
            try:
                eventfd_write(self.event, 1)
            finally:
                self.writing -= 1
                if self.closed:
                    self.close_event()
            return 0
        try:
            self.loop.call_soon_threadsafe(self.deliver)
        except RuntimeError:
            self.calls.clear()  # the server has stopped without waiting for this thread
        return 0

    def _read(self):
        eventfd_read(self.event)
        self._deliver()

    def _deliver(self):
        if self.turn is not None:
            self.turn.enter()
        try:
            self.tell()
        finally:
            if self.turn is not None:
                self.turn.leave()

    cdef int unwatch(self) except -1:
        """Deal with what was told while the loop watched; to be called in a turn."""
        self.watched = False
        return self.tell() if self.calls else 0

    cdef int tell(self) except -1:
        cdef DirectCall call
        self.scheduled = False  # first: who adds from here on wakes the loop again
        calls, self.calls = self.calls, []
        for call in calls:
            try:
                call.noticed()
            except Exception as exc:  # the others are to be told all the same
                self.loop.call_exception_handler({"message": "Exception in a call's report", "exception": exc})
        return 0

    cdef int close(self) except -1:
        """Let go of the descriptor, in the event loop; what is told from here on takes the other way."""
        if self.event < 0 or self.closed:
            return 0
        self.closed = True
        if not self.loop.is_closed():
            self.loop.remove_reader(self.event)
            if self.scheduled:
                self.loop.call_soon(self.deliver)
        return self.close_event()

    cdef int close_event(self) except -1:
        event = self.event
        if event >= 0 and not self.writing:
            self.event = -1
            os.close(event)
        return 0
