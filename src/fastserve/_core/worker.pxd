"""What all connections of one event loop share."""
from libc.stdint cimport uint64_t

from .loop.admission cimport Admission
from .loop.clock cimport Clock, Deadline
from .loop.turn cimport Turn
from .metrics cimport Metrics
from .settings cimport Settings


cdef class Worker:
    cdef readonly object loop
    cdef object get_task_factory  # the loop's, bound once
    cdef object get_debug
    cdef public object app  # the ASGI application
    cdef bint app_is_coroutine_function  # calling it runs none of its code
    cdef bint asyncio_tasks  # the loop makes the tasks of applications: it has a task factory, or is in debug mode
    cdef object direct  # the application as a DirectApplication if it can be called without tasks, else None
    cdef bint needs_scopes  # by more than a direct application
    cdef bint scope_is_seen  # by the application, or by more than reads its strings
    cdef readonly Settings settings
    cdef readonly Clock clock
    cdef readonly Turn turn
    cdef readonly dict state  # the lifespan's, copied into each scope
    cdef object context  # each exchange runs in a copy of this contextvars.Context
    cdef readonly object log  # Logger.log of the server's general logger
    cdef readonly object access  # AccessLog, or None
    cdef readonly object static  # StaticFiles, or None
    cdef object slow  # is called with the Account of a slow exchange, then and at its end; None for no such limit
    cdef readonly bint accounts  # each exchange has an Account
    cdef bint notes_requests  # what lines show of them
    cdef bint notes_headers  # of responses, for lines or ids
    cdef bint first_bytes  # and that says when its first byte was given
    cdef uint64_t random[4]  # the state of the random numbers that request ids are made of
    cdef bint seeded  # they are this process's and loop's own
    cdef readonly object ws_framing  # makes the framing of a WebSocket if a library does that, else None
    cdef readonly object ws_protocol  # makes the protocol that serves WebSockets from the handshake on, or None
    cdef readonly list others  # workers whose connections and tasks are among those of this one
    cdef type plain_transport  # of the loop, for connections without TLS; None before the first
    cdef unsigned char own_host[4]  # IPv4 address and port of the server's end of the last plain connection,
    cdef int own_port
    cdef dict own_template  # and the template of its scopes; None before the first
    cdef readonly set connections  # of the core, and protocols outside it that serve WebSockets
    cdef readonly long lingering  # connections that only wait for their client to close
    cdef Deadline lingerings  # sentinel of the circular list of their nodes, the oldest first
    cdef readonly set tasks  # of exchanges that did not end in their first step
    cdef readonly long active  # exchanges that are not queued and whose application has not returned
    cdef long room  # the value of `active` from which on a limit applies
    cdef readonly long places  # the highest value of `active` that is allowed
    cdef readonly Admission admission
    cdef long apart  # of them, open WebSockets and files being sent, which limit_requests does not count
    cdef readonly long spares  # connections beyond their limit
    cdef readonly long long made  # connections so far
    cdef public long last_descriptor  # a plain connection with this one or a higher one calls when_scarce(), if there is one
    cdef public object when_scarce
    cdef public bint has_one_address  # plain connections come to one IPv4 address alone
    cdef public object when_lost  # is called when a connection is lost, or None
    cdef readonly long total_requests
    cdef long long untaken  # bytes of bodies over HTTP/2 that no application has taken
    cdef public bint red  # the server has been told to stop: its health says so
    cdef readonly Metrics metrics  # the page of this process
    cdef dict traced  # of connections: how lines about each begin, and what it speaks; None unless they are logged
    cdef readonly bint draining
    cdef readonly bint stopping  # connections close as soon as they are idle
    cdef readonly bint replaced  # if stopping: by another process, which serves the same clients

    cdef int measure_room(self) except -1
    cdef int count_apart(self, int more) except -1
    cdef int let_in(self) except -1  # an exchange has ended: begin those that wait
    cdef bint is_full(self) except -1  # the limit of connections is reached or exceeded
    cdef int count_spare(self, int more) except -1
    cdef int look_at_loop(self) except -1  # see whether it makes the tasks; with each connection, for it may change
