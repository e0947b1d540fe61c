"""A call of a WSGI application, between the thread that runs it and the event loop that serves it.

    thread    start_response, write, the pieces of the iterable --> whole or outbox --> send()        event loop
              wsgi.input <-- BodyReader <-- receive()

The thread makes the response, and reports. Most responses are complete at once: such a response is `whole`, costs one
report, and the event loop puts it into the exchange's stream without a task, a coroutine or messages. In all other
cases (a body in pieces, a request whose body is still arriving, a client that leaves, a server that stops) the call
goes on in a task that runs its serve(), which is the same for every ASGI server, like everything that the thread does.

In every case the iterable is closed and `ended` is reported. `gone` means that nobody reads the response: the application is then asked for at most one more piece.

Without threads the event loop makes the response itself, a part at a time by advance(): the first part is the call of
the application, each further one a piece of its iterable, asked for once the client has taken the previous one. The
body of the request is complete before the first part. While the application runs, its thread has no running loop and
no current task: code that a WSGI application calls may refuse to run in an event loop, or run one itself.
"""
import asyncio
import contextvars
import io
from asyncio import CancelledError

cimport cython

from ..errors import ClientDisconnected
from ..http.exchange cimport HttpExchange, receive_of, send_of
from ..http.request cimport Request
from ..http.response_head cimport pairs_of
from ..http.scope cimport Peers
from ..interfaces cimport Exchange
from ..loop.current_task cimport make_current, restore_current
from ..loop.turn cimport note_sender
from ..python cimport PyBytes_FromObject, PyObject, PyObject_CheckBuffer
from ..threads cimport FASTSERVE_FREE_THREADED
from .environ cimport Environs
from .mailbox cimport Reports, make_reports
from .start_response cimport checked_headers, status_of

cdef extern from "Python.h":
    int PyContext_Enter(object context) except -1
    int PyContext_Exit(object context) except -1
    object PyContext_Copy(object context)
    ctypedef struct PyTypeObject:
        object (*tp_new)(PyTypeObject* kind, object arguments, PyObject* names)
        int (*tp_init)(object self, object arguments, PyObject* names) except -1
    Py_ssize_t Py_REFCNT(object of) noexcept
    Py_ssize_t refcount_of "Py_REFCNT"(PyObject* of) noexcept  # of an attribute, which an object argument would count

cdef object BytesIO = io.BytesIO
cdef object set_running_loop = asyncio._set_running_loop

cdef enum:
    HIGH_WATER = 65536  # bytes that the application may be ahead of the client
    JOINED = 65536  # bytes of a list's items that are joined into one piece


cdef class WSGIApplication(DirectApplication):
    """Calls the WSGI application `app` with an environ made by `environs`, in a thread of `threads`.

    `threads` is None if the event loop is to call it itself.

    Each call is a `kind()`. If the application returns a `file_wrapper`, the call's send_file() sends it.
    """

    def __init__(self, app, threads, Environs environs not None, kind, file_wrapper):
        self.app = app
        self.threads = threads
        self.waiting = None if threads is None else threads.calls
        self.environs = environs
        self.kind = kind
        self.file_wrapper = file_wrapper
        self.reports = {}

    def call(self, loop, scope, bytes piece, bint more):
        """Start a call, and return it: the caller then awaits its serve().

        `piece` is the request's body so far, and there may be `more`. Raises RuntimeError if no thread can be started.
        """
        fields = scope if type(scope) is dict else dict(scope)
        context = contextvars.copy_context()
        if self.threads is None:
            return self.make(loop, fields, context, piece, more, None)
        return self.start(loop, None, fields, context, piece, more, None)

    cdef dict environ_of(self, object head, object peers):
        return self.environs.environ_of_head(<Request>head, <Peers>peers)

    cdef DirectCall begin(self, Exchange exchange):
        cdef HttpExchange http = <HttpExchange?>exchange
        cdef bint more = http.may_come()
        cdef bytes piece = http.take_arrived()
        if self.threads is None:
            self.run_here(http, piece, more)
            return None
        return self.start(http.worker.loop, http.worker.turn, http.scope, http.context, piece, more, http)

    cdef int run_here(self, HttpExchange http, bytes piece, bint more) except -1:
        cdef WSGICall call = None
        if not FASTSERVE_FREE_THREADED:  # else another thread may take it at the same moment
            call, self.spare = self.spare, None
        if call is None:
            call = self.make(http.worker.loop, http.scope, http.context, piece, more, http)
        else:
            self.prepare(call, http.worker.loop, http.scope, http.context, piece, more, http)
        if not FASTSERVE_FREE_THREADED and call.starter is None:
            call.starter = call.start_response
        call.run_here()
        if not FASTSERVE_FREE_THREADED and call.is_spent():
            call.renew()
            self.spare = call
        else:
            call.starter = None  # it refers back to the call
        return 0

    cdef WSGICall start(
        self, object loop, Turn turn, dict scope, object context, bytes piece, bint more, HttpExchange exchange
    ):
        cdef WSGICall call = self.make(loop, scope, context, piece, more, exchange)
        cdef bint alone = turn is not None and not turn.batching
        cdef Reports reports = <Reports>self.reports.get(loop)
        if reports is None or reports.turn is not turn:
            reports = self.new_reports(loop, turn)
        call.reports = reports
        reports.watched = alone
        try:
            self.threads.submit(call.run, loop, alone)
        except BaseException:
            call.begun()
            raise
        return call

    cdef WSGICall make(
        self, object loop, dict scope, object context, bytes piece, bint more, HttpExchange exchange
    ):
        cdef WSGICall call = self.kind()
        self.prepare(call, loop, scope, context, piece, more, exchange)
        return call

    cdef int prepare(
        self, WSGICall call, object loop, dict scope, object context, bytes piece, bint more, HttpExchange exchange
    ) except -1:
        call.application = self
        call.loop = loop
        call.scope = scope
        if exchange is not None:
            call.environ, exchange.environ = exchange.environ, None
        call.context = context
        call.length = -1
        call.exchange = exchange
        if more:
            call.input = call.open_body(piece)
        else:
            call.input = open_bytes((piece,) if piece else ())
        return 0

    cdef Reports new_reports(self, object loop, Turn turn):
        self.close()
        reports = self.reports[loop] = make_reports(loop, turn)
        return reports

    def close(self):
        """Release the mailbox of the loop that runs in this thread, and those of loops that have ended."""
        for loop, reports in list(self.reports.items()):
            if loop is asyncio._get_running_loop() or not loop.is_running():
                self.reports.pop(loop, None)
                (<Reports>reports).close()


