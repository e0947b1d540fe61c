# setup.py: cold
"""Applications of a connection that start once responses before theirs have left.

A client can ask in one read for more than a connection should ever hold. Beyond BACKLOG bytes that wait for it, or
UNREAD_HEADS of heads that it does not read, the applications of its next requests are held, in their order, without a
place among those that run.
"""
from collections import deque

from ..http.admission cimport apply_again, give_place_back
from ..transport.writer cimport Writer
from ..worker cimport Worker
from .flow cimport Flow
from .stream cimport Http2Stream, Start


cdef Backlog make_backlog(Worker worker, Flow flow, Writer writer):
    cdef Backlog self = Backlog.__new__(Backlog)
    self.worker = worker
    self.flow = flow
    self.writer = writer
    self.starts = deque()
    return self


cdef class Backlog:
    cdef int hold(self, Http2Stream stream) except -1:
        cdef Start start = Start.__new__(Start)
        start.stream = stream
        self.starts.append(start)
        return give_place_back(stream.exchange) if self.worker.settings.limit_requests else 0

    cdef int start_some(self, object line) except -1:
        cdef Start start
        while self.starts and not is_behind(self.flow, self.writer):
            start = self.starts.popleft()
            if start.stream.exchange is not None and start.stream.exchange.queued:
                apply_again(start.stream.exchange, start, line)
            else:
                self.worker.turn.submit(start)
            if self.flow.backlog + (1 << 19) > BACKLOG:
                break
        return 0
