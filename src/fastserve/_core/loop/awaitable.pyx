"""What receive() and send() are, and what they return: awaited like a coroutine, at a fraction of the cost of one.

receive and send are bound methods of a CoroutineFunction, which inspect and asyncio take for the coroutine function that
it was made of: its attributes, its class and its signature are that one's. A call goes to the core by the vectorcall
protocol.

Nothing happens before it is awaited, and it passes for a coroutine with asyncio.create_task() and gather(). An exception
that leaves a Cython function gets a traceback entry, which costs more than all else here; and a result leaves __next__
as StopIteration. So `tp_iternext`, which is all that `await` calls, is set to a function that returns the result the
way that the C interface wants it. Subclasses inherit it.
"""
import warnings

cimport cython

from ..python cimport PyObject, Py_INCREF


cdef extern from "loop/awaitable.h":
    ctypedef PyObject* (*next_function)(PyObject*) noexcept
    void fastserve_set_iternext(object type, next_function next)
    void fastserve_use_vectorcall(object type, Py_ssize_t offset)


cdef extern from "Python.h":
    void PyErr_SetObject(object type, object value)


WAIT = object()
cdef dict unstarted = {}  # by its function, a coroutine whose frame stands for the frames of all that are not done


cdef class Awaitable:
    def __dealloc__(self):
        if not self.used:
            warn_unused(type(self).__name__.lower())

    cdef object poll(self):
        return None

    cdef bint pending(self) except -1:
        return not self.future.done()

    cdef object function(self):
        return None

    def __await__(self):
        if self.future is not None:
            raise RuntimeError("coroutine is being awaited already")
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
        if self.done:
            raise RuntimeError("cannot reuse already awaited coroutine")
        self.used = self.done = True
        self.future = None
        if value is None:
            value = kind() if isinstance(kind, type) else kind
        raise value if traceback is None else value.with_traceback(traceback)

    def close(self):
        """Stop waiting."""
        self.used = self.done = True
        self.future = None

    # What a coroutine has, for debuggers and for messages

    @property
    def __name__(self):
        return self.function().__name__

    @property
    def __qualname__(self):
        return self.function().__qualname__

    @property
    def cr_code(self):
        return self.function().__code__

    @property
    def cr_frame(self):
        function = self.function()
        if self.done:
            return None
        with cython.critical_section(unstarted):
            coroutine = unstarted_of(function)
        return coroutine.cr_frame

    @property
    def cr_running(self):
        return False

    @property
    def cr_suspended(self):
        return self.future is not None

    @property
    def cr_await(self):
        return self.future

    @property
    def cr_origin(self):
        return None


cdef object unstarted_of(function):
    if function not in unstarted:
        unstarted[function] = function(*(None,) * function.__code__.co_argcount)
    return unstarted[function]


cdef object advance(Awaitable self):
    self.used = True
    if self.done:
        raise RuntimeError("cannot reuse already awaited coroutine")
    if self.future is not None and self.pending():
        raise RuntimeError("await wasn't used with future")
    self.done = True
    value = self.poll()
    if value is WAIT:
        self.done = False
        if self.future is not None:  # else this is a turn of the loop, as of sleep(0)
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


cdef class CoroutineFunction:
    def __getattribute__(self, name):
        return self if name == "__call__" else getattr(self.original, name)


cdef CoroutineFunction make_function(object original, vectorcall call):
    cdef CoroutineFunction self = CoroutineFunction.__new__(CoroutineFunction)
    self.original = original
    self.call = call
    fastserve_use_vectorcall(CoroutineFunction, <char*>&self.call - <char*><void*>self)
    return self
