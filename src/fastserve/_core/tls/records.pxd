"""Where the records of TLS end (RFC 8446 section 5.1), whatever is in them."""
from libc.stdint cimport uint8_t


cdef struct Records:
    uint8_t head[5]  # of the record that has begun
    int head_size  # how much of its head has come
    Py_ssize_t left  # bytes of it that have not come
    bint broken  # this is not TLS: only OpenSSL can say why


# Count the records that these bytes complete; once what comes is not TLS, at least one.
cdef Py_ssize_t completed(Records* records, const uint8_t* data, Py_ssize_t size) noexcept
