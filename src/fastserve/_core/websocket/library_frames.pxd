"""A WebSocket whose frames a library written in Python makes and reads."""
from ..transport.writer cimport Writer
from ..worker cimport Worker
from .exchange cimport WebSocketExchange
from .session cimport WebSocket


cdef class FramedWebSocket(WebSocket):
    cdef object framing
    cdef list events  # that the exchange has no room for yet, oldest last
    cdef bint partial  # the last bytes completed nothing: they belong to a frame that is still arriving

    # The library's position in the bytes that it was given.
    cdef unsigned char head[14]  # of a frame, as far as it has come
    cdef int head_size
    cdef unsigned long long left  # bytes of payload that are still to come

    cdef void follow(self, const unsigned char* at, Py_ssize_t size) noexcept
    cdef Py_ssize_t piece(self) noexcept
    cdef int leave_rest(self, bytes data, Py_ssize_t at) except -1
    cdef int handle(self, tuple event) except -1
    cdef int put_output(self) except -1


cdef FramedWebSocket make_framed(
    Worker worker, object transport, Writer writer, WebSocketExchange exchange, object framing
)
