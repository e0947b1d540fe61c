"""One HTTP exchange in the terms of ASGI: the application's scope, receive() and send().

stage           what send() accepts
EXPECT_START    http.response.start
EXPECT_BODY     http.response.body, or a file in its place
EXPECT_TRAILERS http.response.trailers
COMPLETE        nothing: the last message has been sent
UPGRADED        the messages of the protocol that the connection now speaks: for a subclass to define

http.response.early_hint is accepted at any time, and written as long as the head has not been sent.

receive() gives the body as it arrives, then waits. It gives http.disconnect, repeatedly, once the response is complete or
the client is gone. Bytes of a body that have arrived are given first, even if the client has left since, and so is the
end of a body: to the first step of an application that is called only then, and to one that waited when it came.

Once the client is gone, send() accepts any message and drops it; with `raises` it raises. Each such call gives the loop a
turn (loop/give_way.py): an application that sends without end must not block it.
A client that has only ended its side may still read: a message that continues the response is sent to it, and any other
ends the response.
"""
from asyncio import CancelledError

from libc.stdint cimport uint64_t

from ..counters cimport live_counts
from ..errors import ClientDisconnected, only_disconnects
from ..interfaces cimport DirectApplication, Exchange, Stream, Subscribing
from ..loop.awaitable cimport WAIT, Awaitable, CoroutineFunction, make_function
from ..loop.coroutine import call, receive, send, start_in_loop
from ..loop.give_way import give_way
from ..loop.task cimport PENDING, Task, start
from ..loop.turn cimport note_sender
from ..loop.waiter cimport Waiter, make_waiter
from ..metrics cimport ACTIVE, FAILED_AFTER, FAILED_BEFORE, FAILED_MISSING, WAIT as WAITED
from ..metrics cimport fastserve_add, fastserve_observe
from ..python cimport PyBytes_FromObject, PyBytes_GET_SIZE, PyObject, PyObject_CheckBuffer
from ..threads cimport fastserve_count
from ..worker cimport Worker
from .account cimport Account, ids_of
from .file_body cimport Transfer
from .inflight cimport enabled as somebody_asks, stop_tracking, track

cdef extern from "Python.h":
    object bind "PyMethod_New"(object function, object self)
    Py_ssize_t PyVectorcall_NARGS(size_t flags)
    object PyContext_Copy(object context)
    object PyContext_New()

cdef HttpExchange make_exchange(Worker worker, Stream stream, dict scope):
    cdef HttpExchange exchange = HttpExchange.__new__(HttpExchange)
    init_exchange(exchange, worker, stream, scope)
    return exchange


cdef int init_exchange(HttpExchange exchange, Worker worker, Stream stream, dict scope) except -1:
    exchange.worker = worker
    exchange.stream = stream
    exchange.scope = scope
    exchange.raises = worker.settings.raise_disconnect
    exchange.context = PyContext_New() if worker.settings.reset_contextvars else PyContext_Copy(worker.context)
    worker.active += 1
    fastserve_add(worker.metrics.cells + ACTIVE, 1)
    worker.total_requests += 1
    if somebody_asks:
        exchange.method = scope.get("method", "WEBSOCKET")
        exchange.path = scope["raw_path"]
        track(&exchange.entry, exchange.method, exchange.path)
    return 0


cdef bint needs_scope(Worker worker) noexcept:
    return worker.needs_scopes or worker.metrics.by_route or somebody_asks


cdef int attach_account(HttpExchange exchange, Account account) except -1:
    """Let an exchange keep the account of its stream."""
    exchange.account = account
    if exchange.worker.slow is not None:
        account.exchange = exchange
    return 0


cdef inline int take_next(HttpExchange self, dict message) except -1:
    return self.take_start(message) if self.stage == EXPECT_START else self.take_body(message)


