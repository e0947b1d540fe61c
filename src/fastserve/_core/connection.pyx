"""The object whose callbacks the event loop calls, one per connection (asyncio.Protocol).

It owns the transport, the writer and the handler. Only this file changes the handler, or hands the transport over to a
protocol outside the core. The first handler is that of the version of HTTP that TLS has negotiated (ALPN) or whose
preface the client sends; the last version in VERSIONS serves all other clients. On a plain connection the handler of
that one is there from the start, and keeps the connection unless the first byte begins a preface.

Many clients have sent their request by the time that their connection is made. On a plain connection of uvloop it is read
then and there, see read_first().
"""
import sys

from libc.string cimport memcmp

from .counters cimport live_counts
from .http.access_log cimport address_text
from .http.proxy_protocol cimport Proxied
from .http.scope cimport peers_of
from .http.version cimport Version
from .http1.connection cimport HTTP1
from .http2.connection cimport HTTP2
from .interfaces cimport Carrier, Handler
from .loop.clock cimport REQUEST_HEAD, monotonic, stop
from .loop.turn cimport SHARE_SECONDS, Turn
from .metrics cimport BY_ERROR, CLOSED_BY_CLIENT, CONNECTIONS, NEW_CONNECTIONS, RECEIVED, fastserve_add
from .python cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from .system cimport FASTSERVE_DIRECT_WRITES, fastserve_receive
from .threads cimport fastserve_count
from .tls.transport cimport TlsTransport
from .tls.writer cimport TlsSocketWriter
from .transport.tls_writer cimport TlsWriter
from .transport.writer cimport Writer, set_use, set_why
from .worker cimport Worker

cdef enum:
    FULL_READ = 65536  # bytes: the loop may have more of them at once
    FIRST_READ = 4096  # bytes: so few that no handler needs to pause reading, which cannot be done yet

cdef int TRACE = 5  # a level of fastserve.logging

cdef str WEBSOCKET = "WebSocket"
cdef tuple UNTRACED = ("", WEBSOCKET)  # in place of a connection that was made before connections were traced

VERSIONS = (HTTP2, HTTP1)
ONLY_HTTP1 = (HTTP1,)
cdef type transport_type = None


