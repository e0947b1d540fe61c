"""One of a topic: what a topic and the connection that gets its messages ask of it."""
from ..interfaces cimport Pending, Subscribing
from .message cimport Message


cdef enum:
    # What becomes of a subscriber that does not keep up.
    CLOSE  # its connection is closed
    OLDEST  # it loses its oldest messages, and is told so
    LATEST  # it gets the newest message alone


cdef class Member(Subscribing):
    """Thousands of each topic are kept: it is small."""
    cdef Pending subscriber  # the Subscriber; what a delivery needs is here, in one place of memory; None once it has ended
    cdef Py_ssize_t index  # among the topic's members
    # Of the subscription; as fields of a subclass these would take eight bytes more.
    cdef char in_json
    cdef char slow
    cdef char recovers
    cdef char has_begun

    cdef int take(self, Message message) except -1
    cdef int miss(self) except -1  # messages of its topic are lost
    cdef Message gap(self)  # what its client is told of messages that it did not get, or None
    cdef Member unlink(self)  # return the member that its connection has after it, and forget that
    cdef int end(self) except -1  # of the connection
