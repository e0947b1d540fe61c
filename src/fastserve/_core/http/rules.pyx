# setup.py: hot
"""Rules of RFC 9110 and RFC 9112 for fields that llhttp does not enforce."""
from libc.string cimport memchr

from ..grammar import FORBIDDEN_TRAILERS, REFUSED_TRAILERS
from .field_names cimport LOWER

cdef frozenset forbidden_trailers = FORBIDDEN_TRAILERS
cdef frozenset refused_trailers = REFUSED_TRAILERS

cdef bytes name_bytes = bytes([
    chr(byte).isalnum() and byte < 128 or byte in b"-._~!$&'()*+;=" for byte in range(256)
])
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
    """Return whether `text` is the token `lower` in any case."""
    cdef Py_ssize_t at
    if size != lower_size:
        return False
    for at in range(size):
        if LOWER[<unsigned char>text[at]] != <unsigned char>lower[at]:
            return False
    return True


cdef Py_ssize_t port_start(const char* host, Py_ssize_t size) noexcept:
    """Return the index of the ":" before a port, or `size` if there is no port."""
    cdef Py_ssize_t at = size
    while at > 0 and is_digit(host[at - 1]):
        at -= 1
    return at - 1 if at > 0 and host[at - 1] == c":" else size


cdef bint valid_name(const char* name, Py_ssize_t size) noexcept:
    """Return whether this is a reg-name (RFC 3986 section 3.2.2) without a comma, which joins two Host fields."""
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
    """Return whether this is allowed between the brackets of an IP-literal. Checks the form, not the address."""
    cdef Py_ssize_t at
    cdef bint colon = False
    for at in range(size):
        if literal[at] == c":":
            colon = True
        elif not (is_alpha(literal[at]) or is_digit(literal[at]) or is_one_of(literal[at], b"-._~%", 5)):
            return False
    return colon


cdef bint valid_host(const char* host, Py_ssize_t size) noexcept:
    """Return whether this is a uri-host with an optional port (RFC 9110 section 7.2), and not empty."""
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


cdef bint is_token(const char* text, Py_ssize_t size) noexcept:
    """Return whether this is a token (RFC 9110 section 5.6.2)."""
    cdef Py_ssize_t at
    for at in range(size):
        if LOWER[<unsigned char>text[at]] == 0:
            return False
    return size > 0


cdef struct Members:
    # A comma-separated list that is being read, and its current member, without the white space around it.
    const char* text
    Py_ssize_t size  # what is left of the list; below 0 at the end
    const char* member
    Py_ssize_t member_size  # 0 for an empty member


cdef bint next_member(Members* members) noexcept:
    """Go on to the next member of a list (RFC 9110 section 5.6.1), which may be empty. Return false after the last."""
    cdef const char* start = members.text
    cdef const char* stop
    if members.size < 0:
        return False
    stop = <const char*>memchr(start, c",", members.size) if members.size else NULL
    if stop == NULL:
        stop = start + members.size
    members.size -= stop - start + 1
    members.text = stop + 1
    while start < stop and start[0] in (c" ", c"\t"):
        start += 1
    while stop > start and (stop - 1)[0] in (c" ", c"\t"):
        stop -= 1
    members.member = start
    members.member_size = stop - start
    return True


cdef bint has_member(const char* value, Py_ssize_t size, const char* lower, Py_ssize_t lower_size) noexcept:
    """Return whether a comma-separated list has the token `lower` in any case."""
    cdef Members members = Members(value, size, NULL, 0)
    while next_member(&members):
        if equals(members.member, members.member_size, lower, lower_size):
            return True
    return False


cdef bint has_other_member(const char* value, Py_ssize_t size, const char* lower, Py_ssize_t lower_size) noexcept:
    """Return whether a comma-separated list has a member other than the token `lower`; empty members do not count."""
    cdef Members members = Members(value, size, NULL, 0)
    while next_member(&members):
        if members.member_size and not equals(members.member, members.member_size, lower, lower_size):
            return True
    return False


cdef int transfer_coding(const char* value, Py_ssize_t size) noexcept:
    """Judge the value of the only Transfer-Encoding field (RFC 9112 section 6.1).

    Only a lone `chunked` is served. Other codings are CODING_UNKNOWN if the list is well formed and has
    `chunked` at its end or nowhere, else CODING_BAD.
    """
    cdef Members members = Members(value, size, NULL, 0)
    cdef bint chunked = False, unknown = False
    while next_member(&members):
        if chunked or not is_token(members.member, members.member_size):
            return CODING_BAD
        if equals(members.member, members.member_size, b"chunked", 7):
            chunked = True
        else:
            unknown = True
    return CODING_UNKNOWN if unknown else CHUNKED_ONLY


cdef bint forbidden_trailer(const char* name, Py_ssize_t size) noexcept:
    """Return whether a trailer of this name, in lower case, must not be sent (RFC 9110 section 6.5.1)."""
    return name[:size] in forbidden_trailers


cdef bint refused_trailer(const char* name, Py_ssize_t size) noexcept:
    """Return whether a request with a trailer of this name, in lower case, is refused."""
    return name[:size] in refused_trailers


def host_is_valid(bytes host):
    """Return whether this can be the value of a Host field."""
    return valid_host(host, len(host))


def judge_transfer_coding(bytes value):
    """Return 0 for a lone `chunked`, else the status of the response."""
    return transfer_coding(value, len(value))
