"""The queue of what waits until one of those that run has ended."""
from ..metrics cimport Metrics
from .clock cimport Clock, Timed


cdef class Place(Timed):
    """What an exchange has while it counts among those that something is limited to, or waits for that."""
    cdef int leave(self) except -1


cdef class Applicant(Place):
    """Something that waits for its turn."""
    cdef Admission admission  # while it waits, else None
    cdef object line  # that it waits in: those with the same line take turns with all others; None for one of its own

    cdef bint admitted(self) except -1  # begin; returns false if that has become pointless
    cdef int refused(self) except -1  # the queue is full, or it has waited for too long


cdef class Admission:
    cdef Clock clock
    cdef Metrics metrics
    cdef Py_ssize_t most
    cdef readonly Py_ssize_t length  # of the queue
    cdef readonly Py_ssize_t ends_awaited  # by how many the end of an exchange is awaited: by these, and by others
    cdef object lines  # an OrderedDict of dicts of applicants, by their line

    cdef int enter(self, Applicant applicant) except -1
    cdef int let_in(self, long places) except -1
    cdef int remove(self, Applicant applicant) except -1
    cdef object line_to_cut(self, object line)
    cdef int count(self, int more) except -1
