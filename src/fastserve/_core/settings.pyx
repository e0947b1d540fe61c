"""The frozen configuration that every connection of a worker reads."""
import re

TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z")
FIELD_VALUE = re.compile(rb"[^\x00-\x08\x0a-\x1f\x7f]*\Z")  # RFC 9110 section 5.5
# What these say is decided for each message by the core.
FRAMING = frozenset([b"content-length", b"transfer-encoding", b"connection"])


cdef tuple checked_headers(headers):
    checked = []
    for name, value in headers:
        if type(name) is not bytes or type(value) is not bytes:
            raise TypeError("default headers are pairs of bytes")
        if not TOKEN.match(name) or name.lower() in FRAMING:
            raise ValueError(f"{name!r} cannot be the name of a default header")
        if not FIELD_VALUE.match(value):
            raise ValueError(f"the value of default header {name!r} has a character that no header can have")
        checked.append((name.lower(), value))
    return tuple(checked)


cdef double seconds(str name, value) except -1:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} is a number of seconds, not {value!r}")
    if not 0 <= value < 1e9:
        raise ValueError(f"{name} is a number of seconds from 0, not {value!r}")
    return value


cdef Py_ssize_t count(str name, value, Py_ssize_t least) except -1:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} is a whole number, not {value!r}")
    if not least <= value < 2**62:
        raise ValueError(f"{name} is a whole number from {least}, not {value!r}")
    return value


cdef class Settings:
    """The configuration of a worker's connections, checked once and never changed.

    Timeouts are in seconds and limits in bytes or counts; 0 switches one off, except for the three limits of a
    request's head and the two of a WebSocket, which are at least 1. Raises TypeError or ValueError for a value that cannot be used.
    """

    def __init__(
        self,
        *,
        default_headers=(),
        server=b"fastserve",
        date=True,
        root_path="",
        timeout_keep_alive=5.0,
        timeout_request_head=30.0,
        timeout_request_body=60.0,
        timeout_write=60.0,
        limit_request_line=16384,
        limit_request_head=65536,
        limit_request_fields=128,
        limit_request_body=0,
        limit_concurrency=0,
        reset_contextvars=False,
        websocket=True,
        ws_max_size=16777216,
        ws_max_queue=32,
        ws_ping_interval=20.0,
        ws_ping_timeout=20.0,
        ws_per_message_deflate=True,
        tls=None,
        proxies=None,
        sendfile=False,
        raise_disconnect=False,
    ):
        self.default_headers = checked_headers(default_headers)
        if server is not None:
            checked_headers([(b"server", server)])
        given = {name for name, _ in self.default_headers}
        self.server = None if b"server" in given else server
        self.date = bool(date) and b"date" not in given
        if not isinstance(root_path, str):
            raise TypeError(f"root_path is a string, not {root_path!r}")
        self.root_path = root_path
        self.raw_root_path = root_path.encode("utf-8")
        self.reset_contextvars = bool(reset_contextvars)
        self.sendfile = bool(sendfile)
        self.raise_disconnect = bool(raise_disconnect)
        self.tls = tls
        self.proxies = proxies
        self.timeout_keep_alive = seconds("timeout_keep_alive", timeout_keep_alive)
        self.timeout_request_head = seconds("timeout_request_head", timeout_request_head)
        self.timeout_request_body = seconds("timeout_request_body", timeout_request_body)
        self.timeout_write = seconds("timeout_write", timeout_write)
        self.limit_request_line = count("limit_request_line", limit_request_line, 1)
        self.limit_request_head = count("limit_request_head", limit_request_head, 1)
        self.limit_request_fields = count("limit_request_fields", limit_request_fields, 1)
        self.limit_request_body = count("limit_request_body", limit_request_body, 0)
        self.limit_concurrency = count("limit_concurrency", limit_concurrency, 0)
        self.websocket = bool(websocket)
        self.ws_max_size = count("ws_max_size", ws_max_size, 1)
        self.ws_max_queue = count("ws_max_queue", ws_max_queue, 1)
        self.ws_ping_interval = seconds("ws_ping_interval", ws_ping_interval)
        self.ws_ping_timeout = seconds("ws_ping_timeout", ws_ping_timeout)
        self.ws_per_message_deflate = bool(ws_per_message_deflate)
