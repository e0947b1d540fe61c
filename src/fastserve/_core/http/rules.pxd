"""Rules of RFC 9110 and RFC 9112 for fields that llhttp does not enforce."""

cdef enum:
    # What transfer_coding() found.
    CHUNKED_ONLY = 0
    CODING_UNKNOWN = 501
    CODING_BAD = 400

cdef Py_ssize_t port_start(const char* host, Py_ssize_t size) noexcept
cdef bint valid_host(const char* host, Py_ssize_t size) noexcept
cdef int transfer_coding(const char* value, Py_ssize_t size) noexcept
cdef bint is_token(const char* text, Py_ssize_t size) noexcept
cdef bint equals(const char* text, Py_ssize_t size, const char* lower, Py_ssize_t lower_size) noexcept
cdef bint has_member(const char* value, Py_ssize_t size, const char* lower, Py_ssize_t lower_size) noexcept
cdef bint has_other_member(const char* value, Py_ssize_t size, const char* lower, Py_ssize_t lower_size) noexcept
cdef bint forbidden_trailer(const char* name, Py_ssize_t size) noexcept
cdef bint refused_trailer(const char* name, Py_ssize_t size) noexcept
