# setup.py: cold
"""The applications of a connection that still run after their stream was reset: they count as its streams do."""
from ..http.exchange cimport HttpExchange
from ..loop.admission cimport Admission, Place


cdef Leftovers make_leftovers(Admission admission):
    cdef Leftovers self = Leftovers.__new__(Leftovers)
    self.admission = admission
    return self


cdef class Leftovers(Place):
    cdef int enter(self, HttpExchange exchange) except -1:
        self.count += 1
        self.admission.ends_awaited += 1
        exchange.place = self
        return 0

    cdef int leave(self) except -1:
        self.count -= 1
        self.admission.ends_awaited -= 1
        return 0
