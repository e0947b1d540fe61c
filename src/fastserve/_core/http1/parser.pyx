"""Parser of HTTP/1 requests: llhttp, with limits and the strict rules that it leaves open.

next() is called with the remaining input and tells what it found first, so nothing of the server ever runs inside
llhttp. Callbacks only note spans, count against the limits, and pause at the end of a head, of a chunk and of a
request. Spans count from the first byte of the head: when a head comes in several inputs, the earlier ones are kept
in `saved` and the spans stay true. A body with Content-Length is taken without llhttp, which has nothing to find in it.

The outcome depends on the bytes alone, not on how they were cut into inputs. So a fault that needs more bytes to be
distinguished from another one (an unknown method from noise) waits for them.
"""
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy, strncmp

from ..http.field_names cimport LOWER, TRANSFER_ENCODING, lookup
from ..http.request cimport Field, Request, give_request, take_request
from ..http.rules cimport refused_trailer, transfer_coding
from ..llhttp cimport (
    F_CHUNKED,
    F_CONNECTION_CLOSE,
    F_CONNECTION_KEEP_ALIVE,
    F_CONNECTION_UPGRADE,
    F_CONTENT_LENGTH,
    F_UPGRADE,
    HPE_INVALID_CONSTANT,
    HPE_INVALID_METHOD,
    HPE_INVALID_TRANSFER_ENCODING,
    HPE_INVALID_VERSION,
    HPE_OK,
    HPE_PAUSED,
    HPE_USER,
    HTTP_REQUEST,
    llhttp_execute,
    llhttp_get_error_pos,
    llhttp_init,
    llhttp_method_name,
    llhttp_method_t,
    llhttp_resume,
    llhttp_set_lenient_version,
    llhttp_settings_init,
    llhttp_settings_t,
    llhttp_t,
)
from ..settings cimport Settings

cdef extern from "http1/parser.h":
    void fastserve_finish_span(llhttp_t* parser, const char* end) noexcept

cdef llhttp_settings_t callbacks

cdef enum:
    VERSION_SIZE = 9  # " HTTP/1.1"


cdef inline Parser parser_of(llhttp_t* llhttp):
    return <Parser>llhttp.data


cdef int on_url(llhttp_t* llhttp, const char* at, size_t size) noexcept:
    cdef Parser self = parser_of(llhttp)
    cdef Py_ssize_t start = self.saved_size + (at - self.chunk)
    if self.request.target.size == 0:
        self.request.target.start = start
    self.request.target.size += size
    return self.check_line(start + <Py_ssize_t>size)


cdef int on_version_complete(llhttp_t* llhttp) noexcept:
    cdef Parser self = parser_of(llhttp)
    self.other_version = llhttp.http_major != 1
    if llhttp.http_minor > 1:  # served as the newest minor version (RFC 9110 section 2.5)
        llhttp.http_minor = 1
    return HPE_USER if self.other_version else 0


cdef int on_header_field(llhttp_t* llhttp, const char* at, size_t size) noexcept:
    cdef Parser self = parser_of(llhttp)
    return self.add_trailer_name(at, size) if self.in_body else self.add_name(at, size)


cdef int on_header_value(llhttp_t* llhttp, const char* at, size_t size) noexcept:
    cdef Parser self = parser_of(llhttp)
    return self.drop(size) if self.in_body else self.add_value(at, size)


cdef int on_header_field_complete(llhttp_t* llhttp) noexcept:
    cdef Parser self = parser_of(llhttp)
    cdef Py_ssize_t size = self.trailer_name_size
    if self.in_body:
        self.trailer_name_size = 0
        if size <= <Py_ssize_t>sizeof(self.trailer_name) and refused_trailer(self.trailer_name, size):
            return self.fault(400, b"forbidden trailer field")
    return 0


cdef int on_header_value_complete(llhttp_t* llhttp) noexcept:
    parser_of(llhttp).in_field = False
    return 0


cdef int on_headers_complete(llhttp_t* llhttp) noexcept:
    # The connection decides about an upgrade: until then, what follows is a message like any other.
    parser_of(llhttp).request.upgrade = llhttp.upgrade
    llhttp.upgrade = 0
    return HPE_PAUSED


