"""Frequent request header names, as ready bytes objects."""

cdef enum:
    # The first of the table, in its order; these mean something to the server itself.
    HOST
    CONTENT_LENGTH
    TRANSFER_ENCODING
    EXPECT
    CONNECTION
    UPGRADE
    TE
    SEC_WEBSOCKET_EXTENSIONS
    SEC_WEBSOCKET_KEY
    SEC_WEBSOCKET_PROTOCOL
    SEC_WEBSOCKET_VERSION
    X_FORWARDED_FOR
    X_FORWARDED_PROTO
    PROXY_CONNECTION
    X_REQUEST_START
    X_QUEUE_START
    UNKNOWN = -1

cdef const unsigned char* LOWER  # 256 bytes: a token character in lower case, 0 for any other byte

cdef int lookup(const char* name, Py_ssize_t size) noexcept  # index in the table, or UNKNOWN
cdef object known(int index)  # the name at this index
cdef tuple known_names()  # all of them