cdef class Connection(Carrier):
    """An asyncio protocol that serves HTTP, in these versions or in those of the settings, with the state in `worker`."""

    first_protocol = "HTTP"  # what it speaks, to the lines that trace it

    def __cinit__(self):
        fastserve_count(&live_counts.connection, 1)

    def __dealloc__(self):
        fastserve_count(&live_counts.connection, -1)

    def __init__(self, Worker worker not None, tuple versions=None):
        self.worker = worker
        if versions is None:
            versions = VERSIONS if worker.settings.serves_http2 else ONLY_HTTP1
        self.versions = versions
        self.turn = worker.turn

    def connection_made(self, transport):
        cdef object own = (<Proxied>transport).transport if type(transport) is Proxied else transport
        self.transport = transport
        if type(own) is TlsTransport:
            self.writer = self.tls = TlsSocketWriter(own, (<TlsTransport>own).fd, self.turn, self.worker.clock)
        elif self.is_plain(own):
            self.writer = Writer(own, descriptor(own), self.turn, self.worker.clock)
        else:
            self.writer = self.tls = TlsWriter(own, descriptor(own), self.turn, self.worker.clock)
        fastserve_add(self.writer.cells + CONNECTIONS, 1)
        set_use(self.writer, NEW_CONNECTIONS)
        self.handler = self.first_handler()
        self.worker.connections.add(self)
        if self.worker.traced is not None:
            self.trace_made()
        if self.spare:
            self.worker.count_spare(1)
        self.worker.look_at_loop()
        self.worker.made += 1
        if self.worker.when_scarce is not None and self.writer.fd >= self.worker.last_descriptor:
            self.worker.when_scarce()
        if self.writer.fd >= 0 and self.tls is None and type(transport) is first_read_type():
            if transport.get_protocol() is self:  # else what another protocol has read comes before
                self.read_first()

    cdef int read_first(self) except -1:
        """Read what the client has sent already, without the loop.

        A request that is the last of its connection is run now: the loop, which has not begun to poll the connection,
        then never does. Where requests may have to wait, nothing is read, since reading could not be paused.
        """
        cdef bytes data
        if self.worker.active >= self.worker.room:
            return 0
        data = receive_first(self.writer.fd)
        return 0 if data is None else self.feed_early(data)

    cdef int feed_early(self, bytes data) except -1:
        self.early = True
        self.data_received(data)
        self.early = False
        return 0

    cdef bint is_plain(self, transport) except -1:
        """Return whether a transport is without TLS, which the loops' own transports have a type for."""
        cdef Worker worker = self.worker
        if type(transport) is worker.plain_transport:
            return True
        if transport.get_extra_info("sslcontext") is not None:
            return False
        if type(transport).__module__.partition(".")[0] in ("asyncio", "uvloop"):
            worker.plain_transport = type(transport)
        return True

    cdef Handler first_handler(self):
        cdef Version version
        if self.tls is None:
            self.undecided = len(self.versions) > 1
        else:
            encrypted = self.transport.get_extra_info("ssl_object")
            name = encrypted.selected_alpn_protocol() if encrypted is not None and len(self.versions) > 1 else None
            for version in self.versions:
                if version.alpn == name:
                    return self.begin(version)
        return self.begin(<Version?>self.versions[len(self.versions) - 1])

    cdef Handler begin(self, Version version):
        return version.begin(self.worker, self.transport, self.writer, self)

    cdef int decide(self, bytes data) except -1:
        """Put off the choice where the first bytes are those of a preface."""
        cdef Version version
        cdef Choice choice
        cdef Py_ssize_t size
        self.undecided = False
        for version in self.versions:
            size = min(PyBytes_GET_SIZE(version.preface), PyBytes_GET_SIZE(data))
            if size and memcmp(PyBytes_AS_STRING(version.preface), PyBytes_AS_STRING(data), size) == 0:
                choice = Choice.__new__(Choice)
                choice.connection = self
                choice.fallback = self.handler
                choice.received = b""
                stop(self.handler)
                self.worker.clock.start(choice, REQUEST_HEAD)
                self.handler = choice
                return 0
        return 0

    def data_received(self, bytes data):
        cdef Connection kept = self  # zuvloop frees a protocol inside the call that replaces it
        cdef bint full = PyBytes_GET_SIZE(data) >= FULL_READ
        fastserve_add(kept.turn.metrics.cells + RECEIVED, PyBytes_GET_SIZE(data))
        if full:
            kept.begin_full_read()
        kept.turn.enter()
        try:
            if kept.undecided:
                kept.decide(data)
            kept.handler.feed(data)
            if kept.early and kept.handler.ends_connection():
                kept.turn.hurried = True
        except BaseException as exception:
            kept.failed(exception)
        finally:
            kept.turn.leave()
        if full:
            kept.end_full_read()
        else:
            kept.reading_since = 0

    cdef int begin_full_read(self) except -1:
        if self.reading_since == 0:
            self.reading_since = monotonic()
        return 0

    cdef int end_full_read(self) except -1:
        """Let others, and the loop's timers, go on before more is read from a connection that has had its share."""
        if monotonic() - self.reading_since > SHARE_SECONDS:
            self.reading_since = 0
            if self.transport is not None and not self.transport.is_closing() and self.handler.rest():
                self.worker.loop.call_soon(self.read_on)
        return 0

    def read_on(self):
        """Read again, after a turn of the loop."""
        if self.transport is not None and not self.transport.is_closing():
            self.handler.rested()

    def eof_received(self):
        self.turn.enter()
        try:
            # TLS transports close in any case, and warn about any other return value.
            return self.handler.eof() and self.tls is None
        except BaseException as exception:
            self.failed(exception)
        finally:
            if self.tls is not None:
                self.turn.hurried = True
            self.turn.leave()
            if self.tls is not None:
                self.cut()

    def connection_lost(self, exception):
        self.worker.connections.discard(self)
        if self.worker.traced is not None:
            self.trace_lost()
        self.leave_crowd()
        self.turn.enter()
        try:
            self.writer.lost()
            self.handler.lost()
        finally:
            set_use(self.writer, 0)
            fastserve_add(self.writer.cells + CLOSED_BY_CLIENT + self.writer.why, 1)
            self.turn.leave()
            self.transport = None

    def pause_writing(self):
        self.writer.pause()

    def resume_writing(self):
        self.turn.enter()
        self.writer.resuming = True
        try:
            self.writer.resume()
            self.handler.drained()
        finally:
            self.turn.leave()
            self.writer.resuming = False

    def shutdown(self):
        """Close now, or after the response under way. On uvicorn's contract, as is `transport`."""
        self.handler.drain()

    def end_streams(self):
        """Break off responses without an end; return the tasks of their applications."""
        tasks = []
        self.handler.end_streams(tasks)
        return tasks

    def abort(self):
        """Close without waiting for anything."""
        self.writer.abort()

    cdef int switch_to(self, Handler handler, bytes rest) except -1:
        """Speak another protocol from here on, beginning with `rest`."""
        self.handler = handler
        return handler.feed(rest) if rest else 0

    cdef int hand_over(self, make_protocol, bytes received) except -1:
        """Hand the transport over to another protocol for good, beginning with `received`."""
        cdef bint paused
        self.worker.connections.discard(self)
        try:
            paused = self.writer.release()
            set_use(self.writer, 0)
            protocol = make_protocol()
            self.transport.set_protocol(protocol)
            if self.worker.traced is not None:
                self.worker.traced.pop(self, None)
            self.handler.lost()
            protocol.connection_made(self.transport)
            if paused:
                protocol.pause_writing()
            protocol.data_received(received)
        except BaseException as exception:
            self.failed(exception)
        return 0

    cdef int trace_made(self) except -1:
        client = address_text(peers_of(self.transport, self.writer.fd, self.worker).client).decode()
        prefix = f"{client} - " if client else ""
        self.worker.traced[self] = prefix, self.first_protocol
        self.worker.report(f"{prefix}{self.first_protocol} connection made", None, TRACE)
        return 0

    cdef int trace_upgrade(self, bint elsewhere) except -1:
        prefix, protocol = self.worker.traced.get(self, UNTRACED)
        if protocol != WEBSOCKET:  # else this connection is there for a WebSocket alone
            self.worker.report(f"{prefix}Upgrading to WebSocket", None, TRACE)
            if not elsewhere:
                self.worker.traced[self] = prefix, WEBSOCKET
                self.worker.report(f"{prefix}{WEBSOCKET} connection made", None, TRACE)
        return 0

    cdef int trace_lost(self) except -1:
        found = self.worker.traced.pop(self, None)
        if found is not None:
            prefix, protocol = found
            self.worker.report(f"{prefix}{protocol} connection lost", None, TRACE)
        return 0

    def accepted_beyond(self):
        """Note that this connection is beyond the limit: serve only health checks, until there are fewer."""
        self.spare = True

    cdef int count_in(self) except -1:
        if self.spare:
            self.spare = False
            self.worker.count_spare(-1)
        return 0

    cdef int leave_crowd(self) except -1:
        """Note that this connection is gone."""
        self.count_in()
        if self.worker.when_lost is not None:
            self.worker.when_lost(self)
        return 0

    cdef int cut(self) except -1:
        """Respond now to pending requests: the transport is about to close the other side as well."""
        try:
            self.turn.end_of_turn()
            self.tls.cut()
        except BaseException as exception:
            self.failed(exception)
        return 0

    cdef int failed(self, exception) except -1:
        """Abort this connection after an internal error; all others go on."""
        self.worker.report("Exception in connection", exception)
        set_why(self.writer, BY_ERROR)
        self.writer.abort()
        return 0


