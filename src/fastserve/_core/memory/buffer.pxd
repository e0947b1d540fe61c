"""A growable run of bytes to be written."""
cimport cython
from libc.string cimport memcpy


@cython.final
cdef class Buffer:
    cdef char* data
    cdef Py_ssize_t size  # bytes in use
    cdef Py_ssize_t capacity

    cdef inline char* reserve(self, Py_ssize_t more) except NULL:
        """Return room for `more` bytes after the last one."""
        if self.size + more > self.capacity:
            self.grow(more)
        return self.data + self.size

    cdef inline int append(self, const char* data, Py_ssize_t size) except -1:
        memcpy(self.reserve(size), data, size)
        self.size += size
        return 0

    cdef inline int append_bytes(self, bytes data) except -1:
        return self.append(data, len(data))

    cdef int grow(self, Py_ssize_t more) except -1
    cdef int append_decimal(self, unsigned long long number) except -1
    cdef int append_hex(self, unsigned long long number) except -1
    cdef void consume(self, Py_ssize_t count) noexcept  # drop that many from the front


cdef Buffer take()  # an empty buffer; give() it back once it is empty again
cdef void give(Buffer buffer) noexcept
