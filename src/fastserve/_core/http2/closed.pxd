"""How the streams that were closed last were closed: a late frame for one of these may not be a fault."""
from libc.stdint cimport uint32_t


cdef enum:
    REMEMBERED = 64


cdef enum:
    # How a stream was closed.
    UNKNOWN  # a while ago, or it never was there
    COMPLETED
    RESET_BY_CLIENT
    RESET_BY_US


cdef struct Closed:
    uint32_t id
    int how


cdef struct ClosedStreams:
    Closed streams[REMEMBERED]
    unsigned int at  # of the next one


cdef inline void remember(ClosedStreams* closed, uint32_t id, int how) noexcept:
    closed.streams[closed.at % REMEMBERED] = Closed(id, how)
    closed.at += 1


cdef inline int how_closed(ClosedStreams* closed, uint32_t id) noexcept:
    cdef int index
    for index in range(REMEMBERED):
        if closed.streams[index].id == id:
            return closed.streams[index].how
    return UNKNOWN
