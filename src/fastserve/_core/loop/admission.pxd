"""The queue of applicants that wait until something that runs has ended."""
from ..metrics cimport Metrics
from .clock cimport Clock, Timed


cdef class Place(Timed):
    """What a limit gives an exchange: a place among those that run, or one in the queue."""
    cdef int leave(self) except -1


cdef class Applicant(Place):
    """A place in the queue."""
    cdef Admission admission  # while it waits, else None
    cdef object line  # applicants with the same line share its turns; None for a line of its own

    cdef bint admitted(self) except -1  # begin; return false if that has become pointless
    cdef int refused(self) except -1  # the queue is full, or it has waited for too long


cdef class Admission:
    cdef Clock clock
    cdef Metrics metrics
    cdef Py_ssize_t most
    cdef readonly Py_ssize_t length  # of the queue
    cdef readonly Py_ssize_t ends_awaited  # how many wait for an exchange to end: those in the queue, and others
    cdef object lines  # an OrderedDict of dicts of applicants, by their line

    cdef int enter(self, Applicant applicant) except -1
    cdef int let_in(self, long places) except -1
    cdef int remove(self, Applicant applicant) except -1
    cdef object line_to_cut(self, object line)
    cdef int count(self, int more) except -1
