# setup.py: cold
"""The queue of applicants that wait until something that runs has ended.

Each connection has a line, in the order of its requests, and the lines take turns: a hundred streams of one connection
delay the single request of another by one stream. With one request a connection, as over HTTP/1, the queue is first in,
first out. If it is full, the newest applicant of the longest line is refused to make room for one of a shorter line.
"""
from collections import OrderedDict

from ..metrics cimport QUEUE, QUEUE_DEADLINE, QUEUE_FULL, QUEUE_GONE, Metrics, fastserve_add, fastserve_store
from ..settings cimport Settings
from .clock cimport QUEUED, Clock, stop


cdef class Place(Timed):
    cdef int leave(self) except -1:
        return 0


cdef class Applicant(Place):
    cdef bint admitted(self) except -1:
        return False

    cdef int refused(self) except -1:
        return 0

    cdef int leave(self) except -1:
        """Leave the queue: nobody waits for the outcome any more."""
        fastserve_add(self.admission.metrics.cells + QUEUE_GONE, 1)
        return self.admission.remove(self)

    cdef void expired(self, int kind) noexcept:
        cdef Admission admission = self.admission
        fastserve_add(admission.metrics.cells + QUEUE_DEADLINE, 1)
        admission.remove(self)
        self.refused()


cdef class Admission:
    """The queue of one worker, with at most `settings.queue` applicants for `settings.queue_timeout` seconds."""

    def __cinit__(self, Clock clock not None, Settings settings not None, Metrics metrics not None):
        self.clock = clock
        self.metrics = metrics
        self.most = settings.queue
        self.lines = OrderedDict()

    cdef int enter(self, Applicant applicant) except -1:
        """Queue an applicant, or refuse it, or refuse another one to make room for it."""
        cdef object key = applicant if applicant.line is None else applicant.line
        cdef dict line
        cdef Applicant newest
        if self.length >= self.most:
            fastserve_add(self.metrics.cells + QUEUE_FULL, 1)
            line = self.line_to_cut(key)
            if line is None:
                return applicant.refused()
            newest = next(reversed(line))
            self.remove(newest)
            newest.refused()
        line = self.lines.get(key)
        if line is None:
            line = self.lines[key] = {}
        line[applicant] = None
        applicant.admission = self
        self.clock.start(applicant, QUEUED)
        return self.count(1)

    cdef object line_to_cut(self, object line):
        """Return the longest line, None if `line` with one more would be as long."""
        cdef dict longest = None
        if self.length == len(self.lines):
            return None  # all have one
        longest = max(self.lines.values(), key=len)
        return longest if len(longest) > len(self.lines.get(line, ())) + 1 else None

    cdef int let_in(self, long places) except -1:
        """Admit as many applicants as there are places, one of each line in turn."""
        cdef dict line
        cdef Applicant applicant
        cdef double now = self.clock.now()
        while places > 0 and self.length:
            key, line = self.lines.popitem(False)
            self.lines[key] = line  # at the end
            applicant = next(iter(line))
            if applicant.deadline.next != NULL and applicant.deadline.when <= now:
                stop(applicant)
                applicant.expired(QUEUED)
                continue
            self.remove(applicant)
            places -= applicant.admitted()
        return 0

    cdef int remove(self, Applicant applicant) except -1:
        cdef object key = applicant if applicant.line is None else applicant.line
        cdef dict line = self.lines[key]
        stop(applicant)
        applicant.admission = None
        del line[applicant]
        if not line:
            del self.lines[key]
        return self.count(-1)

    cdef int count(self, int more) except -1:
        self.length += more
        self.ends_awaited += more
        fastserve_store(self.metrics.cells + QUEUE, self.length)
        return 0
