"""The write path of one connection.

Bytes are collected in one buffer and written with one system call at the end of the turn. While the transport's queue
is empty they go straight to the socket, since a direct send(2) costs less than the transport's write(). What the
kernel does not accept goes through the transport, whose high-water mark is then 0, so that pause_writing() and
resume_writing() tell exactly when its queue is not empty.
"""
from ..loop.clock cimport WRITE, Clock, stop
from ..loop.turn cimport Flushable, Turn
from ..memory.buffer cimport Buffer, give, take
from ..metrics cimport BY_WRITE, SENT, fastserve_add
from ..system cimport FASTSERVE_DIRECT_WRITES, fastserve_end_writing, fastserve_send, fastserve_send2
from ..system cimport fastserve_limit_unsent, fastserve_send_more, fastserve_send_slices, fastserve_unacknowledged
from ..system cimport fastserve_unread

cdef enum:
    # More held bytes are written before the turn ends: the memory of a turn is bounded.
    HELD_BYTES = 65536


cdef class Writer(Flushable):
    """Writes to `transport`; through `fd` as well unless that is -1."""

    def __cinit__(self, transport, int fd, Turn turn, Clock clock):
        self.transport = transport
        self.fd = fd if FASTSERVE_DIRECT_WRITES else -1
        self.turn = turn
        self.cells = turn.metrics.cells
        self.clock = clock
        self.unlimited = True

    def __dealloc__(self):
        if self.buffer is not None:
            give(self.buffer)

    cdef long long given(self) noexcept:
        return self.total + (0 if self.buffer is None else self.buffer.size)

    cdef Buffer output(self):
        if self.buffer is None:
            self.buffer = take()
        return self.buffer

    cdef int commit(self) except -1:
        self.committed = self.buffer.size
        if self.committed > HELD_BYTES:
            return self.write_out()
        return self.turn.hold(self)

    cdef int commit_reply(self) except -1:
        self.committed = self.buffer.size
        if self.committed > HELD_BYTES:
            return self.write_out()
        return self.turn.hold_step(self)

    cdef int commit_now(self) except -1:
        self.committed = self.buffer.size
        return self.write_out()

    cdef int commit_ahead(self, bytes data) except -1:
        """Write `data` after the committed bytes, before what is still being put together."""
        cdef bytes held
        if self.broken:
            return 0
        held = self.output().data[self.committed:self.buffer.size]
        self.buffer.size = self.committed
        self.buffer.append_bytes(data)
        self.commit()
        if held:
            self.output().append_bytes(held)
        return 0

    cdef int commit_with(self, bytes data) except -1:
        """Write the buffer and `data` at once, with one system call: large data gains nothing by waiting."""
        cdef Py_ssize_t first = 0, sent = 0, size = len(data)
        if self.buffer is not None:
            first = self.committed = self.buffer.size
        if self.broken:
            self.drop_front(first)
            return 0
        if self.fd >= 0 and not self.paused:
            if first:
                sent = fastserve_send2(self.fd, self.buffer.data, first, <const char*>data, size)
            else:
                sent = fastserve_send(self.fd, <const char*>data, size)
            if sent < 0:
                self.abort()
                return 0
        fastserve_add(self.cells + SENT, first + size)
        if sent < first:
            self.hand_over(self.buffer.data[sent:first])
        self.total += size
        if sent < first + size:
            self.hand_over(data if sent <= first else memoryview(data)[sent - first:])
        self.drop_front(first)
        return 0

    cdef Py_ssize_t commit_slices(
        self, const char* heads, Py_ssize_t head_size, const char* data, Py_ssize_t size, Py_ssize_t slice
    ) except -2:
        cdef Py_ssize_t first = 0, sent, at = 0, part
        cdef const char* begun = NULL
        if self.buffer is not None:
            first = self.committed = self.buffer.size
            begun = self.buffer.data
        if self.broken:
            self.drop_front(first)
            return -1
        sent = fastserve_send_slices(self.fd, begun, first, heads, head_size, data, size, slice)
        if sent < 0:
            self.abort()
            return -1
        fastserve_add(self.cells + SENT, first)
        if sent < first:
            self.hand_over(self.buffer.data[sent:first])
            self.drop_front(first)
            return 0
        sent -= first
        self.drop_front(first)
        while at < size:
            part = min(slice, size - at)
            if sent < head_size + part:
                # The transport gets the rest of this slice, so that it tells when there is room for more.
                if sent < head_size:
                    self.hand_over(heads[sent:head_size] + data[at:at + part])
                else:
                    self.hand_over(data[at + sent - head_size:at + part])
                self.total += head_size + at + part
                fastserve_add(self.cells + SENT, head_size + part)
                return at + part
            fastserve_add(self.cells + SENT, head_size + part)
            sent -= head_size + part
            self.total += head_size
            at += part
            heads += head_size
        self.total += size
        return size

    cdef void discard(self, Py_ssize_t mark) noexcept:
        if self.buffer is not None and self.buffer.size > mark:
            self.buffer.size = mark
            self.drop_front(0)

    cdef void flush(self) noexcept:
        try:
            self.write_out()
        except Exception:
            self.abort()
            raise  # reported by the interpreter's hook for errors that nobody can catch

    cdef int write_out(self) except -1:
        """Write what is committed; what the kernel does not accept is queued in the transport."""
        cdef Py_ssize_t size = self.committed, sent = 0
        if size and not self.paused and not self.broken:
            if self.fd >= 0 and self.ending:  # the end leaves in the segment of the last bytes
                sent = fastserve_send_more(self.fd, self.buffer.data, size)
            elif self.fd >= 0:
                sent = fastserve_send(self.fd, self.buffer.data, size)
            if sent < 0:
                self.abort()
                return 0
            fastserve_add(self.cells + SENT, size)
            if sent < size:
                self.hand_over(self.buffer.data[sent:size])
            self.drop_front(size)
        if self.committed == 0 or self.broken:
            if self.closing:
                self.close_transport()
            elif self.ending:
                self.ending = False
                if self.fd < 0 or self.paused:
                    self.transport.write_eof()
                elif fastserve_end_writing(self.fd) < 0:  # close() alone ends nothing if a child has the descriptor
                    self.abort()
                elif self.is_last and fastserve_unread(self.fd) == 0:
                    self.close_transport()
        return 0

    cdef int close_transport(self) except -1:
        """Close it. asyncio's, which calls resume_writing() in the middle of a write, would tell of its end twice there."""
        if self.resuming:
            self.turn.call_soon(self.transport.close)
        else:
            self.transport.close()
        return 0

    cdef int hand_over(self, object data) except -1:
        if self.unlimited and self.fd >= 0:
            self.unlimited = False
            self.transport.set_write_buffer_limits(high=0)
        self.transport.write(data)
        return 0

    cdef void drop_front(self, Py_ssize_t size) noexcept:
        """Drop the written bytes at the front of the buffer, and give the buffer back once it is empty."""
        if self.buffer is None:
            return
        self.buffer.consume(size)
        self.committed -= size
        self.total += size
        if self.buffer.size == 0:
            give(self.buffer)
            self.buffer = None

    cdef void end(self) noexcept:
        if not self.transport.can_write_eof():
            self.close()
            return
        self.ending = True
        if not self.queued:
            self.flush()

    cdef bint reads_on(self) noexcept:
        return True

    cdef bint must_wait(self) noexcept:
        return self.paused

    cdef bint needs_lingering(self) noexcept:
        return True

    cdef void close(self) noexcept:
        self.closing = True
        if self.queued:
            return  # flush() closes
        self.flush()

    cdef bint finished(self) noexcept:
        return self.broken or not self.paused

    cdef int unacknowledged(self) noexcept:
        return -1 if self.fd < 0 else fastserve_unacknowledged(self.fd)

    cdef double silence(self) noexcept:
        return -1

    cdef void limit_unsent(self) noexcept:
        if self.fd >= 0:
            fastserve_limit_unsent(self.fd)

    cdef void abort(self) noexcept:
        self.broken = True
        self.closing = True
        stop(self)
        self.drop_front(self.committed)
        if self.resuming:
            self.turn.call_soon(self.transport.abort)
        else:
            self.transport.abort()

    cdef bint release(self) except -1:
        cdef bint paused
        self.write_out()
        if not self.broken:
            if self.committed:
                self.transport.write(self.buffer.data[:self.committed])
            self.transport.set_write_buffer_limits()
        paused = self.paused  # now: each of these calls may have changed it
        Writer.lost(self)
        return paused

    cdef void lost(self) noexcept:
        self.broken = True
        self.paused = False
        stop(self)
        self.fd = -1
        if self.buffer is not None:
            self.committed = 0
            self.drop_front(self.buffer.size)
            self.committed = 0

    cdef int pause(self) except -1:
        """The transport's queue has grown above its high-water mark."""
        self.paused = True
        self.stuck = self.untaken()
        self.clock.start(self, WRITE)
        return 0

    cdef Py_ssize_t untaken(self) except -1:
        """Return the bytes that the client has not taken, in the transport's queue and, if it tells, in the kernel.

        The kernel takes no more of the queue before a third of what it has is acknowledged, which may be 4 MB.
        """
        return self.transport.get_write_buffer_size() + max(self.unacknowledged(), 0)

    cdef int resume(self) except -1:
        self.paused = False
        stop(self)
        return self.write_out()

    cdef void expired(self, int kind) noexcept:
        """Abort if the client has not read a byte since the deadline was set."""
        cdef Py_ssize_t left = self.untaken()
        if left < self.stuck:
            self.stuck = left
            self.clock.start(self, WRITE)
        else:
            set_why(self, BY_WRITE)
            self.abort()
