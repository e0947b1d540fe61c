"""One WebSocket in the terms of ASGI."""
from ..http.exchange cimport HttpExchange
from ..interfaces cimport Channel, Stream
from ..worker cimport Worker


cdef class WebSocketExchange(HttpExchange):
    cdef Channel channel  # once it is open, until it closes
    cdef bint connect_taken  # receive() has given websocket.connect
    cdef dict first  # the oldest message that receive() has not returned
    cdef object others  # a deque of those after it, None before the first
    cdef Py_ssize_t unread  # the number of these messages
    cdef Py_ssize_t unread_size  # and their bytes, or characters
    cdef bint dealing  # receive() has returned a message and was not called again
    cdef double taking_since  # when receive() began to return messages without waiting; 0: it does not
    cdef object held  # a deque of held-back calls of send(), None before the first
    cdef int code  # of the disconnect
    cdef str reason
    cdef bint closed_itself  # the application has closed it
    cdef bint over  # the application has ended
    cdef bint counted  # among the open ones of the worker

    cdef object with_id(self, object headers)  # those of the response to its handshake
    cdef int opened(self, Channel channel) except -1  # the handshake is complete
    cdef int put(self, object data, bint is_text) except -1  # a message has come
    cdef int closed(self, int code, str reason) except -1  # no more arrive, and none can be sent
    cdef bint busy(self) noexcept  # the application has not dealt with all messages so far

    cdef int release_held(self) except -1
    cdef bint had_its_share(self) noexcept
    cdef dict next_unread(self)
    cdef int take_handshake(self, dict message) except -1
    cdef int take_denial(self, dict message) except -1
    cdef int take_message(self, dict message) except -1
    cdef int take_after_end(self, kind) except -1
    cdef int take_close(self, dict message) except -1
    cdef int close_with(self, int code, str reason) except -1
    cdef int take_send(self, dict message) except -1


cdef WebSocketExchange make_websocket_exchange(Worker worker, Stream stream, dict scope)
