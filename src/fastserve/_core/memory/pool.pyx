"""Objects that wait to be used again.

A list that goes from empty to one item and back gives its memory back and asks for it again each time, which costs more
than the rest of what is done here.
"""
from cpython.ref cimport Py_DECREF


cdef Pool make_pool(Py_ssize_t most):
    cdef Pool self = Pool.__new__(Pool)
    self.most = min(most, <Py_ssize_t>MOST_KEPT)
    return self


cdef class Pool:
    def __dealloc__(self):
        while self.count:
            self.count -= 1
            Py_DECREF(<object>self.items[self.count])