cdef int on_body(llhttp_t* llhttp, const char* at, size_t size) noexcept:
    cdef Parser self = parser_of(llhttp)
    cdef uint64_t limit = <uint64_t>self.settings.limit_request_body
    self.body_data = at
    self.body_size = size
    self.body_total += size
    if limit and self.body_total > limit:
        self.body_size -= self.body_total - limit
        return self.fault(413, b"request body over the limit")
    return 0


cdef int on_chunk_complete(llhttp_t* llhttp) noexcept:
    # Without the pause a second chunk would overwrite the span of the first.
    return HPE_PAUSED if parser_of(llhttp).body_size else 0


cdef int on_chunk_extension_name(llhttp_t* llhttp, const char* at, size_t size) noexcept:
    parser_of(llhttp).extension_value_size = 0
    return parser_of(llhttp).drop(size)


cdef int on_chunk_extension_value(llhttp_t* llhttp, const char* at, size_t size) noexcept:
    cdef Parser self = parser_of(llhttp)
    self.extension_value_size += size
    return self.drop(size)


cdef int on_chunk_extension_value_complete(llhttp_t* llhttp) noexcept:
    if parser_of(llhttp).extension_value_size == 0:
        return parser_of(llhttp).fault(400, b"chunk extension with an empty value")
    return 0


cdef int on_message_complete(llhttp_t* llhttp) noexcept:
    parser_of(llhttp).paused_at_end = True
    return HPE_PAUSED


llhttp_settings_init(&callbacks)
callbacks.on_url = on_url
callbacks.on_version_complete = on_version_complete
callbacks.on_header_field = on_header_field
callbacks.on_header_field_complete = on_header_field_complete
callbacks.on_header_value = on_header_value
callbacks.on_header_value_complete = on_header_value_complete
callbacks.on_headers_complete = on_headers_complete
callbacks.on_body = on_body
callbacks.on_chunk_complete = on_chunk_complete
callbacks.on_chunk_extension_name = on_chunk_extension_name
callbacks.on_chunk_extension_value = on_chunk_extension_value
callbacks.on_chunk_extension_value_complete = on_chunk_extension_value_complete
callbacks.on_message_complete = on_message_complete


