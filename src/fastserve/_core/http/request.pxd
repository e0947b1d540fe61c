"""The head of a request, and the rules of RFC 9110 and RFC 9112 for it that llhttp leaves open."""
from libc.stdint cimport uint64_t

from ..settings cimport Settings


cdef enum:
    HOST_KEPT = 64  # bytes


cdef struct Span:
    # Bytes of a head, counted from its first.
    Py_ssize_t start
    Py_ssize_t size


cdef struct Field:
    Span name
    Span value
    int known  # index in the table of names, or UNKNOWN


cdef class Request:
    """A head as spans. A parser has one from the first byte of a head until its scope is built."""
    cdef Field* fields
    cdef Py_ssize_t capacity
    cdef Py_ssize_t count  # of fields
    cdef const char* head  # where spans count from; valid until the parser's next call
    cdef Py_ssize_t size  # of the complete head, with the empty lines before it
    cdef int method  # llhttp's number
    cdef const char* method_name
    cdef int minor  # of HTTP/1.x
    cdef Span target
    cdef Span authority  # the target's, empty if it has none
    cdef bint is_https  # the target's scheme is https
    cdef Span path  # the target's, still encoded
    cdef Span query  # without "?"
    cdef bint escaped  # the path has a "%"
    cdef bint keep_alive  # as the client asks
    cdef bint chunked
    cdef uint64_t content_length  # 0 if there is none
    cdef bint expect_continue
    cdef bint te_trailers  # the client takes trailers (`TE: trailers`)
    cdef bint upgrade  # `Connection: upgrade` with an Upgrade field
    # What its scope was given, with `noting`, until an account takes it.
    cdef bint noting
    cdef bytes raw_path
    cdef bytes query_string
    cdef list headers
    # The last Host that was valid: it is mostly the next one as well.
    cdef char host[HOST_KEPT]
    cdef Py_ssize_t host_size  # 0: none
    cdef str host_decoded  # that one, once it was asked for
    # After a failed check.
    cdef int status
    cdef const char* reason

    cdef Field* add_field(self) noexcept
    cdef bint has_body(self) noexcept
    cdef str host_text(self, Field* host)  # the value of Host, which has passed the check
    cdef int check(self, Settings settings) noexcept
    cdef int check_request_line(self) noexcept
    cdef int check_target(self) noexcept
    cdef void find_query(self, Py_ssize_t start) noexcept
    cdef int check_fields(self) noexcept
    cdef void read_connection(self) noexcept
    cdef int check_host(self, Field* host, int hosts) noexcept
    cdef int fault(self, int status, const char* reason) noexcept


cdef Request take_request()
cdef void give_request(Request request) noexcept
