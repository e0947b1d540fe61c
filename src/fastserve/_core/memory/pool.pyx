"""Objects kept for reuse.

Not a list: one that goes from empty to one item and back frees and allocates its memory each time, which costs more
than all else here.
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
