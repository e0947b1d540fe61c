"""Objects kept for reuse.

Not a list: one that goes from empty to one item and back frees and allocates its memory each time, which costs more
than all else here.
"""
from ..python cimport PyObject, Py_DECREF, Py_INCREF
from ..threads cimport FASTSERVE_FREE_THREADED

cdef extern from "Python.h":
    PyObject* PyThreadState_GetDict() noexcept  # borrowed
    unsigned long PyThread_get_thread_ident() noexcept


cdef int make_pool(PyObject** place, Py_ssize_t most) except -1:
    cdef Pool self = Pool.__new__(Pool)
    self.most = min(most, <Py_ssize_t>MOST_KEPT)
    self.place = place
    self.thread = PyThread_get_thread_ident()
    if FASTSERVE_FREE_THREADED:
        (<dict>PyThreadState_GetDict())[self] = None  # it goes with its thread
    else:
        Py_INCREF(self)
    place[0] = <PyObject*>self
    return 0


cdef class Pool:
    def __dealloc__(self):
        if self.place != NULL and self.thread == PyThread_get_thread_ident():
            self.place[0] = NULL  # what else ends with this thread may still give something
        while self.count:
            self.count -= 1
            Py_DECREF(<object>self.items[self.count])
