"""How much has to have come from a client before the loop is told of it."""
cimport cython


@cython.final
cdef class LowWater:
    cdef int fd  # -1 once the connection is lost
    cdef object loop
    cdef object timer  # None while the mark is not raised
    cdef bint heard  # something has been read since the timer was set
    cdef double since  # by the clock: when the reads began that `recent` counts
    cdef Py_ssize_t recent  # bytes

    # So many bytes of a body were read; `more`: how many the client can send of it before it hears from us.
    cdef int note(self, Py_ssize_t size, long long more) except -1
    cdef int wait(self) except -1
    cdef int lower(self) except -1
    cdef int lost(self) except -1


cdef LowWater make_low_water(object transport, object loop)
