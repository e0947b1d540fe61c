"""The applications of a connection that still run after their stream was reset."""
cimport cython

from ..http.exchange cimport HttpExchange
from ..loop.admission cimport Admission, Place


@cython.final
cdef class Leftovers(Place):
    cdef long count
    cdef Admission admission

    cdef int enter(self, HttpExchange exchange) except -1


cdef Leftovers make_leftovers(Admission admission)
