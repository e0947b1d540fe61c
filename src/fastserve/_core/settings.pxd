"""The frozen configuration that every connection of a worker reads."""


cdef class Settings:
    cdef readonly tuple default_headers  # ((name, value), ...) added to every response
    cdef readonly bytes server  # value of the Server header, None for no such header
    cdef readonly bint date  # whether responses carry Date
    cdef readonly str root_path  # prepended to the path of every scope
    cdef readonly bytes raw_root_path
    cdef readonly bint reset_contextvars  # run each exchange in an empty context
    cdef readonly bint sendfile  # HTTP scopes announce http.response.pathsend
    cdef readonly bint raise_disconnect  # send() raises once the client of an HTTP request is gone
    cdef readonly bint websocket  # an upgrade to it is taken, else it is a plain request
    cdef readonly bint ws_per_message_deflate
    cdef readonly object tls  # makes the extension `tls` of a connection from its SSLObject; None for no extension
    cdef readonly object proxies  # Proxies, or None where no proxy is trusted
    # Seconds, 0 for none.
    cdef readonly double timeout_keep_alive
    cdef readonly double timeout_request_head
    cdef readonly double timeout_request_body
    cdef readonly double timeout_write
    cdef readonly double ws_ping_interval
    cdef readonly double ws_ping_timeout
    # Bytes or counts, 0 for none.
    cdef readonly Py_ssize_t limit_request_line
    cdef readonly Py_ssize_t limit_request_head
    cdef readonly Py_ssize_t limit_request_fields
    cdef readonly Py_ssize_t limit_request_body
    cdef readonly Py_ssize_t limit_concurrency
    cdef readonly Py_ssize_t ws_max_size  # bytes of a message, at least 1
    cdef readonly Py_ssize_t ws_max_queue  # messages that wait for the application, at least 1
