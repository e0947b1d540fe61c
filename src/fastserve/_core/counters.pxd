"""Counts of live objects, kept so that tests can show that nothing leaks."""


cdef struct LiveCounts:
    long connection
    long exchange
    long task
    long buffer
    long websocket
    long subscriber


cdef LiveCounts live_counts
