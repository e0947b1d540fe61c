"""The topics of one event loop."""
from .ledger cimport Ledger
from .topic cimport Topic


cdef class Hub(Ledger):
    cdef readonly dict topics  # those that somebody is subscribed to, by name
    cdef object changed  # called with a name and whether it has subscribers now
    cdef Py_ssize_t last  # number of the newest subscriber
    cdef object loop  # where it is used
    cdef Py_ssize_t max_size  # bytes of a message
    cdef public long long published

    cdef Topic topic_of(self, str name)
    cdef int drop_deserted(self, Topic topic) except -1