cdef class HttpExchange(Exchange):
    def __cinit__(self):
        fastserve_count(&live_counts.exchange, 1)

    def __dealloc__(self):
        stop_tracking(&self.entry)
        fastserve_count(&live_counts.exchange, -1)

    cdef void run(self) noexcept:
        cdef Worker worker = self.worker
        self.started = True
        if self.account is not None:
            self.account.started = worker.turn.steps.step_began
        fastserve_observe(worker.metrics.cells + WAITED, worker.turn.steps.step_began - self.head_at)
        try:
            if self.hides_loop():
                self.direct = (<DirectApplication?>worker.direct).begin(self)
                if self.direct is not None:
                    self.direct.begun()
                    if worker.draining:
                        self.direct.to_task()
                return
            if worker.app_is_coroutine_function:
                coro = worker.app(self.scope, bind(receive_function, self), bind(send_function, self))
            else:
                coro = call(worker.app, self.scope, bind(receive_function, self), bind(send_function, self))
            self.owes_end = self.gone
            self.start_task(coro, self.context)
            if self.owes_end:
                worker.loop.call_soon(self.turn_passed)
        except BaseException as exception:
            # Not raised inside the application: the call itself failed.
            self.ended(None, exception)

    def turn_passed(self):
        self.owes_end = False

    cdef bint hides_loop(self) noexcept:
        return self.worker.direct is not None and (not self.worker.draining or self.scope is None)

    cdef int start_task(self, coro, context) except -1:
        cdef Worker worker = self.worker
        cdef bint goes_on
        self.direct = None
        if worker.asyncio_tasks:
            task = start_in_loop(worker.loop, context, coro, self.application_ended)
            goes_on = not task.done()
        else:
            task = start(coro, worker.loop, context, worker.turn, self)
            goes_on = (<Task>task).state == PENDING
        if goes_on:
            self.task = task
            worker.tasks.add(task)
            if worker.asyncio_tasks:
                return self.suspended()  # only the core's own task reports this
        return 0

    def application_ended(self, result, exception):
        """Call ended(), for a task that is not the core's."""
        self.ended(result, exception)

    # What the application calls

    def arrived(self):
        """Return (body so far, whether there may be more), without asking the client for any."""
        return self.take_arrived(), self.may_come()

    cdef bytes take_arrived(self):
        if self.pieces is None and (not self.body_ended or self.body_taken):
            return b""
        return self.take_pieces()

    cdef bint may_come(self) noexcept:
        return not self.body_ended

    @property
    def unreachable(self):
        """Whether nothing more can be sent to the client."""
        return self.is_unreachable()

    cdef bint is_unreachable(self) noexcept:
        return self.stream is None or self.stream.broken()

    cdef bint is_cut_off(self) noexcept:
        """Return whether the connection is gone."""
        return self.stream is None

    cdef bint must_wait(self) noexcept:
        """Return whether a call of send() whose message was taken waits for writable(), unless it was the last."""
        return self.stream is not None and self.stream.must_wait()

    cdef dict next_message(self):
        if self.stage == COMPLETE:
            return {"type": "http.disconnect"}
        if self.expect_continue and self.stream is not None:
            self.expect_continue = False
            self.stream.send_continue()
        if self.pieces is not None:
            return self.body_message()
        if self.gone and not (self.owes_end and self.body_ended and not self.body_taken):
            return {"type": "http.disconnect"}
        if self.body_ended and not self.body_taken:
            return self.body_message()
        if not self.body_ended:
            self.stream.want_body()
        return None

    cdef dict body_message(self):
        body = self.take_pieces()
        return {"type": "http.request", "body": body, "more_body": not self.body_ended}

    cdef bytes take_pieces(self):
        body = self.pieces
        if body is None:
            body = b""
        elif type(body) is list:
            body = b"".join(body)
        self.pieces = None
        self.buffered = 0
        self.body_taken = self.body_ended
        if self.stream is not None:
            self.stream.took_body(0)
        return <bytes>body

    cdef int take(self, message) except -1:
        cdef dict fields = <dict>message if type(message) is dict else dict(message)
        if self.gone or self.stage == COMPLETE or self.stream.broken():
            return self.take_late(fields)
        return take_next(self, fields)

    cdef int take_late(self, dict message) except -1:
        """Take a message once the response is complete or the client is gone."""
        if self.stage == COMPLETE:
            if self.left and not self.raises:
                return 1
            raise RuntimeError(
                f"Unexpected ASGI message '{message['type']}' sent, after response already completed."
            )
        if self.stream is None or self.stream.broken():
            if self.raises:
                raise ClientDisconnected("the client is gone")
            return self.drop(message)
        if self.raises:
            return take_next(self, message)
        try:
            return take_next(self, message)
        except RuntimeError:
            self.stage = COMPLETE
            self.stream.abandon()
            return 1

    cdef int drop(self, dict message) except -1:
        """Drop a message, except for what the server needs to know about the response when it stops."""
        kind = message.get("type")
        self.left = True
        if kind == "http.response.start":
            self.endless = not declares_length(message)
        elif kind == "http.response.body" and not message.get("more_body", False):
            self.endless = False
            self.stage = COMPLETE
        return 1

    cdef int take_start(self, dict message) except -1:
        if not is_kind(message["type"], "http.response.start"):
            return self.take_other(message)
        self.stream.respond(message["status"], message.get("headers", ()))
        self.trailers = message.get("trailers", False)
        self.stage = EXPECT_BODY
        if not self.sends_itself():
            self.stream.hold_head()
        return 0

    cdef int answer(self, int status, list headers, bytes body) except -1:
        """Take a whole response, as if by its messages."""
        if self.stream is None:
            raise ClientDisconnected("the client is gone")
        self.stream.respond(status, headers)
        self.stage = EXPECT_BODY
        return self.put_last(body)

    cdef int answer_checked(self, int status, list fields, Py_ssize_t length, bytes body) except -1:
        """The same with checked fields and Content-Length (http/response_head)."""
        if self.stream is None:
            raise ClientDisconnected("the client is gone")
        self.stream.respond_checked(status, fields, length)
        self.stage = EXPECT_BODY
        return self.put_last(body)

    cdef int take_body(self, dict message) except -1:
        if not is_kind(message["type"], "http.response.body") or self.stage != EXPECT_BODY or self.transfer is not None:
            return self.take_other(message)
        return self.put_response_body(message)

    cdef int put_response_body(self, dict message) except -1:
        cdef bint more
        body = message.get("body", b"")
        more = message.get("more_body", False)
        if type(body) is not bytes:
            # As uvicorn: whatever has bytes, and for none also what else is empty, such as None and "".
            if PyObject_CheckBuffer(body):
                body = PyBytes_FromObject(body)
            elif body:
                raise TypeError(f"the body of a response must be bytes, not {type(body).__name__}")
            else:
                body = b""
        if more:
            self.sent_body = True
            self.stream.body(<bytes>body, True)
        elif self.trailers:
            self.stream.body(<bytes>body, True)
            self.stage = EXPECT_TRAILERS
        else:
            self.put_last(<bytes>body)
        return note_sender(self.worker.turn, self.scope, not more and not self.trailers)

    cdef int put_last(self, bytes body) except -1:
        cdef bint taken = False
        self.stage = COMPLETE
        try:
            self.stream.body(body, False)
            taken = True
        finally:  # cheaper than `except` if nothing is raised
            if not taken:
                self.stage = EXPECT_BODY
        return 0

    cdef int take_other(self, dict message) except -1:
        """Take any message except the first of a response and its body."""
        cdef str kind = str(message["type"])
        if self.transfer is not None:
            raise RuntimeError(f"Unexpected ASGI message '{kind}', while a file is being sent.")
        if kind == "http.response.early_hint":
            return self.stream.early_hint(message["links"])
        if self.stage == EXPECT_BODY and kind in FILE_MESSAGES:
            return self.take_file(message, kind)
        if self.stage == EXPECT_BODY and kind == "fastserve.topics.subscribe":
            self.sent_body = True
            return (<Subscribing?>message["subscription"]).begin(self.worker, self.stream, None)
        if self.stage == EXPECT_TRAILERS and kind == "http.response.trailers":
            return self.take_trailers(message)
        raise RuntimeError(f"Expected ASGI message '{EXPECTED[self.stage]}', but got '{kind}'.")

    cdef int take_file(self, dict message, str kind) except -1:
        cdef Transfer transfer = Transfer(self.worker.loop)
        cdef bint more = False
        if kind == "http.response.pathsend":
            if self.sent_body:
                raise RuntimeError("Unexpected ASGI message 'http.response.pathsend', after a part of the body.")
            transfer.measure_path(message["path"])
        else:
            more = message.get("more_body", False)
            transfer.measure(message["file"], message.get("offset"), message.get("count"))
        self.stream.begin_file(transfer.size, more or self.trailers)
        self.sent_body = True
        self.more = more
        self.transfer = transfer
        return 0

    cdef object go_on_with_file(self):
        """Send more of the file. Return None when all is sent, or what to wait for."""
        cdef Transfer transfer = self.transfer
        cdef long long size
        waited = transfer.step(self.stream)
        if waited is not None:
            return self.wait_in(self.sending) if waited is WAIT else waited
        size = transfer.size
        self.transfer = transfer = None  # which closes the file, before the client sees the end
        if self.more:
            self.stream.end_file(size, True)
        elif self.trailers:
            self.stream.end_file(size, True)
            self.stage = EXPECT_TRAILERS
        else:
            self.stage = COMPLETE
            self.stream.end_file(size, False)
        note_sender(self.worker.turn, self.scope, self.stage == COMPLETE)
        return None

    cdef int take_trailers(self, dict message) except -1:
        cdef list fields = list(message.get("headers", ()))
        if self.trailer_fields is not None:
            fields = self.trailer_fields + fields
        if message.get("more_trailers", False):
            self.trailer_fields = fields
            return 0
        self.stage = COMPLETE
        try:
            self.stream.trailers(fields)
        except BaseException:
            self.stage = EXPECT_TRAILERS
            raise
        return note_sender(self.worker.turn, self.scope, True)

    # What the stream calls

    cdef bint is_complete(self) noexcept:
        """Return whether the application has sent the last of its response."""
        return self.stage == COMPLETE

    cdef bint waits(self) noexcept:
        """Return whether the application waits in receive()."""
        if self.waiter is not None and self.waiter.is_pending():
            return True
        if self.receiving:
            for future in self.receiving:
                if not future.done():
                    return True
        return False

    cdef int put_body(self, bytes data) except -1:
        if self.pieces is None:
            self.pieces = data
        elif type(self.pieces) is list:
            (<list>self.pieces).append(data)
        else:
            self.pieces = [self.pieces, data]
        self.buffered += PyBytes_GET_SIZE(data)
        return self.wake_receivers()

    cdef int end_body(self) except -1:
        self.body_ended = True
        self.owes_end = self.owes_end or self.waits()
        return self.wake_receivers()

    cdef int disconnected(self) except -1:
        """Note that the client will not send any more. It may still read, unless the stream is detached as well."""
        self.gone = True
        if self.stage != COMPLETE:
            self.left = True
            if self.queued:
                return self.leave_queue()
            if self.direct is not None:
                self.direct.to_task()
        if self.waiter is not None:
            self.waiter.wake_later()  # the transport must have closed before an application goes on sending
        if self.receiving is not None:
            wake(self.receiving)
        return wake(self.sending) if self.sending is not None else 0

    cdef int stopping(self) except -1:
        return self.direct.to_task() if self.direct is not None else 0

    cdef bint orphaned(self) noexcept:
        return self.stream is None and self.endless

    cdef int completed(self) except -1:
        self.stream = None
        return self.disconnected()

    cdef int writable(self) except -1:
        wake(self.sending)
        return 0

    cdef object wait_to_receive(self):
        if self.waiter is None:
            self.waiter = make_waiter(self.worker.loop, self.worker.turn)
        elif self.waiter.is_pending():
            if self.receiving is None:
                self.receiving = []
            return self.wait_in(self.receiving)
        elif not self.waiter.rearm():
            self.waiter = make_waiter(self.worker.loop, self.worker.turn)
        return self.waiter

    cdef int wake_receivers(self) except -1:
        if self.waiter is not None:
            self.waiter.wake()
        return 0 if self.receiving is None else wake(self.receiving)

    cdef object wait_in(self, list waiting):
        """Return a future of the caller's own: cancelling one call of receive() must not cancel another."""
        while waiting and waiting[len(waiting) - 1].done():
            waiting.pop()
        future = self.worker.loop.create_future()
        waiting.append(future)
        return future

    cdef bint hold_back(self, Awaitable sending) except -1:
        return False

    cdef int give_up(self, Awaitable sending) except -1:
        return 0

    # The end of the application

    cdef int never_started(self) except -1:
        """End an exchange whose request was taken back before the application was called."""
        self.started = True
        self.worker.active -= 1
        fastserve_add(self.worker.metrics.cells + ACTIVE, <uint64_t>-1)
        stop_tracking(&self.entry)
        return self.worker.let_in()

    cdef int leave_queue(self) except -1:
        """End an exchange whose client has left while it waited to be called."""
        self.queued = False
        self.stage = COMPLETE
        place, self.place = self.place, None
        (<Place>place).leave()
        stop_tracking(&self.entry)
        if self.stream is not None:
            self.stream.abandon()
        self.started = True
        return 0

    cdef int end_awaited(self) except -1:
        """Tell those that wait for an exchange to end that this one has."""
        if self.place is not None:
            self.place.leave()
            self.place = None
        return self.worker.let_in()

    cdef void ended(self, object result, object exception) noexcept:
        cdef Worker worker = self.worker
        cdef bint cancelled = self.task is not None and was_cancelled(self.task)
        worker.active -= 1
        fastserve_add(worker.metrics.cells + ACTIVE, <uint64_t>-1)
        stop_tracking(&self.entry)
        if worker.admission.ends_awaited:
            self.end_awaited()
        if self.task is not None:
            worker.tasks.discard(self.task)
            self.task = None
        self.direct = None
        try:
            try:
                if exception is not None:
                    if not self.is_quiet(exception, cancelled):
                        fastserve_add(
                            worker.metrics.cells + (FAILED_BEFORE if self.stage == EXPECT_START else FAILED_AFTER), 1
                        )
                        worker.report("Exception in ASGI application\n", exception, extra=self.which())
                elif result is not None:
                    worker.report(f"ASGI callable should return None, but returned '{result}'.", extra=self.which())
            finally:
                self.end(exception is not None)
        except BaseException as error:
            worker.report("Exception while ending an exchange", error)

    cdef dict which(self):
        """Return what a log record says of the request."""
        return ids_of(self.scope, None if self.account is None else self.account.request_id)

    cdef int end(self, bint failed) except -1:
        """Abandon what the application has left incomplete."""
        if self.stage == COMPLETE or self.stream is None:
            return 0
        if not failed and not self.gone and not self.stream.broken():
            what = "starting" if self.stage == EXPECT_START else "completing"
            fastserve_add(self.worker.metrics.cells + FAILED_MISSING, 1)
            self.stage = COMPLETE  # a handler of the log cannot send any more
            self.worker.report(f"ASGI callable returned without {what} response.", extra=self.which())
        self.stage = COMPLETE
        return self.stream.abandon()

    cdef bint sends_itself(self) noexcept:
        """Return whether the exchange's own task runs now, which will report when it suspends."""
        return self.task is None or isinstance(self.task, Task) and (<Task>self.task).stepping

    cdef int suspended(self) except -1:
        if self.stage == EXPECT_BODY and self.stream is not None:
            return self.stream.hold_head()
        return 0

    cdef bint is_quiet(self, exception, bint cancelled) except -1:
        """Return whether an application ended because its client is gone or the stopping server cancelled it."""
        if isinstance(exception, CancelledError):
            return self.left or cancelled and self.worker.draining
        return (self.gone or self.is_unreachable()) and only_disconnects(exception)