cdef class WSGICall(DirectCall):
    """One half of a call; a subclass is the other.

    open_body(piece)        returns wsgi.input for a request whose body begins with `piece` and goes on; sets `body`
    wait(most)              in the thread: returns once no more than `most` bytes are unsent, or the client is gone;
                            without threads: keeps what write() was given in a file
    serve(receive, send)    a coroutine: serves the call until the application has ended, by collect()
    """

    # In the thread

    cdef int begun(self) except -1:
        return self.reports.unwatch() if self.reports.watched else 0

    def run(self):
        """Call the application and send what it returns; never raises."""
        if not self.gone:
            self.guard()
        with cython.critical_section(self):
            self.ended = True
        self.reports.add(self, not self.application.waiting)

    cdef int guard(self) except -1:
        """Run the application in its context, and keep what it raises."""
        try:
            PyContext_Enter(self.context)
            try:
                if self.reports is None:
                    self.step()
                else:
                    self.respond()
            finally:
                PyContext_Exit(self.context)
        except CancelledError as exc:  # by the application itself: this call has no task that could be cancelled
            self.error = RuntimeError("a WSGI application raised asyncio.CancelledError")
            self.error.__cause__ = exc
        except BaseException as exc:  # SystemExit as well: it ends the request, not the thread
            self.error = exc
        return 0

    cdef object call_application(self):
        cdef WSGIApplication application = self.application
        cdef dict environ = self.environ
        if environ is None:
            environ = application.environs.environ_of(self.scope, self.input)
        else:
            environ["wsgi.input"] = self.input
        self.environ = self.input = None
        start_response = self.start_response if self.starter is None else self.starter
        return application.app(environ, start_response)  # from here on only the application keeps the environ

    cdef int respond(self) except -1:
        result = self.call_application()
        try:
            if not self.send_at_once(result):
                for piece in result:
                    self.send_piece(piece)
                    if self.gone:
                        return 0
            if not self.complete and not self.gone:
                self.put(b"", False)
        finally:
            close = getattr(result, "close", None)
            if close is not None:
                self.reports.add(self, False)  # it may take long
                close()
        return 0

    cdef bint send_at_once(self, result) except -1:
        """Send a body that is complete at once. Return false, having done nothing, if it is not."""
        if type(result) is list or type(result) is tuple:
            self.send_items(result)
            return True
        return type(result) is self.application.file_wrapper and self.send_file(result)

    def start_response(self, status, headers, exc_info=None):
        """Take the head of the response. Raises as PEP 3333 says, and for what cannot be sent.

        Returns write(), which is the call itself: few applications use it, and a bound method would be one more object.
        """
        cdef Py_ssize_t length
        cdef int code
        if exc_info:
            try:
                if self.head_sent:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None  # no reference cycle through this frame
        elif self.headers is not None:
            raise AssertionError("start_response() was called again without exc_info")
        code = status_of(status)
        checked = checked_headers(headers, &length)
        self.status, self.headers, self.length = code, checked, length  # all of it, or nothing
        return self

    def __call__(self, data):
        """Send a piece of the body. Raises ClientDisconnected, an OSError, if nobody reads it."""
        if self.gone:
            raise ClientDisconnected("the client is gone")
        self.send_piece(data)
        if self.reports is None and self.is_ahead():
            self.wait(HIGH_WATER)

    cdef int send_items(self, items) except -1:
        cdef Py_ssize_t size = 0
        if len(items) == 1:
            return self.put(checked(items[0]), False)
        items = [checked(item) for item in items]  # all of them before any is sent
        for item in items:
            size += len(item)
        if size <= JOINED:
            return self.put(b"".join(items), False)
        for item in items:
            if item:
                self.send_piece(item)
            if self.gone:
                break
        return 0

    cdef int send_piece(self, piece) except -1:
        """Send a piece of the body; an empty one sends the head unless that has been sent."""
        cdef bytes data = checked(piece) if piece else b""
        if not data and (self.head_sent or self.headers is None):
            return 0
        # A piece must not wait for the next one, but Content-Length may tell whether there is one.
        self.put(data, self.length < 0 or self.produced + len(data) < self.length)
        if self.reports is not None:
            self.reports.add(self, False)
            if self.is_ahead():
                self.wait(HIGH_WATER)
        return 0

    cdef bint is_ahead(self) noexcept:
        """Return whether the client must take some of the response before there is more of it."""
        return not self.complete and self.produced - self.consumed > HIGH_WATER

    cdef int put(self, bytes piece, bint more) except -1:
        if self.complete:
            raise RuntimeError("Response content longer than Content-Length")
        if not self.head_sent and not more and self.headers is not None:
            self.head_sent = True
            with cython.critical_section(self):
                self.whole = piece
        else:
            self.put_head()
            self.put_message({"type": "http.response.body", "body": piece, "more_body": more}, len(piece))
        self.complete = not more
        self.produced += len(piece)
        return 0

    cdef int put_head(self) except -1:
        if self.head_sent:
            return 0
        if self.headers is None:
            raise AssertionError("the application sent a body or returned before it called start_response()")
        self.head_sent = True
        return self.put_message(start_message(self.status, self.headers, self.length), 0)

    cdef int put_message(self, dict message, Py_ssize_t size) except -1:
        cdef tuple item = (message, size)
        with cython.critical_section(self):
            if self.outbox is None:
                self.outbox = []
            self.outbox.append(item)
        return 0

    cdef bint send_file(self, wrapper) except -1:
        """Let the server send a file by its descriptor. Return false, having done nothing, if it cannot."""
        cdef Py_ssize_t count
        cdef bint possible = self.scope is None or "http.response.zerocopysend" in self.scope.get("extensions", ())
        extent = wrapper.extent() if possible else None
        if extent is None or self.headers is None:
            return False
        offset, count = extent
        if self.length >= 0:
            count = min(count, self.length - self.produced)
        if not count:
            return False
        if self.length < 0 and not self.head_sent:
            self.length = count
        self.put_head()
        self.complete = self.length == self.produced + count
        self.put_message(
            {
                "type": "http.response.zerocopysend",
                "file": wrapper.filelike,
                "offset": offset,
                "count": count,
                "more_body": not self.complete,
            },
            count,
        )
        self.produced += count
        if self.reports is not None:
            self.reports.add(self, False)
            self.wait(0)  # the file is open until then
        return True

    def make_gate(self, gate):
        """Have the event loop open this gate whenever the thread may be able to go on."""
        with cython.critical_section(self):
            self.gate = gate

    # In the event loop

    cdef int noticed(self) except -1:
        """Handle a report of the thread."""
        self.news = True
        if self.exchange is not None:
            return self.go_on()
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)
        return 0

    cdef int go_on(self) except -1:
        """Do what needs no task, and start one for the rest."""
        cdef HttpExchange exchange = self.exchange
        cdef bytes whole
        cdef bint ended, more
        with cython.critical_section(self):
            ended, more = self.ended, self.outbox is not None
            whole, self.whole = self.whole, None
        if whole is not None:
            try:
                exchange.answer_checked(self.status, self.headers, self.length, whole)
                if self.reports is None:
                    if self.ended:
                        exchange.worker.turn.step_is_over = True
                    else:  # the application goes on, and the response cannot wait for it
                        note_sender(exchange.worker.turn, exchange.scope, True)
            except Exception as exc:
                self.failure = exc
                self.gone = True
            while self.reports is None and not self.ended:
                self.advance_here()
                ended, more = self.ended, self.outbox is not None
        if more or self.body is not None or self.written is not None or not ended:
            return self.to_task()
        self.exchange = None
        exchange.ended(None, self.failure if self.error is None else self.error)
        return 0

    cdef int to_task(self) except -1:
        cdef HttpExchange exchange = self.exchange
        self.exchange = None
        exchange.worker.turn.show_loop()
        coro = self.serve(receive_of(exchange), send_of(exchange))
        return exchange.start_task(coro, PyContext_Copy(exchange.worker.context))

    def collect(self):
        """Return what the thread has sent since the last call, a list of (message, bytes of body)."""
        cdef list messages
        cdef bytes body
        with cython.critical_section(self):
            messages, self.outbox = self.outbox, None
            body, self.whole = self.whole, None
        if body is None:
            return messages or []
        return [
            (start_message(self.status, self.headers, self.length), 0),
            ({"type": "http.response.body", "body": body, "more_body": False}, len(body)),
        ]

    # Without threads

    cdef int run_here(self) except -1:
        """Serve the exchange at once, or start a task if something must wait."""
        if self.body is not None:
            return self.to_task()
        self.advance_here()
        return self.go_on()

    def advance(self):
        """Call the application, or ask it for its next piece; never raises."""
        self.advance_here()

    cdef int advance_here(self) except -1:
        cdef bint in_task = self.exchange is None
        if not in_task:
            self.exchange.worker.turn.hide_loop()
            return self.guard()
        current = make_current(self.loop, None)
        set_running_loop(None)
        self.guard()
        set_running_loop(self.loop)
        return restore_current(self.loop, current)

    def finish(self):
        """Ask the application for nothing more: close its iterable; never raises."""
        if not self.ended:
            self.gone = True
            self.advance_here()

    cdef int step(self) except -1:
        cdef bint more = False
        try:
            more = self.next_part()
        finally:
            if not more:
                self.close_result()
        return 0

    cdef bint next_part(self) except -1:
        """Put the next part of the response. Return whether there may be more."""
        if self.gone:
            return False
        if not self.called:
            self.called = True
            self.result = self.call_application()
            if not self.send_at_once(self.result):
                self.iterator = iter(self.result)
            elif not self.complete or self.outbox is not None:
                return True  # a file is open until it is sent
        if self.iterator is not None:
            for piece in self.iterator:
                self.send_piece(piece)
                return True
        if not self.complete:
            self.put(b"", False)
        return False

    cdef int close_result(self) except -1:
        result, self.result, self.iterator = self.result, None, None
        self.ended = True
        if type(result) is list or type(result) is tuple:
            return 0
        close = getattr(result, "close", None)
        if close is not None:
            close()
        return 0

    cdef bint is_spent(self) noexcept:
        """Return whether a call has ended, was a simple one, and is known to the caller alone, as is its `starter`."""
        return (
            self.ended
            and Py_REFCNT(self) == 2  # the caller, and `starter`
            and refcount_of(<PyObject*>self.starter) == 1
            and self.outbox is None
            and self.body is None
            and self.written is None
            and self.iterator is None
        )

    cdef void renew(self) noexcept:
        """Forget all of a spent call."""
        self.application = self.loop = None
        self.scope = self.context = self.headers = self.error = self.failure = self.whole = None
        self.length = -1
        self.head_sent = self.complete = self.ended = self.gone = self.news = self.called = False
        self.produced = self.consumed = 0

    # Of both

    def sent(self, Py_ssize_t size):
        """Note that this many bytes of body have been sent."""
        with cython.critical_section(self):
            self.consumed += size
        self.open_gate()

    def leave(self):
        """Note that nobody reads the response any more."""
        with cython.critical_section(self):
            self.gone = True
        self.open_gate()

    cdef int open_gate(self) except -1:
        # The thread makes the gate, and only then looks whether it has to wait there.
        with cython.critical_section(self):
            gate = self.gate
        if gate is not None:
            gate.open()
        return 0

    def report(self):
        """Make the event loop collect, from any thread."""
        self.reports.add(self, False)


cdef object open_bytes(tuple arguments):
    """Return BytesIO(*arguments), by its slots: a call of the type takes half as much again."""
    cdef PyTypeObject* kind = <PyTypeObject*>BytesIO
    file = kind.tp_new(kind, arguments, NULL)
    kind.tp_init(file, arguments, NULL)
    return file


cdef dict start_message(int status, list headers, Py_ssize_t length):
    return {"type": "http.response.start", "status": status, "headers": pairs_of(headers, length)}


cdef bytes checked(piece):
    """Return a piece of a body as bytes. Raises TypeError."""
    if type(piece) is bytes:
        return <bytes>piece
    if not PyObject_CheckBuffer(piece):
        raise TypeError(f"a piece of a response must be bytes, not {type(piece).__name__}")
    return PyBytes_FromObject(piece)  # PEP 3333 has bytes alone, uvicorn takes what has some
