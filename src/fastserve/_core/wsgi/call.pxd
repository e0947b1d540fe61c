"""A call of a WSGI application, between the thread that runs it and the event loop that serves it."""
from ..http.exchange cimport HttpExchange
from ..interfaces cimport DirectApplication, DirectCall
from ..loop.turn cimport Turn
from .environ cimport Environs
from .mailbox cimport Reports


cdef class WSGIApplication(DirectApplication):
    cdef readonly object app
    cdef readonly object threads  # fastserve.wsgi.threads.Threads, or None: the event loop calls the application
    cdef object waiting  # its queue of calls that no thread has begun
    cdef Environs environs
    cdef type kind  # of the calls, a subclass of WSGICall
    cdef type file_wrapper
    cdef dict reports  # by loop
    cdef WSGICall spare  # one that nobody has any more, to be used again, or None

    cdef WSGICall make(
        self, object loop, dict scope, object context, bytes piece, bint more, HttpExchange exchange
    )
    cdef int prepare(
        self, WSGICall call, object loop, dict scope, object context, bytes piece, bint more, HttpExchange exchange
    ) except -1
    cdef int run_here(self, HttpExchange http, bytes piece, bint more) except -1
    cdef Reports new_reports(self, object loop, Turn turn)
    cdef WSGICall start(
        self, object loop, Turn turn, dict scope, object context, bytes piece, bint more, HttpExchange exchange
    )


cdef class WSGICall(DirectCall):
    cdef WSGIApplication application
    cdef Reports reports  # None without threads
    cdef object loop
    cdef dict scope  # None for an exchange that has an environ in its place
    cdef dict environ  # until the application has it, None before it is made
    cdef object context  # the contextvars.Context of the application
    cdef public object input  # wsgi.input, until the application has it
    # The thread's; the event loop reads it.
    cdef int status  # given to start_response()
    cdef list headers  # the same, checked (http/response_head); None before that
    cdef Py_ssize_t length  # Content-Length of the response, or -1
    cdef bint head_sent
    cdef bint complete  # the last piece is on its way
    cdef readonly Py_ssize_t produced  # bytes of body on their way
    cdef public object error  # what the application raised
    cdef readonly bint ended
    # From the thread to the event loop.
    cdef bytes whole  # the body of a response that was complete with its head, until it is taken
    cdef list outbox  # (message, bytes of body) of any other, or None
    # The event loop's; the thread reads it.
    cdef readonly bint gone
    cdef readonly Py_ssize_t consumed  # bytes of body sent
    # The event loop's.
    cdef HttpExchange exchange  # while the call has no task
    cdef public object failure  # what sending raised
    cdef public bint news  # the thread has reported
    cdef public object waiter  # the future that serve() waits for, or None
    # Of both, if needed.
    cdef public object body  # the BodyReader of a request's body that is still arriving
    cdef readonly object gate  # where the thread waits for the client to read
    # Without threads.
    cdef object starter  # start_response(), bound once for all requests that the call serves, or None
    cdef readonly bint called
    cdef object result  # of the application, until it is closed
    cdef object iterator  # of that
    cdef public object written  # what write() was given and is kept in a file

    cdef int guard(self) except -1
    cdef object call_application(self)
    cdef int open_gate(self) except -1
    cdef int go_on(self) except -1
    cdef int respond(self) except -1
    cdef bint send_at_once(self, result) except -1
    cdef int send_items(self, items) except -1
    cdef int send_piece(self, piece) except -1
    cdef bint send_file(self, wrapper) except -1
    cdef int put(self, bytes piece, bint more) except -1
    cdef int put_head(self) except -1
    cdef int put_message(self, dict message, Py_ssize_t size) except -1
    cdef bint is_ahead(self) noexcept
    cdef int run_here(self) except -1
    cdef int advance_here(self) except -1
    cdef int step(self) except -1
    cdef bint next_part(self) except -1
    cdef int close_result(self) except -1
    cdef bint is_spent(self) noexcept
    cdef void renew(self) noexcept
