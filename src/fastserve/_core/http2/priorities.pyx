# setup.py: cold
"""What clients say of the priority of streams that they have not opened yet (RFC 9218 section 7.1).

For each of these streams the last word counts. A stream that opens closes those below it that were not opened (RFC 9113
section 5.1.1), so what was said of these is forgotten.
"""

cdef enum:
    ROOM = 256  # bytes of a priority that are kept; a longer one says nothing


cdef class Priorities:
    def __cinit__(self):
        self.values = {}

    cdef int keep(self, uint32_t id, bytes value) except -1:
        """Keep what a client says of a stream before it opens it: the last word counts."""
        self.values[id] = value if len(value) <= ROOM else b""
        return 0

    cdef bytes take(self, uint32_t id):
        """Return what has been said of a stream that opens, or None; it closes those below it that were not opened."""
        cdef bytes value = self.values.get(id)
        for other in list(self.values):
            if other <= id:
                del self.values[other]
        return value

    cdef Py_ssize_t count(self) except -1:
        return len(self.values)
