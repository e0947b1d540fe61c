"""The write path of one connection."""
from libc.stdint cimport uint64_t

from ..loop.clock cimport Clock
from ..loop.turn cimport Flushable, Turn
from ..memory.buffer cimport Buffer
from ..metrics cimport BY_CLIENT, fastserve_add


cdef class Writer(Flushable):
    cdef object transport
    cdef Turn turn
    cdef Clock clock
    cdef int fd  # for system calls of our own; -1 where only the transport may write (TLS, other platforms)
    cdef unsigned char use  # what the connection is used for: the number of a gauge, 0 for none
    cdef unsigned char why  # it is closed
    cdef Buffer buffer  # None while there is nothing to write
    cdef Py_ssize_t committed  # bytes at the front of `buffer` that may be written; a head is being made after them
    cdef long long total  # bytes that have left `buffer` or passed by it, to the socket or the transport
    cdef Py_ssize_t stuck  # bytes that the client had not taken when its deadline was set
    cdef bint unlimited  # the transport's high-water mark is still its own
    cdef bint paused  # the transport has bytes that the kernel did not take
    cdef bint resuming  # it is within its call of resume_writing()
    cdef bint ending  # end the writing side when everything is written
    cdef bint is_last  # and close the transport instead, unless there is unread input: the client sends no more
    cdef bint closing  # close the transport when everything is written
    cdef bint broken  # the client is gone, nothing can be written
    cdef uint64_t* cells  # of the metrics

    cdef long long given(self) noexcept  # bytes so far, those that are being put together included
    cdef Buffer output(self)  # where to put bytes; commit() lets them leave
    cdef int close_transport(self) except -1
    cdef int commit(self) except -1  # they leave at the end of the turn
    # They leave at the end of the turn, whatever is done with those of applications: one read can ask for thousands.
    cdef int commit_reply(self) except -1
    cdef int commit_now(self) except -1  # they leave now, or as soon as the client takes them
    cdef int commit_ahead(self, bytes data) except -1  # `data` leaves, before what was put after the last commit()
    cdef int commit_with(self, bytes data) except -1  # they leave now, followed by `data`, which is not copied
    # They leave now, followed by `data` in slices, each after a head of its own. Return how many bytes of it are taken, which
    # are whole slices, or -1 where the connection has broken. Only with a descriptor, while not paused, for MOST_SLICES.
    cdef Py_ssize_t commit_slices(
        self, const char* heads, Py_ssize_t head_size, const char* data, Py_ssize_t size, Py_ssize_t slice
    ) except -2
    cdef void discard(self, Py_ssize_t mark) noexcept  # take back what was put after `mark` of the buffer
    cdef void end(self) noexcept  # close the writing side after what is committed, go on reading
    cdef bint reads_on(self) noexcept  # what the client sends after end() is still read
    cdef bint must_wait(self) noexcept  # bytes that were written wait for the client
    cdef bint needs_lingering(self) noexcept  # a close while the client still sends may lose what is written
    cdef void close(self) noexcept  # after what is committed
    cdef bint finished(self) noexcept  # after end() or close(): nothing of what is written waits for the client
    cdef int unacknowledged(self) noexcept  # bytes that the client's kernel has not got, -1: unknown
    cdef double silence(self) noexcept  # seconds since the client's last byte if only the kernel gets it, else -1
    cdef void limit_unsent(self) noexcept  # have the kernel keep little that it has not sent yet
    cdef void abort(self) noexcept
    # Hand the transport over, with all that is committed. Return whether it has asked for a pause in writing.
    cdef bint release(self) except -1
    cdef void lost(self) noexcept  # the transport is closed
    cdef int pause(self) except -1
    cdef Py_ssize_t untaken(self) except -1
    cdef int resume(self) except -1
    cdef int write_out(self) except -1
    cdef int hand_over(self, object data) except -1
    cdef void drop_front(self, Py_ssize_t size) noexcept


cdef inline void set_use(Writer writer, int use) noexcept:
    """Count the connection among those of another use; 0: it is there no more."""
    if writer.use != use:
        if writer.use:
            fastserve_add(writer.cells + writer.use, <uint64_t>-1)
        writer.use = <unsigned char>use
        if use:
            fastserve_add(writer.cells + use, 1)


cdef inline void set_why(Writer writer, int why) noexcept:
    """Note why the connection is going to be closed, unless that is known."""
    if writer.why == BY_CLIENT:
        writer.why = <unsigned char>why