cdef int wake(list waiting) except -1:
    if waiting:  # None if nobody ever waited
        for future in waiting:
            if not future.done():
                future.set_result(None)
        waiting.clear()
    return 0


cdef frozenset FILE_MESSAGES = frozenset(("http.response.pathsend", "http.response.zerocopysend"))
cdef tuple EXPECTED = ("http.response.start", "http.response.body", "http.response.trailers")

cdef object call_receive(object function, PyObject** arguments, size_t flags, PyObject* names):
    """Return an awaitable for the next message: the application's receive()."""
    cdef HttpExchange exchange
    cdef Receive awaitable
    if PyVectorcall_NARGS(flags) != 1 or names != NULL:
        raise TypeError("receive() takes no arguments")
    exchange = <HttpExchange?><object>arguments[0]
    awaitable = Receive.__new__(Receive)
    awaitable.exchange = exchange
    return awaitable


cdef object call_send(object function, PyObject** arguments, size_t flags, PyObject* names):
    """Return an awaitable that takes the message: the application's send(message)."""
    cdef HttpExchange exchange
    cdef Send awaitable
    if PyVectorcall_NARGS(flags) != 2 or names != NULL:
        # The message can be a keyword argument.
        if PyVectorcall_NARGS(flags) != 1 or names == NULL or <object>names != ("message",):
            raise TypeError("send() takes one argument, a message")
    exchange = <HttpExchange?><object>arguments[0]
    awaitable = Send.__new__(Send)
    awaitable.exchange = exchange
    awaitable.message = <object>arguments[1]
    return awaitable


