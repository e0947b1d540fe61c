"""The exchanges in progress, in a form that a signal handler can read."""
from ..python cimport PyObject


cdef extern from "http/inflight.h":
    ctypedef struct Entry "fastserve_entry":
        Entry* next  # NULL while it is not in the list
        Entry* previous
        PyObject* method  # str
        PyObject* path  # bytes
        unsigned long thread  # whose loop serves it, as threading.get_ident()
        double since  # of a monotonic clock, exact to a few milliseconds


cdef bint enabled  # a signal handler reads the list

# Both objects must live until stop_tracking().
cdef void track(Entry* entry, str method, bytes path) noexcept
cdef void stop_tracking(Entry* entry) noexcept
