"""The heads and trailer sections of responses: fields checked as the application gives them, and their header blocks."""
from ..http.response_head cimport HeadFacts
from ..loop.clock cimport Clock
from ..memory.buffer cimport Buffer
from ..settings cimport Settings
from .hpack cimport Encoder


cdef int check_head(HeadFacts* facts, status, headers, list fields) except -1
cdef list check_trailers(list fields)
# Payloads of HEADERS frames, of checked fields.
cdef int put_response(Buffer out, Encoder encoder, HeadFacts* facts, list fields, Settings settings, Clock clock,
                      long long length, bint encrypted) except -1
cdef int put_interim(Buffer out, Encoder encoder, int status, list fields) except -1
cdef int put_trailers(Buffer out, Encoder encoder, list fields) except -1
