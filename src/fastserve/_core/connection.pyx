"""The object whose callbacks the event loop calls, one a connection (asyncio.Protocol).

It owns the transport, the writer and the handler, and is the only place that changes the handler.
"""
from .counters cimport live_counts
from .handler cimport Handler
from .http1 cimport make_http1
from .posix cimport FASTSERVE_DIRECT_WRITES
from .turn cimport Turn
from .worker cimport Worker
from .writer cimport Writer


cdef class Connection:
    """An asyncio protocol that serves HTTP with what `worker` holds."""

    def __cinit__(self):
        live_counts.connection += 1

    def __dealloc__(self):
        live_counts.connection -= 1

    def __init__(self, Worker worker not None):
        self.worker = worker
        self.turn = worker.turn

    def connection_made(self, transport):
        self.transport = transport
        self.writer = Writer(transport, descriptor(transport), self.turn, self.worker.clock)
        self.handler = make_http1(self.worker, transport, self.writer)
        self.worker.connections.add(self)

    def data_received(self, bytes data):
        self.turn.enter()
        try:
            self.handler.feed(data)
        except BaseException as exception:
            self.failed(exception)
        finally:
            self.turn.leave()

    def eof_received(self):
        self.turn.enter()
        try:
            return self.handler.eof()
        except BaseException as exception:
            self.failed(exception)
        finally:
            self.turn.leave()

    def connection_lost(self, exception):
        self.worker.connections.discard(self)
        self.turn.enter()
        try:
            self.writer.lost()
            self.handler.lost()
        finally:
            self.turn.leave()
            self.transport = None

    def pause_writing(self):
        self.writer.pause()

    def resume_writing(self):
        self.turn.enter()
        try:
            self.writer.resume()
            self.handler.drained()
        finally:
            self.turn.leave()

    def drain(self):
        """Close now, or after the response that is under way."""
        self.handler.drain()

    def end_stream(self):
        """Break off a response without an end; return the task of its application, or None where there is none."""
        return self.handler.end_stream()

    def abort(self):
        """Close without waiting for anything."""
        self.writer.abort()

    cdef int failed(self, exception) except -1:
        """An error of ours: this connection cannot go on, all others can."""
        self.worker.report("Exception in connection", exception)
        self.writer.abort()
        return 0


cdef int descriptor(transport) except -2:
    """The socket that may be written to directly, or -1 where bytes have to go through the transport."""
    if not FASTSERVE_DIRECT_WRITES or transport.get_extra_info("sslcontext") is not None:
        return -1
    sock = transport.get_extra_info("socket")
    return -1 if sock is None else sock.fileno()
