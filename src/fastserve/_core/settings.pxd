"""The frozen configuration that every connection of a worker reads."""


cdef class Settings:
    # Each public field is filled by its name: with the option of that name, or by fastserve.options.core. None can be set
    # from Python later. A `double` is a number of seconds, a `Py_ssize_t` a limit, a `bint` yes or no.
    cdef public tuple default_headers  # ((name, value), ...) added to every response
    cdef public bytes server  # value of the Server header, None for no such header
    cdef public bint date  # whether responses carry Date
    cdef public str root_path  # the root_path of every scope, which its path begins with
    cdef public bint path_is_whole  # what the client sends has it already
    cdef bytes raw_root_path  # what is prepended, in bytes
    cdef public bytes health_path  # of which the server itself says how it is, or None
    cdef public bint reset_contextvars  # run each exchange in an empty context
    cdef public bint serves_http2
    cdef public bint sendfile  # HTTP scopes announce http.response.pathsend
    cdef public bint raise_disconnect  # send() raises once the client of an HTTP request is gone
    cdef public bint websocket  # an upgrade to it is taken, else it is a plain request
    cdef public bint trace  # connections are logged as they come, change to a WebSocket, and go
    cdef public bint redirects  # so is one, but nothing has to be said of it: every request is redirected
    cdef public bint ws_per_message_deflate
    cdef public object tls  # makes the extension `tls` of a connection from its SSLObject; None for no extension
    cdef public bytes hsts  # value of Strict-Transport-Security over TLS, or None
    cdef public object proxies  # Proxies, or None if no proxy is trusted
    cdef public object hosts  # AllowedHosts, or None if requests may be for any host
    cdef public bytes request_id_field  # the header with a request's id, in lower case; None for no ids
    # Seconds, 0 for none.
    cdef public double timeout_keep_alive
    cdef public double timeout_request_head
    cdef public double timeout_request_body
    cdef public double timeout_write
    cdef public double ws_ping_interval
    cdef public double ws_ping_timeout
    cdef public double queue_timeout  # for a request that waits to be served
    cdef public double log_slow  # that an exchange takes, beyond which it is reported
    # Bytes or counts, 0 for none.
    cdef public Py_ssize_t limit_request_line
    cdef public Py_ssize_t limit_request_head
    cdef public Py_ssize_t limit_request_fields
    cdef public Py_ssize_t limit_request_body
    cdef public Py_ssize_t limit_concurrency
    cdef public Py_ssize_t limit_connections
    cdef public Py_ssize_t limit_requests  # that applications work on at a time
    cdef public Py_ssize_t queue  # requests that wait for that; 0: none may wait
    cdef public Py_ssize_t limit_http2_streams  # at a time on one connection
    cdef public Py_ssize_t ws_max_size  # bytes of a message, at least 1
    cdef public Py_ssize_t ws_max_queue  # messages that wait for the application, at least 1
