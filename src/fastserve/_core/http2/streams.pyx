"""The streams of a connection (RFC 9113 section 5.1).

A stream is in `by_id` from its HEADERS until it is complete on both sides, reset, or lost. Of those closed last it is
remembered how they were closed, for a frame that was under way then is not a fault.
"""
from ..http.exchange cimport HttpExchange
from ..worker cimport Worker
from .closed cimport RESET_BY_US, UNKNOWN, how_closed, remember
from .leftovers cimport make_leftovers
from .stream cimport Http2Stream
from .uploads cimport Uploads


cdef Streams make_streams(Worker worker, Uploads uploads):
    cdef Streams self = Streams.__new__(Streams)
    self.worker = worker
    self.uploads = uploads
    self.by_id = {}
    return self


cdef class Streams:
    cdef bint are_full(self) except -1:
        """Whether there are as many as there may be, with those whose applications still run."""
        return len(self.by_id) + (0 if self.leftovers is None else self.leftovers.count) >= (
            self.worker.settings.limit_http2_streams
        )

    cdef int add(self, Http2Stream stream) except -1:
        self.by_id[stream.id] = stream
        return 0

    cdef int refuse(self, uint32_t id) except -1:
        """A stream is reset that is not served."""
        if how_closed(&self.closed, id) == UNKNOWN:
            remember(&self.closed, id, RESET_BY_US)
        return 0

    cdef int close(self, Http2Stream stream, int how) except -1:
        """A stream is closed."""
        cdef Http2Stream kept = stream  # by nobody else, perhaps
        cdef HttpExchange exchange = stream.application()
        remember(&self.closed, stream.id, how)
        self.by_id.pop(stream.id, None)
        self.uploads.forget(stream)
        kept.close()
        return self.leave_behind(exchange)

    cdef int leave_behind(self, HttpExchange exchange) except -1:
        """An exchange has lost its stream: its application is not started, or counts as long as it runs."""
        if exchange is None or exchange.is_complete():
            return 0
        if not exchange.started:
            return exchange.never_started()
        if exchange.place is not None:
            return 0
        if self.leftovers is None:
            self.leftovers = make_leftovers(self.worker.admission)
        return self.leftovers.enter(exchange)

    cdef int close_all(self) except -1:
        """The connection ends, and all of them with it."""
        cdef Http2Stream stream
        streams, self.by_id = self.by_id, {}
        for stream in (<dict>streams).values():
            self.uploads.abandon(stream)
            exchange = stream.application()
            stream.close()
            self.leave_behind(exchange)
        return 0
