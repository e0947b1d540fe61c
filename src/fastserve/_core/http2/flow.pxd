"""What an HTTP/2 connection sends of bodies, and when (RFC 9113 section 5.2); whose turn it is (RFC 9218)."""
cimport cython
from libc.stdint cimport uint32_t

from ..http.response cimport Response
from ..loop.clock cimport Clock
from ..transport.writer cimport Writer
from .guard cimport Guard
from .hpack cimport Encoder


cdef enum:
    FIRST_WINDOW = 65535  # of every stream and connection, until something else is said
    LARGEST_WINDOW = 0x7FFFFFFF
    URGENCIES = 8
    DEFAULT_URGENCY = 3


cdef struct Link:
    # Of a list of streams.
    Link* previous
    Link* next  # NULL while in none
    void* stream  # borrowed: a stream leaves its list before it goes


cdef class SendingStream(Response):
    """A stream in what it has to send; how a body is cut into frames is for Flow."""
    cdef uint32_t id
    cdef long long window  # bytes that the client takes of it; a change of settings can make it negative
    cdef long long owed  # bytes that it was sent and has not given back
    cdef int urgency  # 0 is the first to be sent
    cdef bint incremental  # others of the same urgency are sent in between
    cdef bint ends_sent  # END_STREAM is written
    # What waits for the client.
    cdef bytes piece  # None for none
    cdef Py_ssize_t at  # how much of it has left
    cdef object pieces  # a deque of those after it, or None
    cdef long long unsent  # bytes of all of them
    cdef bint ends  # END_STREAM follows
    cdef bint waited  # a small piece of it has, long enough for a larger window
    cdef list last_fields  # with trailers, or None
    cdef Link link

    cdef int moved(self) except -1  # some of what waited has left, or all of it
    cdef int wait_for_window(self) except -1  # a small piece of it waits for a larger one, but not for long


@cython.final
cdef class Flow:
    cdef Writer writer
    cdef Encoder encoder
    cdef Guard guard
    cdef Clock clock
    cdef long long window  # bytes of bodies that the client takes on the connection
    cdef long long owed  # bytes of bodies that it was sent and has not given back on the connection
    cdef long long first_window  # of its streams
    cdef Py_ssize_t largest  # payload of a frame that it takes
    cdef long long backlog  # bytes that wait, those of one stream up to a limit
    cdef bint excessive  # the guard has had enough
    # Windows are open, and pump() is to be called once all of a read is known: a client that gives back what it takes
    # frame by frame would otherwise get each piece as a frame of its own, smaller and smaller ones.
    cdef bint due
    cdef Link ready[URGENCIES]  # sentinels of circular lists: streams that wait for the connection alone

    cdef int send(self, SendingStream stream, bytes data, bint last) except -1
    cdef int send_copy(self, SendingStream stream, const char* data, Py_ssize_t size, bint last) except -1
    cdef int end(self, SendingStream stream, list trailers) except -1
    cdef int close_fields(self, Py_ssize_t mark, uint32_t stream, int flags) except -1
    cdef int pump(self) except -1
    cdef bint cuts_small(self, SendingStream stream) noexcept
    cdef int send_small(self, SendingStream stream) except -1
    cdef int opened(self, SendingStream stream, long long more) except -1
    cdef int resize(self, SendingStream stream, long long change) except -1
    cdef int prioritise(self, SendingStream stream, bytes value) except -1
    cdef void forget(self, SendingStream stream) noexcept
    cdef void take_out(self, SendingStream stream) noexcept
    cdef int wait(self, SendingStream stream, bytes data) except -1
    cdef bint fits(self, SendingStream stream, Py_ssize_t size) noexcept
    cdef int put_end(self, SendingStream stream) except -1
    cdef int put_frames(self, SendingStream stream, const char* data, Py_ssize_t size, bint last) except -1
    cdef int put_data(self, SendingStream stream, const char* data, Py_ssize_t size, bint last) except -1
    cdef int send_some(self, SendingStream stream, bint alone) except -1
    cdef int left(self, SendingStream stream, Py_ssize_t size) except -1
    cdef void count_backlog(self, SendingStream stream, long long unsent) noexcept
    cdef void insert(self, SendingStream stream) noexcept
    cdef SendingStream most_urgent(self)


cdef Flow make_flow(Writer writer, Encoder encoder)
cdef void unlink(SendingStream stream) noexcept
