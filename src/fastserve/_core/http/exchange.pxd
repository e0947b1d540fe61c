"""One HTTP exchange in the terms of ASGI."""
from ..interfaces cimport DirectCall, Exchange, Stream
from ..loop.admission cimport Place
from ..loop.awaitable cimport Awaitable
from ..loop.task cimport Task
from ..loop.waiter cimport Waiter
from ..worker cimport Worker
from .account cimport Account
from .file_body cimport Transfer
from .inflight cimport Entry

cdef extern from "http/messages.h":
    bint fastserve_same_ascii(object one, str other) noexcept


cdef inline bint is_kind(object kind, str expected) except -1:
    """Return whether a message's type is `expected`, which is in ASCII. Cheap in the usual case that it is."""
    return fastserve_same_ascii(kind, expected) or kind == expected


cdef enum:
    # What send() takes.
    EXPECT_START
    EXPECT_BODY
    EXPECT_TRAILERS
    COMPLETE
    UPGRADED


cdef class HttpExchange(Exchange):
    cdef Worker worker
    cdef Stream stream  # None once the response is complete or the connection is gone
    cdef readonly dict scope  # None if there is an environ
    cdef dict environ  # what a direct application has in place of a scope, until it is called
    cdef Account account  # as the stream's
    cdef object context  # the contextvars.Context of the application
    cdef readonly object task  # if it goes on after its first step
    cdef DirectCall direct  # of an application that goes on without a task, or None
    cdef int stage  # which message send() accepts next
    cdef bint expect_continue  # the client waits for 100 (Continue)
    cdef bint started  # the application has been called
    cdef bint queued  # it waits for its turn to be called, in `place`
    cdef bint gone  # nobody reads the response any more
    cdef bint owes_end  # of the body, to an application that was called after that, or that has waited for it
    cdef readonly bint left  # the client was gone before the response was complete
    cdef bint endless  # and the response had begun, with no declared end
    cdef bint raises  # send() raises when the client is gone
    cdef bint taking  # a message is being taken, which may run code of the application: it must not send or receive then
    cdef object pieces  # body that receive() has not returned: None, bytes, or a list of bytes
    cdef Py_ssize_t buffered  # its size
    cdef bint body_ended  # all of the body has come
    cdef bint body_taken  # and receive() has told that
    cdef bint sent_body  # http.response.body or a part of a file has been sent
    cdef bint trailers  # http.response.trailers ends the response
    cdef bint more  # the body goes on after `transfer`
    cdef list trailer_fields  # of the messages of trailers so far
    cdef Transfer transfer  # the file that is being sent, or None
    cdef Waiter waiter  # of the first call of receive() that waits, None before that
    cdef list receiving  # the futures of others
    cdef list sending  # the futures that calls of send() wait for
    cdef Place place  # held until the application returns, or waited in before it is called; else None
    cdef Entry entry  # in the list for the signal handler, while there is one
    cdef double head_at  # when the head of its request was complete
    cdef str method  # shown there
    cdef bytes path

    cdef dict next_message(self)  # None if receive() must wait
    cdef dict body_message(self)
    cdef bytes take_pieces(self)
    cdef bytes take_arrived(self)  # the body so far, without asking the client for any
    cdef bint may_come(self) noexcept  # there may be more of it
    cdef int take(self, message) except -1  # 1 if the message is dropped
    cdef int take_late(self, dict message) except -1
    cdef int drop(self, dict message) except -1
    cdef int take_start(self, dict message) except -1
    cdef int take_body(self, dict message) except -1
    cdef int take_other(self, dict message) except -1
    cdef int take_file(self, dict message, str kind) except -1
    cdef int take_trailers(self, dict message) except -1
    cdef int put_response_body(self, dict message) except -1
    cdef int put_last(self, bytes body) except -1
    cdef object go_on_with_file(self)
    cdef int answer(self, int status, list headers, bytes body) except -1
    cdef int answer_checked(self, int status, list fields, Py_ssize_t length, bytes body) except -1
    cdef int start_task(self, coro, context) except -1
    cdef int never_started(self) except -1
    cdef int leave_queue(self) except -1
    cdef int end_awaited(self) except -1
    cdef bint is_complete(self) noexcept
    cdef bint must_wait(self) noexcept  # the client does not read
    cdef bint is_unreachable(self) noexcept
    cdef bint is_cut_off(self) noexcept
    cdef bint waits(self) noexcept
    cdef dict which(self)
    cdef int end(self, bint failed) except -1
    cdef object wait_to_receive(self)  # return what a call of receive() waits for
    cdef int wake_receivers(self) except -1
    cdef object wait_in(self, list waiting)
    cdef bint hold_back(self, Awaitable sending) except -1  # keep a call of send() whose message cannot be taken yet
    cdef int give_up(self, Awaitable sending) except -1  # a call that was held back is cancelled
    cdef bint sends_itself(self) noexcept
    cdef bint is_quiet(self, exception, bint cancelled) except -1


cdef class Receive(Awaitable):
    cdef HttpExchange exchange
    cdef bint waited  # for a message, so that it comes back at a time that is not of the application's choosing


cdef class Send(Awaitable):
    cdef HttpExchange exchange
    cdef object message  # None once it is taken; give_way()'s coroutine where it was dropped
    cdef bint taken  # by the exchange, or held back by it
    cdef bint held  # its message waits with it
    cdef bint released  # its message was held back and has been taken, or was dropped
    cdef Transfer transfer  # the file of this message, or None

    cdef bint take(self, HttpExchange exchange) except -1


cdef object receive_of(HttpExchange exchange)  # the methods, bound
cdef object send_of(HttpExchange exchange)
cdef int wake(list waiting) except -1
cdef int init_exchange(HttpExchange exchange, Worker worker, Stream stream, dict scope) except -1
cdef int attach_account(HttpExchange exchange, Account account) except -1
cdef bint needs_scope(Worker worker) noexcept  # with a direct application
cdef HttpExchange make_exchange(Worker worker, Stream stream, dict scope)