cdef CoroutineFunction receive_function = make_function(receive, call_receive)
cdef CoroutineFunction send_function = make_function(send, call_send)


cdef object receive_of(HttpExchange exchange):
    return bind(receive_function, exchange)


cdef object send_of(HttpExchange exchange):
    return bind(send_function, exchange)


cdef bint was_cancelled(task) noexcept:
    """Return whether this task, ours or the loop factory's, has been cancelled."""
    if isinstance(task, Task):
        return (<Task>task).cancels > 0
    try:
        return task.cancelling() > 0
    except Exception:  # CPython 3.10 cannot tell
        return True


cdef bint declares_length(dict message) except -1:
    """Return whether the head in this message, which is still unchecked, has a Content-Length."""
    try:
        for name, _ in message.get("headers", ()):
            if name.lower() == b"content-length":
                return True
    except Exception:
        pass
    return False


cdef class Receive(Awaitable):
    """The awaitable of receive()."""

    cdef object function(self):
        return receive

    cdef bint pending(self) except -1:
        future = self.future
        return (<Waiter>future).is_pending() if type(future) is Waiter else not future.done()

    cdef object poll(self):
        cdef HttpExchange exchange = self.exchange
        if exchange.taking and not self.waited:
            raise RuntimeError("receive() was called while a message was being taken.")
        message = exchange.next_message()
        if message is not None:
            return message
        self.future = exchange.wait_to_receive()
        self.waited = True
        return WAIT


