# setup.py: cold
"""Connections that are closed, except that their clients still send.

A close with unread input resets the connection, and the client could lose its response (RFC 9112 section 9.6). So the
writing side is ended, and what the client sends is read and discarded until the client ends its side too, has been
silent for LINGER_SECONDS, or has sent for TOTAL_SECONDS. At most MOST connections of a worker linger, and they do not
count for limit_concurrency.
"""
from ..interfaces cimport Handler
from ..loop.clock cimport LINGER, LINGER_LOOK, Clock, Deadline, Timed, stop
from ..worker cimport Worker
from .writer cimport Writer

cdef enum:
    MOST = 256
    TOTAL_SECONDS = 30

cdef double STOP_SECONDS = 0.2  # once the server stops
cdef double UNENDED_SECONDS = 1  # of silence, when the client may be waiting for the end


cdef Lingering close_or_linger(Handler handler, Worker worker, Writer writer, bint linger, bint more):
    """Close the connection of `handler` after what is written; with `linger`, only the writing side at first.

    Return what lingers, to be kept by the handler, or None. See begin_lingering().
    """
    if not (linger and writer.needs_lingering()):
        writer.close()
        return None
    handler.rested()  # what the client sends is read from here on, and discarded
    return begin_lingering(worker, writer, more)


cdef Lingering begin_lingering(Worker worker, Writer writer, bint more):
    """End the writing side of a connection once all is written, and later the connection.

    `more`: the client has not sent all of its request. If the transport cannot read after its writing side has ended,
    that end is put off as well: the response says where it ends, and that it is the last. The caller must keep
    `worker` and `writer` for as long as the returned object.
    """
    cdef Lingering self = Lingering.__new__(Lingering)
    self.worker = <void*>worker
    self.writer = <void*>writer
    if worker.lingering >= MOST:
        (<Lingering>worker.lingerings.next.owner).end()
    self.link()
    self.unended = more and not writer.reads_on()
    self.wait(TOTAL_SECONDS)
    if not self.unended:
        writer.end()
    if worker.stopping:
        self.hurry()
    return self


cdef class Lingering(Timed):
    def __dealloc__(self):
        self.unlink()

    cdef void link(self) noexcept:
        cdef Worker worker = <Worker>self.worker
        cdef Deadline* end = &worker.lingerings
        self.node.owner = <void*>self
        self.node.next = end
        self.node.previous = end.previous
        end.previous.next = &self.node
        end.previous = &self.node
        worker.lingering += 1

    cdef bint unlink(self) noexcept:
        if self.node.next == NULL:
            return False
        self.node.previous.next = self.node.next
        self.node.next.previous = self.node.previous
        self.node.next = NULL
        return True

    cdef void wait(self, double seconds) noexcept:
        """Give the client this many seconds from now."""
        self.latest = (<Worker>self.worker).clock.now() + seconds
        self.go_on()

    cdef void go_on(self) noexcept:
        cdef Clock clock = (<Worker>self.worker).clock
        cdef double latest = self.latest
        if self.unended:
            latest = min(latest, clock.now() + UNENDED_SECONDS)
        clock.start_before(self, LINGER_LOOK if self.hurried else LINGER, latest)

    cdef void heard(self) noexcept:
        if not self.hurried and self.node.next != NULL:
            self.go_on()

    cdef void expired(self, int kind) noexcept:
        cdef Clock clock = (<Worker>self.worker).clock
        cdef Writer writer = <Writer>self.writer
        cdef double silence
        if self.unended:
            self.end()
            return
        if not writer.finished():
            # This time is for what the client sends; unread output has a deadline of its own.
            self.wait(STOP_SECONDS if self.hurried else TOTAL_SECONDS)
            return
        if clock.now() < self.latest:
            silence = writer.silence()
            if kind == LINGER_LOOK:
                if writer.unacknowledged() != 0:
                    self.go_on()
                    return
            elif 0 <= silence < clock.seconds[LINGER]:
                self.go_on()  # it sends, but only the kernel receives it
                return
        self.end()

    cdef void end(self) noexcept:
        cdef Writer writer = <Writer>self.writer
        self.lost()
        if writer.finished() and not self.unended:
            writer.abort()
        else:
            writer.close()

    cdef void lost(self) noexcept:
        stop(self)
        if self.unlink():
            (<Worker>self.worker).lingering -= 1

    cdef int hurry(self) except -1:
        """End as soon as the client has received everything, or after STOP_SECONDS of waiting for that."""
        if self.unended:
            self.end()
        elif not self.hurried and self.node.next != NULL:
            self.hurried = True
            self.wait(STOP_SECONDS)
        return 0
