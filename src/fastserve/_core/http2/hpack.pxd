"""HPACK (RFC 7541): header blocks into fields, and fields into header blocks."""
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from ..memory.buffer cimport Buffer
from ..python cimport PyObject
from .fields cimport FieldSink


cdef enum:
    TABLE_SIZE = 4096  # of both tables at most, in the bytes of section 4.1


cdef struct Entry:
    # Of the decoder's table, or of the static one.
    PyObject* field  # (name, value)
    uint32_t size
    uint8_t kind
    uint8_t name_kind


cdef struct Sent:
    # An entry of the encoder's table.
    PyObject* name
    PyObject* value
    uint32_t size
    uint32_t hash  # of both
    uint32_t name_hash
    uint32_t older  # the number of the next entry in the same bucket


cdef class Decoder:
    cdef Entry* entries  # a ring, NULL until the first one
    cdef Py_ssize_t capacity  # of the ring, a power of two
    cdef Py_ssize_t newest  # its place in the ring
    cdef Py_ssize_t count
    cdef Py_ssize_t size  # of the entries
    cdef Py_ssize_t max_size  # that the encoder chose, up to TABLE_SIZE
    cdef const char* reason  # what was wrong with the last block

    cdef int decode(self, const unsigned char* block, Py_ssize_t size, FieldSink sink) except -1
    cdef int fault(self, const char* reason) noexcept
    cdef int resize(self, Py_ssize_t size) noexcept
    cdef Entry* entry(self, Py_ssize_t index) noexcept
    cdef int insert(self, tuple field, Py_ssize_t size, int kind, int name_kind) except -1
    cdef int grow(self) except -1
    cdef void evict(self, Py_ssize_t size) noexcept


cdef class Encoder:
    cdef Sent* entries  # a ring, NULL until the first one
    cdef uint32_t* buckets  # the number of the newest entry with such a hash; as many as the ring has places
    cdef uint64_t* seen  # marks of fields that have been sent, by their hash
    cdef uint32_t capacity  # of the ring, a power of two
    cdef uint32_t inserted  # the number of the newest entry
    cdef uint32_t count
    cdef Py_ssize_t size  # of the entries
    cdef Py_ssize_t max_size
    cdef Py_ssize_t told_size  # the max_size that the decoder knows of
    cdef Py_ssize_t least_size  # since then

    cdef void limit(self, Py_ssize_t size) noexcept  # the peer's SETTINGS_HEADER_TABLE_SIZE
    cdef int begin(self, Buffer out) except -1  # a block begins
    cdef int field(self, Buffer out, bytes name, bytes value) except -1  # checked, the name in lower case
    cdef int status(self, Buffer out, int status) except -1
    cdef int content_length(self, Buffer out, long long length) except -1
    cdef Py_ssize_t find(self, bytes name, bytes value, uint32_t name_hash, uint32_t hash, Py_ssize_t* name_index) noexcept
    cdef bint was_seen(self, uint32_t hash) except -1
    cdef int insert(self, bytes name, bytes value, uint32_t name_hash, uint32_t hash, Py_ssize_t size) except -1
    cdef int grow(self) except -1
    cdef void evict(self, Py_ssize_t size) noexcept
