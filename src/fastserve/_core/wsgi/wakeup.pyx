# setup.py: cold
"""A gate: one thread waits there until another lets it through."""
from ..threads cimport fastserve_exchange

cdef extern from "Python.h":
    ctypedef long long PY_TIMEOUT_T
    ctypedef enum PyLockStatus:
        PY_LOCK_ACQUIRED
    PyThread_type_lock PyThread_allocate_lock() nogil
    void PyThread_free_lock(PyThread_type_lock lock) nogil
    int PyThread_acquire_lock(PyThread_type_lock lock, int wait) nogil
    PyLockStatus PyThread_acquire_lock_timed(PyThread_type_lock lock, PY_TIMEOUT_T microseconds, int interruptible) nogil
    void PyThread_release_lock(PyThread_type_lock lock) nogil


cdef class Gate:
    """One thread waits, others open. An opening while nobody waits lets the next wait() through.

    A wait may also end without a reason, so call it in a loop that checks the condition.
    """

    def __cinit__(self):
        self.lock = PyThread_allocate_lock()
        if self.lock == NULL:
            raise MemoryError
        PyThread_acquire_lock(self.lock, 1)

    def __dealloc__(self):
        if self.lock != NULL:
            if not self.opened:
                PyThread_release_lock(self.lock)
            PyThread_free_lock(self.lock)

    def open(self):
        """Let one wait() through, from any thread."""
        if not fastserve_exchange(&self.opened, 1):
            PyThread_release_lock(self.lock)

    def open_aside(self):
        """Let one wait() through; its thread may get the interpreter before this returns."""
        if not fastserve_exchange(&self.opened, 1):
            with nogil:
                PyThread_release_lock(self.lock)

    def wait(self, double seconds=-1):
        """Return true when the gate is opened, false after `seconds`."""
        cdef PY_TIMEOUT_T patience = -1 if seconds < 0 else <PY_TIMEOUT_T>(seconds * 1e6)
        cdef bint through
        with nogil:
            through = PyThread_acquire_lock_timed(self.lock, patience, 0) == PY_LOCK_ACQUIRED
        if through:
            fastserve_exchange(&self.opened, 0)
        return through
