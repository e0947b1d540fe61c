"""What receive() and send() return: awaited like a coroutine, at a fraction of the cost of one.

Nothing happens before it is awaited, and it passes for a coroutine with asyncio.create_task() and gather(). An exception
that leaves a Cython function gets a traceback entry, which costs more than all else here; and a result leaves __next__
as StopIteration. So `tp_iternext`, which is all that `await` calls, is set to a function that returns the result the
way that the C interface wants it. Subclasses inherit it.
"""
import warnings

from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF


cdef extern from *:
    """
    static void fastserve_set_iternext(PyObject *type, PyObject *(*next)(PyObject *)) {
        ((PyTypeObject *)type)->tp_iternext = next;
    }
    """
    ctypedef PyObject* (*next_function)(PyObject*) noexcept
    void fastserve_set_iternext(object type, next_function next)
    void PyErr_SetObject(object type, object value)


WAIT = object()


cdef class Awaitable:
    def __dealloc__(self):
        if not self.used:
            warn_unused(type(self).__name__.lower())

    cdef object poll(self):
        return None

    def __await__(self):
        return self

    def __iter__(self):
        return self

    def __next__(self):
        value = advance(self)
        if value is WAIT:
            return self.future
        raise StopIteration(value)

    def send(self, value):
        return self.__next__()

    def throw(self, kind, value=None, traceback=None):
        """Stop waiting with this exception."""
        self.used = True
        self.future = None
        if value is None:
            value = kind() if isinstance(kind, type) else kind
        raise value if traceback is None else value.with_traceback(traceback)

    def close(self):
        """Stop waiting."""
        self.used = True
        self.future = None


cdef object advance(Awaitable self):
    self.used = True
    value = self.poll()
    if value is WAIT:
        self.future._asyncio_future_blocking = True
    else:
        self.future = None
    return value


cdef PyObject* iternext(PyObject* raw) noexcept:
    cdef Awaitable self = <Awaitable>raw
    cdef object value = None, error = None
    try:
        value = advance(self)
    except BaseException as exception:
        error = exception
    if error is not None:
        PyErr_SetObject(type(error), error)
        return NULL
    if value is WAIT:
        value = self.future
        Py_INCREF(value)
        return <PyObject*>value
    if value is not None:
        PyErr_SetObject(StopIteration, value)
    return NULL


fastserve_set_iternext(Awaitable, iternext)


cdef void warn_unused(str name) noexcept:
    warnings.warn(f"coroutine '{name}' was never awaited", RuntimeWarning, stacklevel=2)
