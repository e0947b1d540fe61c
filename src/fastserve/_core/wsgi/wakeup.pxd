"""A gate: one thread waits there until another lets it through."""

cdef extern from "Python.h":
    ctypedef void* PyThread_type_lock


cdef class Gate:
    cdef PyThread_type_lock lock
    cdef int opened
