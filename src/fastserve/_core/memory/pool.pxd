"""Objects kept for reuse.

A module that keeps some includes memory/pool.h, and gives the address of fastserve_pool, which is its own, to
make_pool(). Where threads run at the same moment each has a pool, so fastserve_pool may be NULL in one that is new.
"""
cimport cython

from ..python cimport PyObject, Py_DECREF, Py_INCREF


cdef enum:
    MOST_KEPT = 128


@cython.final
cdef class Pool:
    cdef PyObject* items[MOST_KEPT]  # owned references
    cdef Py_ssize_t count
    cdef Py_ssize_t most  # that are kept, up to MOST_KEPT
    cdef PyObject** place  # where `thread` finds this pool
    cdef unsigned long thread

    cdef inline object take(self):
        """Return the object that was given last, or None."""
        cdef object item = None
        if self.count:
            self.count -= 1
            item = <object>self.items[self.count]
            Py_DECREF(item)
        return item

    cdef inline void give(self, object item) noexcept:
        if self.count < self.most:
            Py_INCREF(item)
            self.items[self.count] = <PyObject*>item
            self.count += 1


cdef int make_pool(PyObject** place, Py_ssize_t most) except -1  # this thread's, noted there
