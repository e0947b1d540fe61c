# setup.py: cold
"""Ranges of files, sent to a socket by sendfile(2), so that no byte passes through this process.

Event loops forbid add_writer() on a descriptor that one of their transports uses, so a duplicate of it waits for room
in the socket. Where no descriptor is left for that, the socket is tried again and again.
"""
import os
import stat

from ..loop.clock cimport WRITE, stop
from ..metrics cimport SENT, fastserve_add
from ..system cimport (
    FASTSERVE_CANNOT,
    FASTSERVE_END,
    FASTSERVE_FULL,
    FASTSERVE_SENDFILE,
    fastserve_send_more,
    fastserve_sendfile,
)

cdef enum:
    MOST = 1 << 21  # bytes sent before other connections get their turn

cdef double RETRY_SECONDS = 0.02


cdef class FileSender:
    """Sends parts of files to the connection of `handler`, after what its writer holds."""

    def __cinit__(self, Handler handler, Writer writer, Turn turn, loop):
        self.handler = handler
        self.writer = writer
        self.turn = turn
        self.loop = loop
        self.watched = -1

    cdef long long send(self, int file, long long offset, long long size) except -2:
        """Send some of these bytes. Return how many, -1 if sendfile cannot send any; drained() tells when to go on.

        Raises RuntimeError if the file ends early.
        """
        cdef Writer writer = self.writer
        cdef long long total = 0, sent
        if not FASTSERVE_SENDFILE or writer.fd < 0:
            return -1
        if writer.broken or writer.paused or self.watched >= 0 or self.timer is not None:
            return 0
        if writer.committed:
            sent = fastserve_send_more(writer.fd, writer.buffer.data, writer.committed)
            if sent < 0:
                writer.abort()
                return 0
            fastserve_add(writer.cells + SENT, sent)
            if sent < writer.committed:
                writer.drop_front(sent)
                writer.write_out()
                if writer.paused or writer.broken:
                    return 0
            else:
                writer.drop_front(sent)
        while total < size and total < MOST:
            sent = fastserve_sendfile(writer.fd, file, offset + total, min(size - total, MOST))
            if sent > 0:
                total += sent
                writer.total += sent
                fastserve_add(writer.cells + SENT, sent)
            elif sent == FASTSERVE_FULL:
                break
            elif sent == FASTSERVE_END:
                raise RuntimeError("the file ended before all of the announced bytes were sent")
            elif sent == FASTSERVE_CANNOT:
                return total if total else -1
            else:
                writer.abort()
                return 0
        if total:
            stop(writer)
        if total < size:
            self.watch()
        return total

    cdef int watch(self) except -1:
        if self.writer.deadline.next == NULL:  # else it has been tried in vain
            self.writer.stuck = self.writer.untaken()
            self.writer.clock.start(self.writer, WRITE)
        try:
            self.watched = os.dup(self.writer.fd)
        except OSError:
            self.timer = self.loop.call_later(RETRY_SECONDS, self.writable)
            return 0
        self.loop.add_writer(self.watched, self.writable)
        return 0

    def writable(self):
        """Called by the loop: the socket has room, or may have some."""
        self.turn.enter()
        try:
            if self.watched >= 0:
                stop(self.writer)
            self.close()
            self.handler.drained()
        finally:
            self.turn.leave()

    cdef int close(self) except -1:
        """Stop waiting."""
        watched, self.watched = self.watched, -1
        timer, self.timer = self.timer, None
        if timer is not None:
            timer.cancel()
        if watched >= 0:
            self.loop.remove_writer(watched)
            os.close(watched)
        return 0


cdef class OpenFile:
    """A regular file that is being sent: one of the application's, or opened here and closed with this object."""

    def __dealloc__(self):
        if self.owned:
            os.close(self.fd)

    cdef int open(self, path) except -1:
        """Open the file at a path (str), a relative one from the working directory; TypeError, ValueError, OSError."""
        if not isinstance(path, str):
            raise TypeError(f"the path of a file to send must be a str, not {type(path).__name__}")
        self.fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        self.owned = True
        return self.measure()

    cdef int borrow(self, file) except -1:
        """Use an open file of the application's, or its descriptor; TypeError, ValueError, OSError."""
        self.fd = file if isinstance(file, int) else file.fileno()
        return self.measure()

    def measure(self):
        status = os.fstat(self.fd)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("only regular files can be sent")
        self.size = status.st_size
        return 0

    def read(self, offset, size):
        """Return up to `size` bytes from `offset`; blocks."""
        return os.pread(self.fd, size, offset)
