"""What a connection itself has to say to its client: frames other than those of responses.

Replies are put into the writer's buffer at once and leave with the turn. A client can have any number of them made and
read none, so those that it has not read are counted.
"""
from ..memory.buffer cimport Buffer
from .frames cimport FRAME_HEAD, RST_STREAM, WINDOW_UPDATE, put_number

cdef enum:
    UNREAD = 65536  # bytes of replies that a client does not read


cdef class Replies:
    cdef Buffer room(self, Py_ssize_t size):
        """Return where to put a frame of this size, which leaves with leave()."""
        self.put = True
        if self.writer.paused:
            self.unread += size
        return self.writer.output()

    cdef int reset(self, uint32_t stream, int error) except -1:
        return put_number(self.room(FRAME_HEAD + 4), RST_STREAM, stream, error)

    cdef int open_window(self, uint32_t stream, long long size) except -1:
        """Let the client send this many bytes more of the body of a stream."""
        return put_number(self.room(FRAME_HEAD + 4), WINDOW_UPDATE, stream, <uint32_t>size)

    cdef bint leave(self) except -1:
        """Let what was put leave. Return true where the client has too much that it does not read."""
        self.put = False
        if self.writer.buffer is not None and not self.writer.broken:
            self.writer.commit()
        return self.unread > UNREAD

    cdef void drained(self) noexcept:
        """The client has read all."""
        self.unread = 0
