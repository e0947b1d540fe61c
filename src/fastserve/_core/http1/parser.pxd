"""Parser of HTTP/1 requests: llhttp, with limits and the strict rules that it leaves open."""
from libc.stdint cimport uint64_t

from ..http.request cimport Request
from ..llhttp cimport llhttp_t
from ..settings cimport Settings


cdef enum:
    # What Parser.next() found; DONE can come with HEAD (no body) or BODY.
    NEED_MORE = 0  # all input is used up
    HEAD = 1  # a head is complete: `request` is valid until the next call
    BODY = 2  # body_data and body_size are a piece of body, inside the input
    DONE = 4  # the request is complete
    FAULT = 8  # after the BODY that may come with it; status and reason describe it; nothing more can be parsed


cdef class Parser:
    cdef llhttp_t llhttp
    cdef Settings settings
    cdef Request request  # the newest head, None once it was released
    cdef const char* chunk  # first byte of the input that belongs to the head being read
    cdef char* saved  # the head's bytes from earlier inputs, owned; NULL when it came in one
    cdef Py_ssize_t saved_size
    cdef Py_ssize_t saved_capacity
    cdef bint in_head  # between the first byte of a head and its last
    cdef bint in_body  # between a head's last byte and the end of its request
    cdef bint in_field  # the value of the newest field is not complete
    cdef bint other_version  # than this server speaks
    cdef bint unknown_method  # looking for the end of a method that llhttp does not know
    cdef bint paused_at_end  # the request was complete when llhttp paused last
    cdef bint failed
    cdef Py_ssize_t dropped  # bytes of chunk extensions and trailers, which are read and dropped
    cdef Py_ssize_t extension_value_size
    cdef uint64_t body_total  # bytes of body so far
    cdef uint64_t remaining  # bytes of a body with Content-Length that are still to come
    cdef char trailer_name[32]
    cdef Py_ssize_t trailer_name_size
    # With BODY.
    cdef const char* body_data
    cdef Py_ssize_t body_size
    # With FAULT.
    cdef int status
    cdef const char* reason

    cdef int next(self, const char** position, const char* end) except -1
    cdef void release_head(self) noexcept  # the head's fields are not needed any more

    cdef int take_body(self, const char** position, const char* end) noexcept
    cdef void restart(self) noexcept
    cdef int begin_head(self, const char* position) except -1
    cdef int save(self, const char* end) except -1
    cdef int check_line(self, Py_ssize_t size) noexcept
    cdef int check_size(self, Py_ssize_t size) noexcept
    cdef int finish_head(self, const char* end) except -1
    cdef int fault(self, int status, const char* reason) noexcept
    cdef int translate(self, int error, const char** position, const char* end) except -1
    cdef int end_unknown_method(self, const char** position, const char* end) noexcept
    cdef int add_name(self, const char* at, Py_ssize_t size) noexcept
    cdef int add_value(self, const char* at, Py_ssize_t size) noexcept
    cdef int add_trailer_name(self, const char* at, Py_ssize_t size) noexcept
    cdef int drop(self, Py_ssize_t size) noexcept