cdef class Send(Awaitable):
    """The awaitable of send()."""

    cdef object function(self):
        return send

    cdef bint take(self, HttpExchange exchange) except -1:
        """Have the message taken. Return true if it is held back or was dropped."""
        if exchange.taking:
            raise RuntimeError("send() was called while a message was being taken.")
        exchange.taking = True
        try:
            if exchange.hold_back(self):
                return True
            message, self.message = self.message, None
            return exchange.take(message)
        finally:
            exchange.taking = False

    cdef object poll(self):
        cdef HttpExchange exchange = self.exchange
        if not self.taken:
            self.taken = True
            if self.take(exchange):
                if self.held:
                    return WAIT
                self.released = True
                self.message = give_way()
                next(self.message)
                return WAIT
            self.transfer = exchange.transfer
        elif self.released:
            return None
        elif exchange.stage != COMPLETE and exchange.is_cut_off():
            if not exchange.raises:
                return None
            raise ClientDisconnected("the client is gone")
        if self.transfer is not None and self.transfer is exchange.transfer:
            if exchange.sending is None:
                exchange.sending = []
            self.transfer = None  # the exchange alone keeps the file open
            self.future = exchange.go_on_with_file()
            if self.future is not None:
                self.transfer = exchange.transfer
                return WAIT
        if exchange.stage == COMPLETE or not exchange.must_wait():
            return None
        if exchange.sending is None:
            exchange.sending = []
        self.future = exchange.wait_in(exchange.sending)
        return WAIT

    def throw(self, kind, value=None, traceback=None):
        """Stop waiting with this exception, or return where it is a cancellation that is put off."""
        if self.held:
            self.exchange.give_up(self)
        if not self.released or self.message is None or self.done:
            return Awaitable.throw(self, kind, value, traceback)
        try:
            Awaitable.throw(self, kind, value, traceback)
        except BaseException as exception:
            self.message.throw(exception)

    def close(self):
        """Stop waiting."""
        if self.held:
            self.exchange.give_up(self)
        Awaitable.close(self)
