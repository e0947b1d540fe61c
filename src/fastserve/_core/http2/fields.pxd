"""The fields of requests: what each is to the server, and which are malformed (RFC 9113 sections 8.1 to 8.3)."""
from ..python cimport PyObject


cdef enum:
    # What a field is, by its name and value. An entry of HPACK's table has it decided.
    PLAIN
    COOKIE
    CONTENT_LENGTH_FIELD  # up to 18 digits
    HOST_FIELD
    TE_FIELD  # `trailers`
    EXPECT_FIELD
    PRIORITY_FIELD
    PSEUDO_METHOD  # a token
    PSEUDO_SCHEME
    PSEUDO_AUTHORITY
    PSEUDO_PATH  # visible ASCII without "#", not empty
    PSEUDO_PROTOCOL  # a token
    # These and all after them are malformed.
    MALFORMED
    MALFORMED_NAME = MALFORMED
    MALFORMED_VALUE
    UNKNOWN_PSEUDO
    CONNECTION_SPECIFIC
    MALFORMED_TE
    MALFORMED_LENGTH
    KINDS  # how many there are


cdef int classify(bytes name, bytes value) noexcept
cdef bytes field_name(const char* name, Py_ssize_t size, int* kind)  # as an object, and the kind that a name makes
cdef int kind_of_name(const char* name, Py_ssize_t size) noexcept
cdef int kind_of_field(int name_kind, const char* value, Py_ssize_t size) noexcept  # with a value of these bytes


cdef class FieldSink:
    """What a decoder gives the fields of a block to, in their order."""
    cdef int add(self, tuple field, int kind, Py_ssize_t size) except -1  # (name, value); size: of both, and 32


cdef class RequestFields(FieldSink):
    """The fields of a request; one object serves those of a connection one after the other, each from its begin()."""
    cdef Py_ssize_t size_left
    cdef Py_ssize_t fields_left
    cdef PyObject** kept  # owned; the first is for Host
    cdef Py_ssize_t count
    cdef Py_ssize_t capacity
    cdef bint regular  # a field has come that is not a pseudo-header
    cdef list crumbs  # values of Cookie, None for fewer than two
    cdef Py_ssize_t cookie_at  # where the first one is, 0 for none
    cdef tuple host  # Host as received, None where absent
    cdef tuple authority_field  # the last :authority, and what it became, which is often the same again
    cdef tuple host_field
    cdef bint host_is_valid
    cdef bint takes_protocol  # :protocol is not one that is unknown: the client has been told of it (RFC 8441)
    # The outcome, complete after finish().
    cdef list headers  # as the scope has them: Host first (or :authority in its place), one Cookie
    cdef bytes method  # these are None where absent
    cdef bytes scheme
    cdef bytes authority
    cdef bytes path
    cdef bytes protocol
    cdef bytes priority  # what the Priority fields say, joined
    cdef long long content_length  # -1 where absent
    cdef bint te_trailers
    cdef bint expect_continue
    cdef const char* malformed  # why, NULL for a well-formed request; the error of the stream is PROTOCOL_ERROR
    cdef int over_limit  # status that refuses the request: 431 beyond a limit, 400 and 417 as in HTTP/1.1; 0 for none

    cdef void begin(self, Py_ssize_t max_size, int max_fields) noexcept  # 0 for no limit; crumbs count as one field
    cdef int finish(self) except -1  # after the last field: check what only all of them show
    cdef void drop(self) noexcept
    cdef int keep(self, tuple field) except -1
    cdef int add_regular(self, tuple field, int kind) except -1
    cdef int add_pseudo(self, tuple field, int kind) except -1
    cdef int join_cookies(self) except -1
    cdef int settle_host(self) except -1
    cdef void check_pseudo(self) noexcept
    cdef void refuse(self, int status) noexcept


cdef class TrailerFields(FieldSink):
    """The fields of a trailer section, which are checked and dropped."""
    cdef Py_ssize_t size_left
    cdef Py_ssize_t fields_left
    cdef const char* malformed  # as above
    cdef int over_limit

    cdef void begin(self, Py_ssize_t max_size, int max_fields) noexcept


cdef RequestFields make_request_fields()
