"""The members of one topic, in a C array.

walking   A topic that delivers does not move its members: one that leaves meanwhile leaves a hole, one that joins is put at
          the end and gets the next message first.
"""
from libc.stdlib cimport free, realloc

from ..python cimport PyObject, Py_DECREF, Py_INCREF
from .member cimport Member
from .message cimport Message
from .subscriber cimport Subscriber

cdef enum:
    # How far ahead of the member that is dealt with the memory of others is fetched, by each of the pointers to it.
    AHEAD = 12
    AHEAD_NEXT = 8
    AHEAD_LAST = 4

cdef extern from "memory/prefetch.h":
    void fastserve_prefetch(const void* object) nogil
    void fastserve_prefetch_all(const void* object) nogil


cdef class Topic:
    def __dealloc__(self):
        cdef Py_ssize_t at
        for at in range(self.count):
            if self.members[at] != NULL:
                Py_DECREF(<object>self.members[at])
        free(self.members)

    cdef bint deserted(self) noexcept:
        return self.count == self.holes and not self.listeners

    cdef int join(self, Member member) except -1:
        cdef Py_ssize_t capacity
        cdef PyObject** members
        if self.count == self.capacity:
            capacity = self.capacity * 2 or 4
            members = <PyObject**>realloc(self.members, capacity * sizeof(PyObject*))
            if members == NULL:
                raise MemoryError
            self.members = members
            self.capacity = capacity
        Py_INCREF(member)
        member.index = self.count
        self.members[self.count] = <PyObject*>member
        self.count += 1
        return 0

    cdef int leave(self, Member member) except -1:
        cdef Py_ssize_t at = member.index
        if self.walking:
            self.members[at] = NULL
            self.holes += 1
        else:
            self.count -= 1
            self.members[at] = self.members[self.count]
            (<Member>self.members[at]).index = at
        Py_DECREF(member)
        return 0

    cdef int deliver(self, Message message, Py_ssize_t exclude) except -1:
        cdef Py_ssize_t at, count = self.count
        cdef Member member
        self.walking += 1
        try:
            for at in range(count):
                if self.members[at] == NULL:
                    continue
                if at + AHEAD < count:
                    self.fetch(at)
                member = <Member>self.members[at]
                if exclude == 0 or (<Subscriber>member.subscriber).number != exclude:
                    member.take(message)
            if self.listeners:
                for listener in self.listeners:
                    listener(message, exclude)
        finally:
            self.walking -= 1
            self.close_holes()
        return 0

    cdef void fetch(self, Py_ssize_t at) noexcept:
        """Have the memory fetched of the members after `at`, of which there are AHEAD."""
        fastserve_prefetch(self.members[at + AHEAD])
        if self.members[at + AHEAD_NEXT] != NULL:
            fastserve_prefetch_all(<PyObject*>(<Member>self.members[at + AHEAD_NEXT]).subscriber)
        if self.members[at + AHEAD_LAST] != NULL and (<Member>self.members[at + AHEAD_LAST]).subscriber is not None:
            fastserve_prefetch((<Subscriber>(<Member>self.members[at + AHEAD_LAST]).subscriber).ring)

    cdef void close_holes(self) noexcept:
        cdef Py_ssize_t at, kept = 0
        if self.walking or self.holes == 0:
            return
        for at in range(self.count):
            if self.members[at] != NULL:
                self.members[kept] = self.members[at]
                (<Member>self.members[kept]).index = kept
                kept += 1
        self.count = kept
        self.holes = 0
