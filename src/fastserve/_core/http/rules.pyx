"""The rules of RFC 9110 and RFC 9112 for a request's head that llhttp leaves open."""
from libc.string cimport memchr

from .field_names cimport LOWER

# RFC 9110 section 6.5.1: framing, routing, request modifiers, authentication, and what describes the content
# are decided before trailers come.
cdef frozenset FORBIDDEN_TRAILERS = frozenset([
    b"authorization", b"cache-control", b"connection", b"content-encoding", b"content-length", b"content-range",
    b"content-type", b"cookie", b"expect", b"host", b"if-match", b"if-modified-since", b"if-none-match", b"if-range",
    b"if-unmodified-since", b"keep-alive", b"max-forwards", b"pragma", b"proxy-authorization", b"proxy-connection",
    b"range", b"set-cookie", b"te", b"trailer", b"transfer-encoding", b"upgrade", b"forwarded", b"x-forwarded-for",
    b"x-forwarded-host", b"x-forwarded-proto", b"x-real-ip",
])

# In a request they would change, for somebody who merges them into the head, where the message ends or goes, or whom it
# is from; the others are dropped like every other trailer (RFC 9110 section 6.5.1, RFC 9112 section 7.1.2).
cdef frozenset REFUSED_TRAILERS = frozenset([
    b"connection", b"content-length", b"forwarded", b"host", b"keep-alive", b"proxy-connection", b"te", b"trailer",
    b"transfer-encoding", b"upgrade", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto", b"x-real-ip",
])

cdef bytes name_bytes = bytes(chr(byte).isalnum() and byte < 128 or byte in b"-._~!$&'()*+;=" for byte in range(256))
cdef const char* name_table = name_bytes


cdef inline bint is_digit(char byte) noexcept:
    return c"0" <= byte <= c"9"


cdef inline bint is_alpha(char byte) noexcept:
    return c"a" <= (byte | 0x20) <= c"z"


cdef inline bint is_hex(char byte) noexcept:
    return is_digit(byte) or c"a" <= (byte | 0x20) <= c"f"


cdef inline bint is_one_of(char byte, const char* others, size_t size) noexcept:
    return memchr(others, byte, size) != NULL


cdef bint equals(const char* text, Py_ssize_t size, const char* lower, Py_ssize_t lower_size) noexcept:
    """Whether `text` is the token `lower` in any case."""
    cdef Py_ssize_t at
    if size != lower_size:
        return False
    for at in range(size):
        if LOWER[<unsigned char>text[at]] != <unsigned char>lower[at]:
            return False
    return True


cdef Py_ssize_t port_start(const char* host, Py_ssize_t size) noexcept:
    """Where the ":" of a port is, or `size` where there is none."""
    cdef Py_ssize_t at = size
    while at > 0 and is_digit(host[at - 1]):
        at -= 1
    return at - 1 if at > 0 and host[at - 1] == c":" else size


cdef bint valid_name(const char* name, Py_ssize_t size) noexcept:
    """reg-name of RFC 3986 section 3.2.2, without the comma, which joins two Host fields into one."""
    cdef Py_ssize_t at = 0
    while at < size:
        if name[at] == c"%":
            if at + 2 >= size or not is_hex(name[at + 1]) or not is_hex(name[at + 2]):
                return False
            at += 2
        elif not name_table[<unsigned char>name[at]]:
            return False
        at += 1
    return size > 0


cdef bint valid_literal(const char* literal, Py_ssize_t size) noexcept:
    """What stands between the brackets of an IP-literal; its form is checked, not that it is an address."""
    cdef Py_ssize_t at
    cdef bint colon = False
    for at in range(size):
        if literal[at] == c":":
            colon = True
        elif not (is_alpha(literal[at]) or is_digit(literal[at]) or is_one_of(literal[at], b"-._~%", 5)):
            return False
    return colon


cdef bint valid_host(const char* host, Py_ssize_t size) noexcept:
    """uri-host with an optional port (RFC 9110 section 7.2), and not empty."""
    cdef Py_ssize_t name_size = port_start(host, size), port = 0, at
    if size > 0 and host[0] == c"[":
        if name_size < 2 or host[name_size - 1] != c"]":
            return False
        if not valid_literal(host + 1, name_size - 2):
            return False
    elif not valid_name(host, name_size):
        return False
    if size - name_size > 6:
        return False
    for at in range(name_size + 1, size):
        port = port * 10 + (host[at] - c"0")
    return port <= 65535


cdef bint has_member(const char* value, Py_ssize_t size, const char* lower, Py_ssize_t lower_size) noexcept:
    """Whether a comma-separated list has the token `lower` in any case (RFC 9110 section 5.6.1)."""
    cdef Py_ssize_t start = 0, stop, comma
    while start <= size:
        comma = start
        while comma < size and value[comma] != c",":
            comma += 1
        stop = comma
        while start < stop and value[start] in (c" ", c"\t"):
            start += 1
        while stop > start and value[stop - 1] in (c" ", c"\t"):
            stop -= 1
        if equals(value + start, stop - start, lower, lower_size):
            return True
        start = comma + 1
    return False


cdef bint has_other_member(const char* value, Py_ssize_t size, const char* lower, Py_ssize_t lower_size) noexcept:
    """Whether a comma-separated list has a member that is not the token `lower`; empty elements are none."""
    cdef Py_ssize_t start = 0, stop, comma
    while start <= size:
        comma = start
        while comma < size and value[comma] != c",":
            comma += 1
        stop = comma
        while start < stop and value[start] in (c" ", c"\t"):
            start += 1
        while stop > start and value[stop - 1] in (c" ", c"\t"):
            stop -= 1
        if start < stop and not equals(value + start, stop - start, lower, lower_size):
            return True
        start = comma + 1
    return False


cdef int transfer_coding(const char* value, Py_ssize_t size) noexcept:
    """Judge the value of the only Transfer-Encoding field: a lone `chunked` is all that is served (RFC 9112
    section 6.1); a list of other codings is 501 where it is well formed and ends in chunked or has none."""
    cdef Py_ssize_t start = 0, stop, comma
    cdef bint chunked = False, unknown = False
    cdef Py_ssize_t at
    while start <= size:
        comma = start
        while comma < size and value[comma] != c",":
            comma += 1
        stop = comma
        while start < stop and value[start] in (c" ", c"\t"):
            start += 1
        while stop > start and value[stop - 1] in (c" ", c"\t"):
            stop -= 1
        if start == stop or chunked:
            return CODING_BAD
        for at in range(start, stop):
            if LOWER[<unsigned char>value[at]] == 0:
                return CODING_BAD
        if equals(value + start, stop - start, b"chunked", 7):
            chunked = True
        else:
            unknown = True
        start = comma + 1
    return CODING_UNKNOWN if unknown else CHUNKED_ONLY


cdef bint forbidden_trailer(const char* name, Py_ssize_t size) noexcept:
    """Whether a trailer of this name, in lower case, must not be sent (RFC 9110 section 6.5.1)."""
    return name[:size] in FORBIDDEN_TRAILERS


cdef bint refused_trailer(const char* name, Py_ssize_t size) noexcept:
    """Whether a request with a trailer of this name, in lower case, is refused."""
    return name[:size] in REFUSED_TRAILERS


def host_is_valid(bytes host):
    """Return whether this can be the value of a Host field."""
    return valid_host(host, len(host))


def judge_transfer_coding(bytes value):
    """Return 0 for a lone `chunked`, else the status that the request gets."""
    return transfer_coding(value, len(value))
