"""The members of one topic."""
cimport cython

from ..python cimport PyObject
from .member cimport Member
from .message cimport Message


cdef class Topic:
    cdef readonly str name
    cdef PyObject** members  # owned; NULL for one that has left during a walk
    cdef readonly Py_ssize_t count  # of them, and of those NULLs
    cdef Py_ssize_t capacity
    cdef Py_ssize_t holes
    cdef int walking
    cdef list listeners  # functions that are called with each message and whom it is not for, None before the first

    cdef int join(self, Member member) except -1
    cdef int leave(self, Member member) except -1
    cdef int deliver(self, Message message, Py_ssize_t exclude) except -1
    cdef void fetch(self, Py_ssize_t at) noexcept
    cdef void close_holes(self) noexcept
    cdef bint deserted(self) noexcept
