"""What one connection has yet to write of the topics that it is subscribed to.

References to messages wait in a ring, which is written after the turn's responses, with one system call. While the client
does not read, the ring fills up to the bounds of the hub; what is done then is up to each subscription, for its own
messages alone.

ended     It has neither channel nor stream any more, no member in a topic, and an empty ring.
"""
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from ..counters cimport live_counts
from ..interfaces cimport Channel, Pending, Stream
from ..python cimport PyObject, Py_DECREF, Py_INCREF
from ..threads cimport fastserve_count
from .ledger cimport Ledger
from .member cimport CLOSE, LATEST, Member
from .message cimport Comment, Message

cdef enum:
    PIECE = 16384  # bytes of small messages that are put together for one write
    FIRST_CAPACITY = 2

cdef extern from "memory/prefetch.h":
    void fastserve_prefetch(const void* object) nogil
    void fastserve_prefetch_all(const void* object) nogil

cdef Comment COMMENT = Comment()


cdef class Subscriber(Pending):
    def __cinit__(self):
        fastserve_count(&live_counts.subscriber, 1)

    def __dealloc__(self):
        self.clear()
        free(self.ring)
        fastserve_count(&live_counts.subscriber, -1)

    cdef bint has_ended(self) noexcept:
        return self.channel is None and self.stream is None

    cdef bint must_wait(self) noexcept:
        return self.channel.must_wait() if self.channel is not None else self.stream.must_wait()

    cdef bint broken(self) noexcept:
        return self.channel.broken() if self.channel is not None else self.stream.broken()

    # What it has yet to write

    cdef int push(self, Member member, Message message) except -1:
        cdef Ledger hub = self.hub
        if self.has_ended():
            return 0
        if self.count and (self.count >= hub.queue or self.size + message.size > hub.queue_size):
            if not self.must_wait():
                self.flush()  # there are very many in one turn
                if self.has_ended():
                    return 0
            if self.count and (self.count >= hub.queue or self.size + message.size > hub.queue_size):
                if self.make_room(member, message) or self.has_ended():
                    return 0
        if member.slow == LATEST and self.count and self.must_wait():
            self.forget(member)
        self.append(member, message)
        return self.turn.hold_shared(self)

    cdef int append(self, Member member, Message message) except -1:
        cdef int capacity, until_end
        cdef Entry* ring
        cdef Entry* entry
        if self.count == self.capacity:
            capacity = self.capacity * 2 or FIRST_CAPACITY
            ring = <Entry*>malloc(capacity * sizeof(Entry))
            if ring == NULL:
                raise MemoryError
            until_end = self.capacity - self.first
            if self.count:
                memcpy(ring, self.ring + self.first, until_end * sizeof(Entry))
                memcpy(ring + until_end, self.ring, (self.count - until_end) * sizeof(Entry))
            free(self.ring)
            self.ring = ring
            self.first = 0
            self.capacity = capacity
        entry = &self.ring[(self.first + self.count) & (self.capacity - 1)]
        Py_INCREF(message)
        entry.message = <PyObject*>message
        entry.member = <PyObject*>member
        self.count += 1
        self.size += message.size
        self.hub.queued_size += message.size
        return 0

    cdef int make_room(self, Member member, Message message) except -1:
        """Do as the subscription says with a message that the ring has no room for; true where that is dealt with."""
        cdef Ledger hub = self.hub
        cdef Message gap = member.gap()
        cdef Py_ssize_t at
        cdef Entry* entry
        if member.slow == CLOSE:
            hub.closed += 1
            hub.dropped += self.count + 1
            self.clear()
            self.cut()
            return 1
        if member.slow == LATEST:
            self.forget(member)
            if self.count < hub.queue and (self.count == 0 or self.size + message.size <= hub.queue_size):
                return 0
            hub.dropped += 1
            return 1
        at = self.find(member, 0)
        if gap is not None:
            hub.gaps += 1
            if at >= 0 and self.ring[(self.first + at) & (self.capacity - 1)].message != <PyObject*>gap:
                entry = &self.ring[(self.first + at) & (self.capacity - 1)]
                hub.dropped += 1
                self.size += gap.size - (<Message>entry.message).size
                hub.queued_size += gap.size - (<Message>entry.message).size
                Py_DECREF(<object>entry.message)
                Py_INCREF(gap)
                entry.message = <PyObject*>gap
            at = self.find(member, at + 1) if at >= 0 else -1
        while at >= 0 and (self.count >= hub.queue or self.size + message.size > hub.queue_size):
            self.remove(at)
            hub.dropped += 1
            at = self.find(member, at)
        if self.count < hub.queue and (self.count == 0 or self.size + message.size <= hub.queue_size):
            return 0
        hub.dropped += 1  # what else there is belongs to other subscriptions
        return 1

    cdef Py_ssize_t find(self, Member member, Py_ssize_t start) noexcept:
        """Return where the next message of this member is, or -1."""
        while start < self.count:
            if self.ring[(self.first + start) & (self.capacity - 1)].member == <PyObject*>member:
                return start
            start += 1
        return -1

    cdef void remove(self, Py_ssize_t at) noexcept:
        cdef Py_ssize_t mask = self.capacity - 1
        cdef PyObject* message = self.ring[(self.first + at) & mask].message
        while at:
            self.ring[(self.first + at) & mask] = self.ring[(self.first + at - 1) & mask]
            at -= 1
        self.first = (self.first + 1) & mask
        self.count -= 1
        self.size -= (<Message>message).size
        self.hub.queued_size -= (<Message>message).size
        Py_DECREF(<object>message)

    cdef void forget(self, Member member) noexcept:
        """Drop what there is of a member."""
        cdef Py_ssize_t at = self.find(member, 0)
        while at >= 0:
            self.remove(at)
            self.hub.dropped += 1
            at = self.find(member, at)

    cdef void clear(self) noexcept:
        while self.count:
            self.remove(0)

    # Writing

    cdef int pour(self, bint everything) except -1:
        cdef Py_ssize_t put = 0
        if self.has_ended():
            return 0
        while self.count and (everything or not self.must_wait()):
            put += (<Message>self.ring[self.first].message).size
            self.put_first(False)
            if self.has_ended():
                return 0
            if put >= PIECE:
                put = 0
                self.write()
                if self.has_ended():
                    return 0
        return 0

    cdef int put_first(self, bint alone) except -1:
        """Write the oldest message. That ends a stream of HTTP/2 whose client cannot take it, and the subscriber with it."""
        cdef Message message = <Message>self.ring[self.first].message
        Py_DECREF(message)  # which the ring has owned
        self.first = (self.first + 1) & (self.capacity - 1)
        self.count -= 1
        self.size -= message.size
        self.hub.queued_size -= message.size
        self.hub.delivered += 1
        self.wrote = True
        if self.channel is not None:
            return self.channel.put_shared(message, alone)
        return self.stream.put_shared(message, alone)

    cdef int write(self) except -1:
        return self.channel.commit_shared() if self.channel is not None else self.stream.commit_shared()

    cdef int cut(self) except -1:
        if self.channel is not None:
            return self.channel.cut()
        return 0 if self.stream is None else self.stream.cut()

    cdef void flush(self) noexcept:
        try:
            if self.has_ended() or self.count == 0 or self.must_wait():
                return
            if self.broken():
                self.clear()
                return
            if self.count == 1:
                self.put_first(True)
            else:
                self.pour(False)
            if not self.has_ended():
                self.write()
        except Exception:
            self.clear()
            self.cut()
            raise  # reported by the interpreter's hook for errors that nobody can catch

    cdef void fetch(self, bint again) noexcept:
        if again:
            if self.channel is not None:
                self.channel.fetch_shared()
            elif self.stream is not None:
                self.stream.fetch_shared()
            return
        fastserve_prefetch(self.ring)
        if self.channel is not None:
            fastserve_prefetch_all(<PyObject*>self.channel)
        else:
            fastserve_prefetch_all(<PyObject*>self.stream)

    cdef int ended(self) noexcept:
        cdef Member each
        cdef object failure = None
        if self.has_ended():
            return 0
        self.clear()
        self.channel = None
        self.stream = None
        if self.keeping is not None:
            self.keeping.timer.cancel()
            self.keeping = None
        while self.subscriptions is not None:
            each = self.subscriptions
            self.subscriptions = each.unlink()
            try:
                each.end()
            except Exception as exception:  # the others have to end as well
                failure = exception
        if self.key is not None and self.hub.gone is not None:
            self.hub.gone(self)
        self.key = None
        if failure is not None:
            raise failure  # reported by the interpreter's hook for errors that nobody can catch
        return 0

    def known_by(self, key):
        """Take a key, with which the hub's `gone` is called when the connection ends; return false if it has another."""
        if self.has_ended() or self.key is not None:
            return self.key is not None and self.key == key
        self.key = key
        return True

    # Keeping a stream alive

    cdef int keep_alive(self, object loop, double seconds) except -1:
        if self.keeping is None:
            self.keeping = KeepAlive.__new__(KeepAlive)
            self.keeping.loop = loop
        else:
            self.keeping.timer.cancel()
        self.keeping.seconds = seconds
        return self.start_timer()

    cdef int start_timer(self) except -1:
        self.keeping.timer = self.keeping.loop.call_later(self.keeping.seconds, self.alive)
        self.wrote = False
        return 0

    def alive(self):
        """Write a comment to a stream that nothing was written to for a while."""
        if self.stream is None:
            return
        if not self.wrote and not self.must_wait() and not self.broken():
            self.stream.put_shared(COMMENT, True)
            if self.stream is not None:
                self.write()
        if self.stream is not None:
            self.start_timer()
