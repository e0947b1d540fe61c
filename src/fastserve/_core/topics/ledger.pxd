"""What may wait for the clients of one event loop, and what became of their messages."""


cdef class Ledger:
    cdef object gone  # called with the Subscriber of a connection that has ended, if it has a key
    cdef readonly Py_ssize_t queue  # messages that may wait for a client that does not read
    cdef readonly Py_ssize_t queue_size  # and bytes
    cdef readonly long long subscriptions
    cdef readonly long long delivered
    cdef readonly long long dropped
    cdef readonly long long closed
    cdef readonly long long gaps
    cdef readonly long long queued_size  # bytes that wait in all
