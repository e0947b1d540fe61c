"""Formats of access lines, compiled to steps."""
cimport cython

from ..memory.buffer cimport Buffer
from .account cimport Account


cdef struct Step:
    int op
    # What precedes the value, and what follows it; borrowed from `kept`. Of LITERAL the first alone.
    const char* before
    Py_ssize_t before_size
    const char* after
    Py_ssize_t after_size
    void* argument  # borrowed from `kept`; the name of a header, or a constant
    int scale  # of a time: 0 for seconds, 3, 6, 9 for thousandths and so on
    int digits  # after the point


@cython.final
cdef class AccessFormat:
    cdef Step* steps
    cdef Py_ssize_t count
    cdef list kept
    cdef readonly bint is_json
    cdef readonly bint late  # a line needs the end of its exchange
    cdef readonly bint wants_headers  # those of the response
    # Times in texts, each for the second before it.
    cdef long long iso_second, clf_second, plain_second
    cdef bytes iso, clf, plain

    cdef int put(self, Buffer out, Account account) except -1  # a line and its end
    cdef int run(self, Buffer out, Account account, Py_ssize_t path, Py_ssize_t query) except -1
    cdef bint value(self, Buffer out, Account account, Step* step, Py_ssize_t path, Py_ssize_t query) except -1
    cdef int put_target(self, Buffer out, Account account, Py_ssize_t path, Py_ssize_t query) except -1
    cdef bint put_object(self, Buffer out, value, Py_ssize_t limit) except -1
    cdef int put_text(self, Buffer out, const char* data, Py_ssize_t size, Py_ssize_t limit) except -1
    cdef int put_time(self, Buffer out, int op, Account account) except -1


cdef object response_field(object headers, bytes name)
