"""The topics of one event loop, and the connections that are subscribed to them."""
from cpython.object cimport PyObject

from ..interfaces cimport Channel, Pending, Stream, Subscribing
from ..loop.turn cimport Turn
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
    cdef readonly Py_ssize_t queue  # messages that may wait for a client that does not read
    cdef readonly Py_ssize_t queue_size  # and bytes
    cdef Py_ssize_t last  # number of the newest subscriber
    cdef readonly long long subscriptions
    cdef readonly long long delivered
    cdef readonly long long dropped
    cdef readonly long long closed
    cdef readonly long long gaps
    cdef readonly long long queued_size  # bytes that wait in all

    cdef Topic topic_of(self, str name)


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
    cdef void close_holes(self) noexcept
    cdef bint deserted(self) noexcept


cdef class Member:
    """A topic of a subscription."""
    cdef Topic topic
    cdef Subscription subscription
    cdef Subscriber subscriber  # its subscription's; what a delivery needs is here, in one place of memory
    cdef bint in_json  # the same
    cdef int slow
    cdef Py_ssize_t index  # among the topic's members
    cdef list held  # messages that wait until older ones are here, or None
    cdef object after  # whether a message is not among those older ones, until the first that is not; or None

    cdef int take(self, Message message) except -1
    cdef bint is_new(self, Message message) except -1


cdef class Subscription(Subscribing):
    cdef readonly Hub hub
    cdef readonly tuple names
    cdef Subscriber subscriber  # None before it has begun and once it has ended
    cdef list members
    cdef object end_noted  # called when it ends
    cdef Message gap  # what its client is told of messages that it did not get, or None
    cdef int slow
    cdef bint in_json
    cdef bint recovers
    cdef double keepalive
    cdef readonly bint began

    cdef int end(self) except -1


cdef class Subscriber(Pending):
    cdef Hub hub
    cdef Turn turn
    cdef Channel channel  # of the two the one that it writes to; both None once it has ended
    cdef Stream stream
    cdef list subscriptions
    cdef readonly Py_ssize_t number  # to leave it out by
    cdef Py_ssize_t topics  # how many it has
    cdef Entry* ring
    cdef Py_ssize_t first
    cdef Py_ssize_t count
    cdef Py_ssize_t capacity  # a power of two
    cdef Py_ssize_t size  # bytes
    cdef object loop
    cdef double keepalive  # seconds between two writes to a stream, 0 for any
    cdef object timer
    cdef bint wrote  # since the timer was set

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
    cdef int write(self) except -1
    cdef int cut(self) except -1
    cdef int start_timer(self) except -1
