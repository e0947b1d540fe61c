"""The exchanges in progress, in a form that a signal handler can read."""
from cpython.object cimport PyObject


cdef extern from "http/inflight.h":
    ctypedef struct Entry "fastserve_entry":
        Entry* next  # NULL while it is not in the list
        Entry* previous
        PyObject* method  # str
        PyObject* path  # bytes
        double since  # of a clock that never goes back, exact to a few milliseconds


cdef bint enabled  # somebody may want to know

# Both objects have to live until stop_tracking().
cdef void track(Entry* entry, str method, bytes path) noexcept
cdef void stop_tracking(Entry* entry) noexcept
