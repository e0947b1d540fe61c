"""What one connection has yet to write of the topics that it is subscribed to."""
cimport cython

from ..interfaces cimport Channel, Pending, Stream
from ..loop.turn cimport Turn
from ..python cimport PyObject
from .ledger cimport Ledger
from .member cimport Member
from .message cimport Message


cdef struct Entry:
    PyObject* message  # owned
    PyObject* member  # borrowed from its topic: what leaves takes its entries with it


cdef class KeepAlive:
    """The deadline after which a stream without messages gets a comment."""
    cdef object loop
    cdef double seconds
    cdef object timer


cdef class Subscriber(Pending):
    cdef Ledger hub
    cdef Turn turn
    cdef Channel channel  # of the two the one that it writes to; both None once it has ended
    cdef Stream stream
    cdef Member subscriptions  # the newest, which knows the next
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
