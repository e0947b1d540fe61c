"""A growable run of bytes to be written.

Only a connection with something to send holds a buffer. A few spare ones are kept for the next.
"""
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memmove

from ..counters cimport live_counts
from ..python cimport PyObject
from ..threads cimport FASTSERVE_FREE_THREADED, fastserve_count
from .pool cimport Pool, make_pool

cdef extern from "memory/pool.h":
    PyObject* fastserve_pool

cdef enum:
    FIRST_CAPACITY = 4096
    KEPT_CAPACITY = 65536  # a buffer that grew beyond this is freed
    KEPT = 128

make_pool(&fastserve_pool, KEPT)


cdef Buffer take():
    fastserve_count(&live_counts.buffer, 1)
    if FASTSERVE_FREE_THREADED and fastserve_pool == NULL:
        make_pool(&fastserve_pool, KEPT)
    buffer = (<Pool>fastserve_pool).take()
    return Buffer() if buffer is None else <Buffer>buffer


cdef void give(Buffer buffer) noexcept:
    fastserve_count(&live_counts.buffer, -1)
    if FASTSERVE_FREE_THREADED and fastserve_pool == NULL:
        return  # this thread has taken none
    if buffer.capacity <= KEPT_CAPACITY:
        buffer.size = 0
        (<Pool>fastserve_pool).give(buffer)


cdef class Buffer:
    def __cinit__(self):
        self.data = <char*>malloc(FIRST_CAPACITY)
        if self.data == NULL:
            raise MemoryError
        self.capacity = FIRST_CAPACITY

    def __dealloc__(self):
        free(self.data)

    cdef int grow(self, Py_ssize_t more) except -1:
        cdef Py_ssize_t capacity = self.capacity
        cdef char* data
        while self.size + more > capacity:
            capacity *= 2
        data = <char*>realloc(self.data, capacity)
        if data == NULL:
            raise MemoryError
        self.data = data
        self.capacity = capacity
        return 0

    cdef int append_decimal(self, unsigned long long number) except -1:
        cdef char digits[20]
        cdef int first = 20
        while True:
            first -= 1
            digits[first] = c'0' + <char>(number % 10)
            number //= 10
            if number == 0:
                break
        return self.append(digits + first, 20 - first)

    cdef int append_hex(self, unsigned long long number) except -1:
        cdef char digits[16]
        cdef int first = 16
        while True:
            first -= 1
            digits[first] = b"0123456789abcdef"[number & 15]
            number >>= 4
            if number == 0:
                break
        return self.append(digits + first, 16 - first)

    cdef void consume(self, Py_ssize_t count) noexcept:
        self.size -= count
        if self.size:
            memmove(self.data, self.data + count, self.size)
