"""How the body of a response is delimited."""
from ..transport.writer cimport Writer


cdef bytes LAST_CHUNK

cdef int put_piece(bint no_body, bint chunked, Writer writer, bytes data, bint more) except -1
cdef int open_chunk(bint chunked, Writer writer, long long size) except -1
cdef int close_chunk(bint chunked, Writer writer, long long size, bytes last) except -1
cdef int end_with_trailers(bint chunked, Writer writer, list fields) except -1
