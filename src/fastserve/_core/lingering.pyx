"""Connections that are closed but for what their clients still send.

A close with unread input resets the connection, and the client could lose its answer (RFC 9112 section 9.6). So the
writing side is ended, and what the client sends is read and dropped until it ends its side too, has been silent for
LINGER_SECONDS, or has gone on for TOTAL_SECONDS. At most MOST connections of a worker linger, and they do not count for
limit_concurrency.
"""
from .clock cimport LINGER, LINGER_LOOK, Timed, stop
from .worker cimport Worker
from .writer cimport Writer

cdef enum:
    MOST = 256
    TOTAL_SECONDS = 30

cdef double STOP_SECONDS = 0.2  # once the server stops
cdef double UNENDED_SECONDS = 1  # of silence, where the client may be waiting for the end


cdef Lingering begin_lingering(Worker worker, Writer writer, bint more):
    """End the writing side of a connection after what is written, and the connection itself when that is time.

    `more` says that the client has not sent all of its request: where a transport cannot read on after it has ended its
    writing side, that waits as well, since the answer says where it ends, and that it is the last.
    """
    cdef Lingering self = Lingering.__new__(Lingering)
    self.worker = worker
    self.writer = writer
    if len(worker.lingering) >= MOST:
        (<Lingering>next(iter(worker.lingering))).end()
    worker.lingering[self] = None
    self.unended = more and not writer.reads_on()
    self.wait(TOTAL_SECONDS)
    if not self.unended:
        writer.end()
    if worker.stopping:
        self.hurry()
    return self


cdef class Lingering(Timed):
    cdef void wait(self, double seconds) noexcept:
        """Give the client that long from now."""
        self.latest = self.worker.clock.now() + seconds
        self.go_on()

    cdef void go_on(self) noexcept:
        cdef double latest = self.latest
        if self.unended:
            latest = min(latest, self.worker.clock.now() + UNENDED_SECONDS)
        self.worker.clock.start_before(self, LINGER_LOOK if self.hurried else LINGER, latest)

    cdef void heard(self) noexcept:
        if not self.hurried and not self.over:
            self.go_on()

    cdef void expired(self, int kind) noexcept:
        cdef double now = self.worker.clock.now(), silence
        if self.unended:
            self.end()
            return
        if not self.writer.finished():
            # The time is for what the client sends: what it has not taken yet has a deadline of its own.
            self.wait(STOP_SECONDS if self.hurried else TOTAL_SECONDS)
            return
        if now < self.latest:
            silence = self.writer.silence()
            if kind == LINGER_LOOK:
                if self.writer.unacknowledged() != 0:
                    self.go_on()
                    return
            elif 0 <= silence < self.worker.clock.seconds[LINGER]:
                self.go_on()  # it sends, and only the kernel hears it
                return
        self.end()

    cdef void end(self) noexcept:
        self.lost()
        if self.writer.finished() and not self.unended:
            self.writer.abort()
        else:
            self.writer.close()

    cdef void lost(self) noexcept:
        self.over = True
        stop(self)
        self.worker.lingering.pop(self, None)

    cdef int hurry(self) except -1:
        """Let it end as soon as the client has everything that was written to it, or STOP_SECONDS after that."""
        if self.unended:
            self.end()
        elif not self.hurried and not self.over:
            self.hurried = True
            self.wait(STOP_SECONDS)
        return 0
