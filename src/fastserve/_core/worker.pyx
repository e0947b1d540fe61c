# setup.py: cold
"""What all connections of one event loop share."""
import contextvars
import inspect
import logging
import traceback

from libc.limits cimport LONG_MAX

from .interfaces cimport Carrier, Exchange
from .loop.admission cimport Admission
from .loop.clock cimport GOODBYE
from .loop.task cimport Task
from .loop.turn cimport Flushable
from .metrics cimport Metrics
from .system cimport fastserve_keep_freed


cdef class Worker:
    """The state that the connections of one event loop share. Close it after the last of them.

    `app` is an ASGI 3 callable, `log` a bound Logger.log, `access` an AccessLog or None for no access log; `slow`
    is called with the Account of each exchange that takes longer than settings.log_slow. `static` is the StaticFiles that
    are served before the application, or None. `direct` is
    a DirectApplication that is called in place of `app` while possible, or None. `ws_framing` is a class of
    fastserve.protocols, or None for the core's own WebSocket frames. `ws_protocol` makes an asyncio.Protocol that
    serves WebSockets from the first byte of their handshake, or is None for the core's own. `metrics` is the page of the
    process, None for one that nobody reads. A worker `beside` another one, with another application or settings, shares
    its connections and tasks, and stops and is closed with it. Protocols that fulfil
    uvicorn's contract, with a method shutdown(), may put themselves into `connections` and their tasks into `tasks`.
    """

    def __init__(
        self,
        loop,
        app,
        Settings settings not None,
        *,
        dict state not None,
        log,
        Flushable access=None,
        slow=None,
        static=None,
        direct=None,
        ws_framing=None,
        ws_protocol=None,
        Metrics metrics=None,
        Worker beside=None,
    ):
        self.loop = loop
        self.get_task_factory, self.get_debug = loop.get_task_factory, loop.get_debug
        self.app = app
        self.app_is_coroutine_function = inspect.iscoroutinefunction(app) or inspect.iscoroutinefunction(
            getattr(app, "__call__", None)
        )
        self.direct = direct
        self.settings = settings
        self.clock = Clock(loop, settings)
        self.turn = Turn(loop, metrics)
        self.metrics = self.turn.metrics
        self.admission = Admission(self.clock, settings, self.metrics)
        self.turn.last = access
        self.measure_room()
        self.state = state
        self.context = contextvars.copy_context()
        self.log = log
        self.access = access
        self.static = static
        self.slow = slow if settings.log_slow > 0 else None
        self.accounts = (
            self.slow is not None
            or settings.request_id_field is not None
            or access is not None and access.needs_accounts
        )
        self.scope_is_seen = direct is None or self.accounts
        self.notes_requests = access is not None and access.needs_accounts
        self.notes_headers = settings.request_id_field is not None or access is not None and access.wants_headers
        self.first_bytes = access is not None and access.wants_first_bytes
        self.needs_scopes = (
            self.scope_is_seen or access is not None or settings.hosts is not None or bool(settings.root_path)
        )
        self.ws_framing = ws_framing
        self.ws_protocol = ws_protocol
        self.connections = set() if beside is None else beside.connections
        self.others = []
        self.traced = None if beside is None else beside.traced
        if beside is None and settings.trace:
            self.trace(True)
        if beside is not None:
            beside.others.append(self)
        self.lingerings.next = self.lingerings.previous = &self.lingerings
        self.tasks = set() if beside is None else beside.tasks
        # Else TLS may be the loop's, and its 256 KB a connection would come out of what is kept, and all be resident.
        if settings.tls is None:
            fastserve_keep_freed()

    def __dealloc__(self):
        # Nodes still in the list may be freed together with the worker, and must find themselves unlinked.
        cdef Deadline* node
        while self.lingerings.next != NULL and self.lingerings.next != &self.lingerings:
            node = self.lingerings.next
            self.lingerings.next = node.next
            node.next = NULL

    cdef int measure_room(self) except -1:
        cdef long limit = self.settings.limit_requests
        self.places = limit + self.apart if limit else LONG_MAX
        self.room = 0 if self.settings.limit_concurrency or self.spares else self.places
        return 0

    cdef int count_apart(self, int more) except -1:
        self.apart += more
        self.measure_room()
        return self.let_in() if more > 0 else 0

    cdef int let_in(self) except -1:
        return self.admission.let_in(self.places - self.active)

    cdef bint is_full(self) except -1:
        cdef Py_ssize_t limit = self.settings.limit_connections
        return limit and len(self.connections) - self.lingering > limit

    cdef int count_spare(self, int more) except -1:
        self.spares += more
        return self.measure_room()

    cdef int look_at_loop(self) except -1:
        # In a loop that nest_asyncio has made reentrant, an application may run the loop within a step of its own. Its
        # steps are then calls of the loop's, not of a read, so that the nested run goes on to read and to run others.
        self.asyncio_tasks = (
            self.get_task_factory() is not None or self.get_debug() or hasattr(self.loop, "_nest_patched")
        )
        return 0

    def report(self, message, exception=None, level=logging.ERROR, extra=None):
        """Log a message and an exception; print them if logging fails, so that no exchange suffers from its logging."""
        self.turn.show_loop()
        try:
            if extra:
                self.log(level, message, exc_info=exception, extra=extra)
            else:
                self.log(level, message, exc_info=exception)
        except Exception:
            if exception is not None:
                traceback.print_exception(type(exception), exception, exception.__traceback__)
            traceback.print_exc()

    def trace(self, bint on):
        """Begin or end to log connections, from those on that are made now."""
        cdef Worker worker
        cdef dict traced = None if not on else {} if self.traced is None else self.traced
        for worker in [self, *self.others]:
            worker.traced = traced

    def announce_drain(self, double seconds=0):
        """Make every response from now on the last of its connection. Idle connections stay for one more request.

        So do those whose response under way has not told the client so, for up to `seconds` after it."""
        cdef Worker worker
        self.draining = True
        self.clock.seconds[GOODBYE] = seconds
        for worker in self.others:
            worker.announce_drain(seconds)

    def drain(self, bint replaced=False):
        """Close idle connections now, and every other one after its response under way.

        Where another process has taken over (`replaced`), those whose last response did not tell the client that it was
        the last stay for one more request, as announce_drain() says."""
        cdef Worker worker
        for worker in [self, *self.others]:
            worker.draining = worker.stopping = True
            worker.replaced = replaced
        for connection in list(self.connections):
            connection.shutdown()

    def end_streams(self):
        """Break off every response that declares no end, and wake applications that wait for their client to go.

        Return the tasks of those that were broken off and have not ended."""
        able = [each for each in list(self.connections) if hasattr(each, "end_streams")]
        return [task for connection in able for task in connection.end_streams()]

    def orphans(self):
        """Return the tasks whose client left before the end of a response that declares no end."""
        return [task for task in self.tasks if isinstance(task, Task) and is_orphan(<Task>task)]

    def abort(self):
        """Close every connection at once, whatever it is doing."""
        for connection in list(self.connections):
            if not isinstance(connection, Carrier):  # on uvicorn's contract
                connection = getattr(connection, "transport", None)
            if connection is not None:
                connection.abort()

    def close(self):
        """Cancel the timer, and write what the access log still holds."""
        cdef Worker worker
        for worker in self.others:
            worker.close()
        self.clock.close()
        if self.access is not None:
            self.access.write_held()


cdef bint is_orphan(Task task) noexcept:
    return isinstance(task.owner, Exchange) and (<Exchange>task.owner).orphaned()