cdef class Parser:
    """Finds the requests of one connection, one after the other."""

    def __cinit__(self, Settings settings not None):
        self.settings = settings
        self.restart()

    def __dealloc__(self):
        free(self.saved)

    cdef int next(self, const char** position, const char* end) except -1:
        """Parse from `position` on, move it past what was used, and return what was found.

        Call it again until it returns NEED_MORE, DONE or FAULT; after DONE for the next request.
        """
        cdef int error
        if self.failed:
            return FAULT
        if position[0] == end:
            return NEED_MORE
        if self.remaining:
            return self.take_body(position, end)
        if self.unknown_method:
            return self.end_unknown_method(position, end)
        if not self.in_body:
            if self.in_head:
                self.chunk = position[0]
            else:
                self.begin_head(position[0])
        self.body_size = 0
        error = llhttp_execute(&self.llhttp, position[0], end - position[0])
        if error == HPE_OK:
            position[0] = end
            if self.in_head:
                if self.check_size(self.saved_size + (end - self.chunk)):
                    return FAULT
                self.save(end)
            return BODY if self.body_size else NEED_MORE
        if error != HPE_PAUSED:
            return self.translate(error, position, end)
        position[0] = llhttp_get_error_pos(&self.llhttp)
        if self.paused_at_end:
            self.in_body = self.paused_at_end = False
            self.restart()
            return BODY | DONE if self.body_size else DONE
        if self.in_body:
            llhttp_resume(&self.llhttp)
            return BODY
        if self.finish_head(position[0]):
            return FAULT
        if not self.request.has_body():
            self.restart()
            return HEAD | DONE
        llhttp_resume(&self.llhttp)
        self.in_body = True
        self.remaining = self.request.content_length
        return HEAD

    cdef int take_body(self, const char** position, const char* end) noexcept:
        """Take a piece of a body with Content-Length, which was held against the limit with the head."""
        cdef Py_ssize_t size = end - position[0]
        if <uint64_t>size > self.remaining:
            size = <Py_ssize_t>self.remaining
        self.body_data = position[0]
        self.body_size = size
        self.body_total += size
        self.remaining -= size
        position[0] += size
        if self.remaining:
            return BODY
        self.in_body = False
        self.restart()
        return BODY | DONE

    cdef void restart(self) noexcept:
        # This also resets that the client asked to close: the connection decides whether to read on.
        llhttp_init(&self.llhttp, HTTP_REQUEST, &callbacks)
        self.llhttp.data = <void*>self
        llhttp_set_lenient_version(&self.llhttp, 1)  # on_version_complete() judges all of them

    cdef void release_head(self) noexcept:
        if self.request is not None:
            give_request(self.request)
            self.request = None
        free(self.saved)
        self.saved = NULL
        self.saved_size = self.saved_capacity = 0

    cdef int begin_head(self, const char* position) except -1:
        self.release_head()
        self.request = take_request()
        self.chunk = position
        self.in_head = True
        self.in_field = False
        self.body_total = 0
        self.dropped = 0
        self.trailer_name_size = 0
        return 0

    cdef int save(self, const char* end) except -1:
        """Keep the part of a head that came with this input."""
        cdef Py_ssize_t more = end - self.chunk
        cdef Py_ssize_t needed = self.saved_size + more
        cdef Py_ssize_t capacity = self.saved_capacity or 512
        cdef char* bigger
        while capacity < needed:
            capacity *= 2
        if capacity > self.saved_capacity:
            bigger = <char*>realloc(self.saved, capacity)
            if bigger == NULL:
                raise MemoryError
            self.saved = bigger
            self.saved_capacity = capacity
        memcpy(self.saved + self.saved_size, self.chunk, more)
        self.saved_size = needed
        return 0

    cdef int check_line(self, Py_ssize_t size) noexcept:
        """Fault a target that ends after this many bytes of the head; the version is still to come."""
        cdef Py_ssize_t line = self.settings.limit_request_line - VERSION_SIZE
        cdef Py_ssize_t head = self.settings.limit_request_head
        if size <= line and size <= head:
            return 0
        if head < line:
            return self.fault(431, b"request head over the limit")
        return self.fault(414, b"request line over the limit")

    cdef int check_size(self, Py_ssize_t size) noexcept:
        """Fault an incomplete head that has this many bytes already."""
        if self.request.target.size == 0 and self.request.count == 0:
            return self.check_line(size + 1)
        if size > self.settings.limit_request_head:
            return self.fault(431, b"request head over the limit")
        return 0

    cdef int finish_head(self, const char* end) except -1:
        """Join the complete head and check it. Return nonzero after a fault."""
        cdef Request request = self.request
        cdef int flags = self.llhttp.flags
        request.size = self.saved_size + (end - self.chunk)
        if self.check_size(request.size - 1):  # as if the last byte had come alone
            return 1
        if request.size > self.settings.limit_request_head:
            return self.fault(431, b"request head over the limit")
        request.head = self.chunk
        if self.saved_size:
            self.save(end)
            request.head = self.saved
        self.in_head = False
        request.method = self.llhttp.method
        request.method_name = llhttp_method_name(<llhttp_method_t>self.llhttp.method)
        request.minor = self.llhttp.http_minor
        request.chunked = flags & F_CHUNKED
        request.content_length = self.llhttp.content_length if flags & F_CONTENT_LENGTH else 0
        request.keep_alive = not flags & F_CONNECTION_CLOSE and (
            request.minor == 1 or flags & F_CONNECTION_KEEP_ALIVE
        )
        request.upgrade = request.upgrade and flags & F_UPGRADE and flags & F_CONNECTION_UPGRADE
        if request.check(self.settings):
            return self.fault(request.status, request.reason)
        return 0

    cdef int fault(self, int status, const char* reason) noexcept:
        """Note a fault. Callbacks return what this returns."""
        self.failed = True
        self.status = status
        self.reason = reason
        return HPE_USER

    cdef int translate(self, int error, const char** position, const char* end) except -1:
        """Turn an error of llhttp into a fault."""
        cdef const char* reason = b"malformed request"
        cdef Py_ssize_t index
        cdef Field* field
        position[0] = llhttp_get_error_pos(&self.llhttp)
        if self.failed:  # in a callback; llhttp has several codes for that
            return BODY | FAULT if self.body_size else FAULT
        if self.llhttp.reason != NULL:
            reason = self.llhttp.reason
        # What precedes the bad byte counts against the limits, as it would if the input had been cut there.
        fastserve_finish_span(&self.llhttp, position[0])
        if self.failed or self.in_head and self.check_size(self.saved_size + (position[0] - self.chunk)):
            return BODY | FAULT if self.body_size else FAULT
        if self.other_version:
            self.fault(505, b"HTTP version not supported")
            return FAULT
        if error == HPE_INVALID_METHOD and self.in_head and self.request.target.size == 0:
            self.unknown_method = True
            self.saved_size += position[0] - self.chunk
            return self.end_unknown_method(position, end)
        if error == HPE_INVALID_CONSTANT and strncmp(reason, b"Invalid method", 14) == 0:
            self.fault(501, reason)
        elif error == HPE_INVALID_VERSION and strncmp(reason, b"Invalid HTTP version", 20) == 0:
            self.fault(505, reason)
        else:
            self.fault(400, reason)
        if error == HPE_INVALID_TRANSFER_ENCODING and self.in_head:
            self.save(position[0])
            for index in range(self.request.count):
                field = &self.request.fields[index]
                if lookup(self.saved + field.name.start, field.name.size) == TRANSFER_ENCODING:
                    self.status = transfer_coding(self.saved + field.value.start, field.value.size) or 400
        return BODY | FAULT if self.body_size else FAULT

    cdef int end_unknown_method(self, const char** position, const char* end) noexcept:
        """Fault a token that is not a known method with 501, and anything else as noise."""
        cdef const char* at = position[0]
        cdef Py_ssize_t limit = self.settings.limit_request_line
        while at < end and LOWER[<unsigned char>at[0]] != 0 and self.saved_size <= limit:
            at += 1
            self.saved_size += 1
        position[0] = at
        if self.saved_size > limit:
            self.fault(501, b"unknown method")
        elif at == end:
            return NEED_MORE
        elif at[0] != c" " or self.saved_size == 0:
            self.fault(400, b"malformed request line")
        else:
            self.fault(501, b"unknown method")
        return FAULT

    cdef int add_name(self, const char* at, Py_ssize_t size) noexcept:
        cdef Py_ssize_t start = self.saved_size + (at - self.chunk)
        cdef Field* field
        cdef Py_ssize_t limit = self.settings.limit_request_head
        if self.request.target.size == 0 and self.request.count == 0 and self.check_line(start + 1):
            return HPE_USER
        if start <= limit and not self.in_field and self.request.count >= self.settings.limit_request_fields:
            return self.fault(431, b"more fields than the limit")
        if start + size > limit:
            return self.fault(431, b"request head over the limit")
        if not self.in_field:
            if self.request.add_field() == NULL:
                return self.fault(431, b"no memory for a field")
            self.in_field = True
        field = &self.request.fields[self.request.count - 1]
        if field.name.size == 0:
            field.name.start = start
        field.name.size += size
        return 0

    cdef int add_value(self, const char* at, Py_ssize_t size) noexcept:
        cdef Py_ssize_t start = self.saved_size + (at - self.chunk)
        cdef Field* field = &self.request.fields[self.request.count - 1]
        if start + size > self.settings.limit_request_head:
            return self.fault(431, b"request head over the limit")
        if field.value.size == 0:
            field.value.start = start
        field.value.size += size
        return 0

    cdef int add_trailer_name(self, const char* at, Py_ssize_t size) noexcept:
        cdef Py_ssize_t index
        for index in range(size):
            if self.trailer_name_size < <Py_ssize_t>sizeof(self.trailer_name):
                self.trailer_name[self.trailer_name_size] = <char>LOWER[<unsigned char>at[index]]
            self.trailer_name_size += 1
        return self.drop(size)

    cdef int drop(self, Py_ssize_t size) noexcept:
        self.dropped += size
        if self.dropped > self.settings.limit_request_head:
            return self.fault(431, b"chunk extensions or trailers over the limit")
        return 0
