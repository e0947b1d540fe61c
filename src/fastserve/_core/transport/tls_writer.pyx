"""The write path of a TLS connection: through the transport, which encrypts.

The transport encrypts at once whatever it is given, and its flow control begins only after a buffer that cannot be
inspected. So it is given a slice at a time, and none while the client does not read: the rest waits here. Thus the
write deadline holds, and the memory of an unread response is bounded by what the application has sent.

asyncio's TLS transports have no half-closed state: close() sends close_notify and discards what the client sends
until it sends its own. Most clients do so at once, some never. So a closed connection is checked repeatedly
until the client's kernel has received everything, and is then ended.
"""
from collections import deque

from ..loop.clock cimport WRITE, Clock, stop
from ..loop.turn cimport Turn
from ..metrics cimport SENT, fastserve_add
from ..system cimport fastserve_hung_up, fastserve_limit_unsent, fastserve_silence, fastserve_unacknowledged
from .writer cimport Writer

cdef enum:
    SLICE = 65536

cdef double FIRST_LOOK = 0.03
cdef double LONGEST_LOOK = 1.0
cdef double UNSEEN_SECONDS = 60  # if the kernel cannot tell and no timeout is set


cdef class TlsWriter(Writer):
    """Writes to the TLS `transport`; `fd` is only asked what the kernel still holds."""

    def __cinit__(self, transport, int fd, Turn turn, Clock clock):
        self.socket = fd
        self.fd = -1
        transport.set_write_buffer_limits(high=SLICE)

    cdef int write_out(self) except -1:
        cdef Py_ssize_t size = self.committed
        if size and not self.paused and not self.broken:
            fastserve_add(self.cells + SENT, size)
            self.hand_over(self.buffer.data[:size])
            self.drop_front(size)
        if self.closing and (self.broken or not self.paused):
            self.shut()
        return 0

    cdef int hand_over(self, object data) except -1:
        if not self.paused and not self.waiting and len(data) <= SLICE:
            self.transport.write(data)
            return 0
        if self.waiting is None:  # which most connections never need
            self.waiting = deque()
        self.waiting.append(memoryview(data))
        return self.pour()

    cdef int pour(self) except -1:
        """Give the transport what waits, slice by slice, until it has enough."""
        while self.waiting and not self.paused:
            # An application that does not wait in between would not get to know from the loop.
            if self.socket >= 0 and fastserve_hung_up(self.socket):
                self.abort()
                return 0
            data = self.waiting.popleft()
            if len(data) > SLICE:
                self.waiting.appendleft(data[SLICE:])
                data = data[:SLICE]
            self.transport.write(data)
        return 0

    cdef int resume(self) except -1:
        self.paused = False
        stop(self)
        self.pour()
        return 0 if self.paused else self.write_out()

    cdef void end(self) noexcept:
        self.lingering = True
        Writer.close(self)

    cdef bint reads_on(self) noexcept:
        # asyncio's transports break off at a byte that comes after their close_notify.
        return type(self.clock.loop).__module__.startswith("uvloop")

    cdef void close(self) noexcept:
        self.lingering = False
        Writer.close(self)
        if self.timer is not None:  # it was ended before
            self.timer.cancel()
            self.pause_between = FIRST_LOOK
            self.look_later()

    cdef bint finished(self) noexcept:
        return self.shut_at != 0 and (self.broken or not self.is_delivering())

    cdef int cut(self) except -1:
        """The client has closed its side: the transport closes the other one when it has written what it has."""
        self.paused = False
        stop(self)
        while self.waiting:
            self.transport.write(self.waiting.popleft())
        if self.committed and not self.broken:
            fastserve_add(self.cells + SENT, self.committed)
            self.transport.write(self.buffer.data[:self.committed])
            self.drop_front(self.committed)
        self.broken = True
        return self.shut()

    cdef int shut(self) except -1:
        """Close the transport, which has everything, and see to it that it does close."""
        if self.shut_at == 0:
            self.shut_at = self.clock.now()
            self.left = self.unacknowledged()
            self.pause_between = FIRST_LOOK
            self.look_later()
            self.close_transport()  # asyncio's forgets the connection when it is told twice
        return 0

    cdef int look_later(self) except -1:
        if self.socket >= 0:
            self.timer = self.clock.loop.call_later(self.pause_between, self.look)
            self.pause_between = min(2 * self.pause_between, LONGEST_LOOK)
        return 0

    def look(self):
        """End the connection if the client has got everything, or has taken too long."""
        self.timer = None
        if self.is_delivering() or self.lingering:
            self.look_later()
        else:
            self.abort()

    cdef void limit_unsent(self) noexcept:
        if self.socket >= 0:
            fastserve_limit_unsent(self.socket)

    cdef int unacknowledged(self) noexcept:
        return -1 if self.socket < 0 else fastserve_unacknowledged(self.socket)

    cdef double silence(self) noexcept:
        return -1 if self.socket < 0 else fastserve_silence(self.socket)

    cdef bint is_delivering(self) noexcept:
        """Whether a client may still be taking what was written."""
        cdef double patience = self.clock.seconds[WRITE]
        cdef int left = 0 if self.socket < 0 else fastserve_unacknowledged(self.socket)
        if left == 0:
            return False
        if left < 0 and patience == 0:
            patience = UNSEEN_SECONDS
        if left < self.left:
            self.left = left
            self.shut_at = self.clock.now()
        return patience == 0 or self.clock.now() < self.shut_at + patience

    cdef void abort(self) noexcept:
        Writer.abort(self)
        self.waiting = None

    cdef bint release(self) except -1:
        self.write_out()
        while self.waiting:
            self.transport.write(self.waiting.popleft())
        self.socket = -1
        return Writer.release(self)

    cdef void lost(self) noexcept:
        # asyncio's transport in Python 3.10 warns that it was not closed, even if it was the client that left.
        if not self.transport.is_closing():
            self.transport.close()
        Writer.lost(self)
        self.socket = -1
        self.waiting = None
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