cdef class Choice(Handler):
    cdef int feed(self, bytes data) except -1:
        cdef Connection connection = self.connection
        cdef Version version
        self.received += data
        for version in connection.versions:
            if not version.preface:
                continue
            if self.received.startswith(version.preface):
                self.fallback.lost()
                return self.choose(connection.begin(version))
            if version.preface.startswith(self.received):
                return 0  # it may be this one
        return self.choose(self.fallback)

    cdef int choose(self, Handler handler) except -1:
        cdef Connection connection = self.connection
        cdef bytes received = self.received
        stop(self)
        self.connection = self.fallback = None
        return connection.switch_to(handler, received)

    cdef bint eof(self) except -1:
        cdef Handler fallback = self.fallback
        self.choose(fallback)
        return fallback.eof()

    cdef int lost(self) except -1:
        stop(self)
        self.fallback.lost()
        self.connection = self.fallback = None
        return 0

    cdef int drain(self) except -1:
        return self.fallback.drain()

    cdef void expired(self, int kind) noexcept:
        cdef Connection connection = self.connection
        cdef Handler fallback = self.fallback
        try:
            self.choose(fallback)
            fallback.expired(kind)
        except BaseException as exception:
            connection.failed(exception)


cdef type first_read_type():
    """Return the type of the transports that begin to read once connection_made() has returned, even if it closes them."""
    global transport_type
    if transport_type is None and "uvloop.loop" in sys.modules:
        transport_type = sys.modules["uvloop.loop"].TCPTransport
    return transport_type


cdef bytes receive_first(int fd):
    """Return what the client has sent already, None if nothing."""
    cdef char data[FIRST_READ]
    cdef Py_ssize_t size = fastserve_receive(fd, data, FIRST_READ)
    return PyBytes_FromStringAndSize(data, size) if size > 0 else None


cdef int descriptor(transport) except -2:
    """Return the descriptor of a transport's socket, or -1 if there is none that can be used."""
    if not FASTSERVE_DIRECT_WRITES:
        return -1
    sock = transport.get_extra_info("socket")
    return -1 if sock is None else sock.fileno()
