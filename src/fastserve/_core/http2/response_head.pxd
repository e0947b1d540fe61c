"""The payload of a response's HEADERS frames: header blocks of fields that check_head() and check_trailers() gave."""
from ..http.response_head cimport HeadFacts, check_head, check_trailers
from ..loop.clock cimport Clock
from ..memory.buffer cimport Buffer
from ..settings cimport Settings
from .hpack cimport Encoder


cdef int put_response(Buffer out, Encoder encoder, HeadFacts* facts, list fields, Settings settings, Clock clock,
                      long long length) except -1
cdef int put_interim(Buffer out, Encoder encoder, int status, list fields) except -1
cdef int put_trailers(Buffer out, Encoder encoder, list fields) except -1
