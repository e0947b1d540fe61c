"""Reports from threads to an event loop."""
from ..interfaces cimport DirectCall
from ..loop.turn cimport Turn


cdef class Reports:
    cdef readonly object loop
    cdef Turn turn  # of the core, None for the loop of another server
    cdef list calls  # that have something to report
    cdef bint scheduled
    cdef bint watched  # the loop checks `calls` before it waits again
    cdef object deliver  # bound method _deliver, made once
    cdef int event  # an eventfd(2) that the loop reads, or -1
    cdef int writing  # number of threads that are writing to it
    cdef bint closed

    cdef int add(self, DirectCall call, bint last) except -1
    cdef int unwatch(self) except -1
    cdef int tell(self) except -1
    cdef int close_event(self) except -1
    cdef int close(self) except -1


cdef Reports make_reports(loop, Turn turn)
