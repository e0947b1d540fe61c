# setup.py: cold
"""One of a topic: what a topic and the connection that gets its messages ask of it."""


cdef class Member(Subscribing):
    cdef int take(self, Message message) except -1:
        return 0

    cdef int miss(self) except -1:
        return 0

    cdef Message gap(self):
        return None

    cdef Member unlink(self):
        return None

    cdef int end(self) except -1:
        return 0
