"""Files that the server serves itself, before the application is called."""
from ..interfaces cimport Stream
from ..system cimport fastserve_identity
from ..worker cimport Worker
from .exchange cimport HttpExchange


cdef class Kept:
    """A response with a file that was sent before; valid as long as the file does not change."""
    cdef bytes path
    cdef fastserve_identity identity
    cdef list headers
    cdef bytes etag
    cdef list headers_304
    cdef bytes content  # None for a large file
    cdef double until  # by the clock: from then on its compressed variants are looked for again
    cdef double seen  # when it was last found to be unchanged


cdef class StaticFiles:
    cdef list routes  # each with a slash at its end, the longest first
    cdef bytes everything  # the directory of the route /, None without it
    cdef object find
    cdef object ask
    cdef dict kept  # Kept by path and Accept-Encoding
    cdef Py_ssize_t held  # bytes of their contents

    cdef bytes match(self, const char* path, Py_ssize_t size)
    cdef bint has_none(self, bytes target) except -1
    cdef int keep(self, bytes key, Kept kept) except -1


cdef class StaticExchange(HttpExchange):
    cdef StaticFiles files
    cdef bytes target  # the path as it was sent
    cdef bint is_apart  # it sends a file, and does not count for the limit of requests

    cdef bint serve(self) except -1
    cdef bint serve_kept(self, Kept kept, bint unmodified) except -1
    cdef bint serve_anew(self, bytes key) except -1
    cdef int name_route(self) except -1
    cdef int send_whole(self, int status, list headers, bytes body) except -1
    cdef int send_part(self, int status, list headers, int fd, long long offset, long long size) except -1
    cdef int go_on(self) except -1
    cdef int done(self) except -1
    cdef void failed(self, object exception) noexcept


cdef HttpExchange make_static_exchange(Worker worker, Stream stream, dict scope, bytes target)
