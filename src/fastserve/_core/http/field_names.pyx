"""Frequent request header names, as ready bytes objects."""
cimport cython

from ..python cimport PyBytes_AS_STRING, PyBytes_GET_SIZE

cdef extern from "http/field_text.h" nogil:
    bint fastserve_is_name(const char* name, const char* lower, Py_ssize_t size)

cdef tuple NAMES = (
    b"host", b"content-length", b"transfer-encoding", b"expect", b"connection", b"upgrade", b"te",
    b"sec-websocket-extensions", b"sec-websocket-key", b"sec-websocket-protocol", b"sec-websocket-version",
    b"x-forwarded-for", b"x-forwarded-proto", b"proxy-connection", b"x-request-start",
    b"x-queue-start",
    b"accept", b"accept-charset", b"accept-encoding", b"accept-language", b"access-control-request-headers",
    b"access-control-request-method", b"authorization", b"cache-control", b"cdn-loop", b"content-encoding",
    b"content-disposition", b"content-language", b"content-type", b"cookie", b"date", b"dnt", b"early-data",
    b"forwarded", b"from", b"if-match", b"if-modified-since", b"if-none-match", b"if-range", b"if-unmodified-since",
    b"keep-alive", b"last-event-id", b"max-forwards", b"origin", b"pragma", b"prefer", b"priority",
    b"purpose", b"range", b"referer", b"save-data", b"sec-ch-ua", b"sec-ch-ua-arch",
    b"sec-ch-ua-mobile", b"sec-ch-ua-model", b"sec-ch-ua-platform", b"sec-ch-ua-platform-version", b"sec-fetch-dest",
    b"sec-fetch-mode", b"sec-fetch-site", b"sec-fetch-user", b"sec-gpc", b"sec-purpose", b"traceparent", b"tracestate",
    b"trailer", b"true-client-ip", b"upgrade-insecure-requests", b"user-agent", b"via", b"x-amzn-trace-id",
    b"x-api-key", b"x-correlation-id", b"x-csrf-token", b"x-csrftoken", b"x-forwarded-host",
    b"x-forwarded-port", b"x-forwarded-prefix", b"x-forwarded-server", b"x-http-method-override",
    b"x-real-ip", b"x-request-id", b"x-requested-with", b"cf-connecting-ip", b"cf-ipcountry", b"cf-ray", b"cf-visitor",
)

cdef enum:
    BUCKETS = 512

cdef short first_in_bucket[BUCKETS]
cdef short next_in_bucket[128]
cdef bytes lower_table = bytes([
    ord(chr(byte).lower()) if chr(byte).isascii() and (chr(byte).isalnum() or chr(byte) in "!#$%&'*+-.^_`|~") else 0
    for byte in range(256)
])
LOWER = <const unsigned char*><const char*>lower_table


cdef unsigned int bucket_of(const char* name, Py_ssize_t size) noexcept:
    cdef unsigned int first = LOWER[<unsigned char>name[0]], last = LOWER[<unsigned char>name[size - 1]]
    cdef unsigned int middle = LOWER[<unsigned char>name[size >> 1]]
    return (<unsigned int>size * 37 + first * 5 + last * 11 + middle * 3) & (BUCKETS - 1)


@cython.boundscheck(False)  # the places in NAMES are its own
cdef int lookup(const char* name, Py_ssize_t size) noexcept:
    cdef short index
    if size <= 0:
        return UNKNOWN
    index = first_in_bucket[bucket_of(name, size)]
    while index >= 0:
        if PyBytes_GET_SIZE(NAMES[index]) == size and fastserve_is_name(name, PyBytes_AS_STRING(NAMES[index]), size):
            return index
        index = next_in_bucket[index]
    return UNKNOWN


@cython.boundscheck(False)
cdef object known(int index):
    return NAMES[index]


cdef tuple known_names():
    return NAMES


cdef void fill() noexcept:
    cdef int index
    cdef unsigned int bucket
    for bucket in range(BUCKETS):
        first_in_bucket[bucket] = -1
    for index in range(len(NAMES)):
        bucket = bucket_of(PyBytes_AS_STRING(NAMES[index]), PyBytes_GET_SIZE(NAMES[index]))
        next_in_bucket[index] = first_in_bucket[bucket]
        first_in_bucket[bucket] = index


fill()


def find(bytes name):
    """Return the table's object for this name, in any case, or None."""
    cdef int index = lookup(name, len(name))
    return None if index == UNKNOWN else known(index)
