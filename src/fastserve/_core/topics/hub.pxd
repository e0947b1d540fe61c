"""The topics of one event loop, and the connections that are subscribed to them."""
cimport cython

from ..interfaces cimport Channel, Pending, Stream, Subscribing
from ..loop.turn cimport Turn
from ..python cimport PyObject
from .message cimport Message


cdef enum:
    # What becomes of a subscriber that does not keep up.
    CLOSE  # its connection is closed
    OLDEST  # it loses its oldest messages, and is told so
    LATEST  # it gets the newest message alone


cdef struct Entry:
    PyObject* message  # owned
    PyObject* member  # borrowed from its topic: what leaves takes its entries with it


cdef class Hub:
    cdef readonly dict topics  # those that somebody is subscribed to, by name
    cdef object changed  # called with a name and whether it has subscribers now
    cdef object gone  # called with the Subscriber of a connection that has ended, if it has a key
    cdef readonly Py_ssize_t queue  # messages that may wait for a client that does not read
    cdef readonly Py_ssize_t queue_size  # and bytes
    cdef Py_ssize_t last  # number of the newest subscriber
    cdef object loop  # where it is used
    cdef Py_ssize_t max_size  # bytes of a message
    cdef public long long published
    cdef readonly long long subscriptions
    cdef readonly long long delivered
    cdef readonly long long dropped
    cdef readonly long long closed
    cdef readonly long long gaps
    cdef readonly long long queued_size  # bytes that wait in all

    cdef Topic topic_of(self, str name)
    cdef int drop_deserted(self, Topic topic) except -1


@cython.final
cdef class Topic:
    cdef readonly str name
    cdef PyObject** members  # owned; NULL for one that has left during a walk
    cdef readonly Py_ssize_t count  # of them, and of those NULLs
    cdef Py_ssize_t capacity
    cdef Py_ssize_t holes
    cdef int walking
    cdef list listeners  # functions that are called with each message and whom it is not for, None before the first

    cdef int join(self, Member member) except -1
    cdef int leave(self, Member member) except -1
    cdef int deliver(self, Message message, Py_ssize_t exclude) except -1
    cdef void fetch(self, Py_ssize_t at) noexcept
    cdef void close_holes(self) noexcept
    cdef bint deserted(self) noexcept


cdef class Early:
    """What a member has to know until its older messages are here."""
    cdef list held  # messages that wait for them, or None
    cdef object after  # whether a message is not among them, until the first that is not; or None


cdef class Extra:
    """What most subscriptions have no more once they have begun, or never had."""
    cdef Hub hub
    cdef tuple names
    cdef list members  # those of each of several topics
    cdef Message gap  # what its client is told of messages that it did not get, or None
    cdef object end_noted  # called when it ends
    cdef double keepalive


cdef class Member(Subscribing):
    """A topic of a subscription; of one topic it is the subscription itself. Thousands of each are kept: it is small."""
    cdef Topic topic
    cdef Subscriber subscriber  # what a delivery needs is here, in one place of memory; None once it has ended
    cdef Subscription subscription  # None for itself
    cdef Early early
    cdef Py_ssize_t index  # among the topic's members
    cdef char in_json
    cdef char slow
    cdef char recovers
    cdef char has_begun

    cdef int take(self, Message message) except -1
    cdef bint is_new(self, Message message) except -1
    cdef Message gap(self)
    cdef int hear_gap(self) except -1


cdef class Subscription(Member):
    cdef Subscription following  # of the same connection
    cdef Extra extra  # None if there is nothing of it

    cdef int join(self, Member member, str name, Subscriber subscriber) except -1
    cdef list all_members(self)
    cdef int end(self) except -1


cdef class KeepAlive:
    """The deadline after which a stream without messages gets a comment."""
    cdef object loop
    cdef double seconds
    cdef object timer


@cython.final
cdef class Subscriber(Pending):
    cdef Hub hub
    cdef Turn turn
    cdef Channel channel  # of the two the one that it writes to; both None once it has ended
    cdef Stream stream
    cdef Subscription subscriptions  # the newest, which knows the next
    cdef KeepAlive keeping  # None but for streams
    cdef readonly object key  # what the application knows it by, None without
    cdef readonly Py_ssize_t number  # to leave it out by
    cdef Entry* ring
    cdef Py_ssize_t size  # bytes
    cdef int first
    cdef int count
    cdef int capacity  # a power of two
    cdef short topics  # how many it has
    cdef char wrote  # since the timer of `keeping` was set

    cdef bint has_ended(self) noexcept
    cdef bint must_wait(self) noexcept
    cdef bint broken(self) noexcept
    cdef int push(self, Member member, Message message) except -1
    cdef int append(self, Member member, Message message) except -1
    cdef int make_room(self, Member member, Message message) except -1
    cdef Py_ssize_t find(self, Member member, Py_ssize_t start) noexcept
    cdef void remove(self, Py_ssize_t at) noexcept
    cdef void forget(self, Member member) noexcept
    cdef void clear(self) noexcept
    cdef int put_first(self, bint alone) except -1
    cdef int write(self) except -1
    cdef int cut(self) except -1
    cdef int keep_alive(self, object loop, double seconds) except -1
    cdef int start_timer(self) except -1
