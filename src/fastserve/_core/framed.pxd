"""A WebSocket whose frames a library written in Python makes and reads."""
from .websocket cimport WebSocket
from .worker cimport Worker
from .writer cimport Writer
from .wscycle cimport WsCycle


cdef class FramedWebSocket(WebSocket):
    cdef object framing
    cdef list events  # those that the exchange has no room for yet, oldest last
    cdef bint partial  # the last bytes completed nothing: they belong to a frame that is still arriving

    cdef int leave_rest(self, bytes data, Py_ssize_t at) except -1
    cdef int handle(self, tuple event) except -1
    cdef int put_output(self) except -1


cdef FramedWebSocket make_framed(Worker worker, object transport, Writer writer, WsCycle cycle, object framing)
