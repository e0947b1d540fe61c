"""How the body of a response is delimited."""
from ..http.response_head cimport HeadFacts
from ..transport.writer cimport Writer


cdef struct Framing:
    HeadFacts facts
    bint chunked
    bint no_body  # whatever body the application sends is left out
    long long remaining  # bytes of Content-Length still to come, -1 where there is none


cdef bytes LAST_CHUNK

cdef long long decide(Framing* framing, bint is_head, bint is_http10, long long size, bint more) except -2
cdef int count(Framing* framing, long long size, bint more) except -1
cdef int put_piece(Framing* framing, Writer writer, bytes data, bint more) except -1
cdef int open_chunk(Framing* framing, Writer writer, long long size) except -1
cdef int close_chunk(Framing* framing, Writer writer, long long size, bytes last) except -1
cdef int end_with_trailers(Framing* framing, Writer writer, list fields) except -1
