"""What receive() and send() are, and what they return."""
from ..python cimport PyObject


cdef class Awaitable:
    cdef bint used  # somebody awaited it
    cdef bint done  # and has the result
    cdef object future  # what it waits for, where poll() returned WAIT
    cdef object poll(self)  # the result, or WAIT; asked again when the future is done
    cdef bint pending(self) except -1  # the future is not done
    cdef object function(self)  # the coroutine function that this passes for a call of


# A function of CPython's vectorcall protocol.
ctypedef object (*vectorcall)(object function, PyObject** arguments, size_t flags, PyObject* names)


cdef class CoroutineFunction:
    """Passes for a coroutine function of Python's own, and calls `call` in its place."""
    cdef vectorcall call
    cdef object original


cdef CoroutineFunction make_function(object original, vectorcall call)


cdef object WAIT
