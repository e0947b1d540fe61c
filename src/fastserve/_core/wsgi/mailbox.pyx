"""Reports from threads to an event loop, which is woken once for all reports made until it runs.

A loop that is woken needs the interpreter's lock, which the thread that wakes it holds: if there is nothing else to do,
on one processor, this costs two useless switches of threads. So a thread with nothing else to do wakes the loop through
an eventfd if the system has them: unlike call_soon_threadsafe(), writing there releases the lock.

While the loop wakes a thread, that thread may run, and often ends before the loop goes on. Reports made in that time,
from `watched` to unwatch(), wake nobody: the loop checks for them itself.
"""
import os

cimport cython

from ..interfaces cimport DirectCall
from ..loop.turn cimport Turn

cdef object eventfd_read = getattr(os, "eventfd_read", None)
cdef object eventfd_write = getattr(os, "eventfd_write", None)


cdef Reports make_reports(loop, Turn turn):
    """Reports to a loop. With `turn` it is the core's own, and close() must be called in the end."""
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
        except (OSError, NotImplementedError):  # no descriptor is left, or the loop cannot wait for any
            self.close_event()
    return self


cdef class Reports:
    """See make_reports()."""

    cdef int add(self, DirectCall call, bint last) except -1:
        """Call `call.noticed()` in the event loop unless that is closed. `last`: the thread has no other call."""
        cdef bint quietly
        with cython.critical_section(self):
            self.calls.append(call)
            if self.scheduled or self.watched:
                return 0
            self.scheduled = True
            quietly = last and self.event >= 0 and not self.closed
            if quietly:
                self.writing += 1  # the loop must not close the descriptor while this thread writes without the lock
        if quietly:
            try:
                eventfd_write(self.event, 1)
            finally:
                with cython.critical_section(self):
                    self.writing -= 1
                if self.closed:
                    self.close_event()
            return 0
        try:
            self.loop.call_soon_threadsafe(self.deliver)
        except RuntimeError:
            with cython.critical_section(self):
                self.calls = []  # the server has stopped without waiting for this thread
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
        """Handle the reports made while the loop watched. Call it in a turn."""
        cdef bint any
        with cython.critical_section(self):
            self.watched = False
            any = len(self.calls) > 0
        return self.tell() if any else 0

    cdef int tell(self) except -1:
        cdef DirectCall call
        with cython.critical_section(self):
            self.scheduled = False  # first: reports from here on wake the loop again
            calls, self.calls = self.calls, []
        for call in calls:
            try:
                call.noticed()
            except Exception as exc:  # the others must still be handled
                self.loop.call_exception_handler({"message": "Exception in a call's report", "exception": exc})
        return 0

    cdef int close(self) except -1:
        """Release the descriptor, in the event loop; later reports use call_soon_threadsafe()."""
        with cython.critical_section(self):
            if self.event < 0 or self.closed:
                return 0
            self.closed = True
        if not self.loop.is_closed():
            self.loop.remove_reader(self.event)
            if self.scheduled:
                self.loop.call_soon(self.deliver)
        return self.close_event()

    cdef int close_event(self) except -1:
        cdef int event
        with cython.critical_section(self):
            event = -1 if self.writing else self.event
            if event >= 0:
                self.event = -1
        if event >= 0:
            os.close(event)
        return 0
