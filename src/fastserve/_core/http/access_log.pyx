"""The access log: one line per response, made here while the logging configuration is the server's own.

A LogRecord, a formatter and a write for each request cost more than serving it. So while `fastserve.access` has only
the handler and formatter that the server gave it, the same text is made here, and the lines of a turn are written to
the handler's stream with one write; with several if a pipe shared with other processes could split a line. This is
checked for every line: as soon as there is another handler, filter, level or formatter, real LogRecords with the
five arguments that formatters expect are emitted instead.
"""
import logging

from cpython.object cimport PyObject
from cpython.unicode cimport PyUnicode_AsUTF8AndSize, PyUnicode_DecodeUTF8

from ..loop.turn cimport Flushable
from ..memory.buffer cimport Buffer, take
from ..worker cimport Worker

cdef enum:
    ATOMIC = 4096  # bytes that a pipe takes in one piece, even if others write to it (PIPE_BUF of Linux)
    WHOLE = 1024  # bytes written together with the application's output, which rarely fills the rest of ATOMIC

cdef int INFO = 20
cdef object StreamHandler = logging.StreamHandler
cdef bytes UNRESERVED = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-~/"
cdef bytes VISIBLE = bytes(range(0x21, 0x7F))
cdef bytes unreserved_table = bytes([byte in UNRESERVED for byte in range(256)])
cdef bytes visible_table = bytes([byte in VISIBLE for byte in range(256)])


cdef bytes address_text(client):
    """Return the client as the log shows it: `host:port`, or nothing for a UNIX socket."""
    return f"{client[0]}:{client[1]}".encode("utf-8", "replace") if client else b""


cdef int log_response(
    Worker worker, dict scope, object client, bytes address, int status, bint websocket
) except -1:
    """Log a response in the access log, or in the general log if it is that to the handshake of a WebSocket."""
    cdef AccessLog access = worker.access
    if websocket:
        return log_websocket(worker, scope, status)
    if access is not None:
        try:
            access.record(scope, client, address, status)
        except Exception as exception:
            worker.report("Exception in the access log", exception)
        worker.turn.hold_last()
    return 0


cdef int log_websocket(Worker worker, dict scope, outcome) except -1:
    """Log the outcome of a handshake: a status or a text."""
    from urllib.parse import quote  # a server without WebSockets does not import it

    try:
        path = quote(scope["path"], errors="replace")
        if scope["query_string"]:
            path = f"{path}?{scope['query_string'].decode('ascii', 'backslashreplace')}"
        format = '%s - "WebSocket %s" %d' if isinstance(outcome, int) else '%s - "WebSocket %s" %s'
        worker.log(INFO, format, address_text(scope["client"]).decode(), path, outcome)
    except Exception as exception:
        worker.report("Exception in the log", exception)
    return 0


cdef class AccessLog(Flushable):
    """The access log of one worker, written to `logger`.

    Lines are made in the core while the logger has one plain StreamHandler whose formatter is of `formatter_class`
    with the format `default_fmt`. Such a formatter has `use_colors`, `color_level_name()` and `get_status_code()`.
    """

    def __init__(self, logger, formatter_class, default_fmt):
        self.logger = logger
        self.attributes = logger.__dict__
        self.attribute_count = len(self.attributes)
        self.formatter_class = formatter_class
        self.default_fmt = default_fmt
        self.lines = Buffer()

    cdef int record(self, dict scope, object client, bytes address, int status) except -1:
        """Log the response with `status` to the request of `scope`; `address` is the text of `client`."""
        handler = self.plain_handler()
        if scope["client"] is not client:
            address = address_text(scope["client"])
        if handler is None:
            self.emit_record(scope, address.decode(), status)
            return 0
        if handler is not self.handler:
            self.use(handler)
        elif self.colors != bool(handler.formatter.use_colors):
            self.use(handler)
        held = self.lines.size
        try:
            return self.add_line(scope, address, status)
        except BaseException:
            self.lines.size = held  # drop an incomplete line
            raise

    cdef object plain_handler(self):
        """Return the handler to write to directly, or None if LogRecords (or no lines at all) are wanted."""
        cdef dict own = self.attributes
        cdef dict its
        cdef list handlers = own["handlers"]
        if len(handlers) != 1 or own["filters"] or own["propagate"] or own["disabled"]:
            return None
        if not 0 < <int>own["level"] <= INFO or len(own) != self.attribute_count:
            return None
        manager = own.get("manager")  # a logger made without a manager has none
        if manager is None or manager.disable >= INFO:
            return None
        handler = handlers[0]
        if type(handler) is not StreamHandler:
            return None
        its = handler.__dict__
        if its["filters"] or <int>its["level"] > INFO:
            return None
        if handler is self.handler and len(its) != self.handler_attribute_count:
            return None
        formatter = its["formatter"]
        if type(formatter) is not self.formatter_class or formatter._fmt != self.default_fmt:
            return None
        return handler

    cdef int use(self, handler) except -1:
        formatter = handler.formatter
        self.flush()
        self.handler = handler
        self.handler_attribute_count = len(handler.__dict__)
        self.colors = bool(formatter.use_colors)
        level = formatter.color_level_name("INFO", INFO) if self.colors else "INFO"
        self.prefix = f"{level}:     ".encode()
        self.before_request = b' - "\x1b[1m' if self.colors else b' - "'
        self.after_request = b'\x1b[0m" ' if self.colors else b'" '
        self.status_texts = {}
        return 0

    cdef int add_line(self, dict scope, bytes address, int status) except -1:
        cdef Buffer lines = self.lines
        cdef bytes query = scope["query_string"]
        cdef Py_ssize_t size
        cdef const char* text
        lines.append_bytes(self.prefix)
        lines.append_bytes(address)
        lines.append_bytes(self.before_request)
        text = PyUnicode_AsUTF8AndSize(scope["method"], &size)
        lines.append(text, size)
        lines.append(b" ", 1)
        path = scope["path"]
        try:
            text = PyUnicode_AsUTF8AndSize(path, &size)
        except UnicodeEncodeError:
            path = path.encode("utf-8", "replace").decode()
            text = PyUnicode_AsUTF8AndSize(path, &size)
        self.quote(<const unsigned char*>text, size, unreserved_table)
        if query:
            lines.append(b"?", 1)
            self.quote(<const unsigned char*><const char*>query, len(query), visible_table)
        lines.append(b" HTTP/", 6)
        text = PyUnicode_AsUTF8AndSize(scope["http_version"], &size)
        lines.append(text, size)
        lines.append_bytes(self.after_request)
        ending = self.status_texts.get(status)
        if ending is None:
            ending = self.status_texts[status] = f"{self.handler.formatter.get_status_code(status)}\n".encode()
        lines.append_bytes(ending)
        return 0

    cdef int quote(self, const unsigned char* text, Py_ssize_t size, const char* safe) except -1:
        """Append `text`, every byte that is not safe percent-encoded: no log line contains a raw control byte."""
        cdef char* to = self.lines.reserve(3 * size)
        cdef Py_ssize_t at
        for at in range(size):
            if safe[text[at]]:
                to[0] = <char>text[at]
                to += 1
            else:
                to[0] = c"%"
                to[1] = b"0123456789ABCDEF"[text[at] >> 4]
                to[2] = b"0123456789ABCDEF"[text[at] & 15]
                to += 3
        self.lines.size = to - self.lines.data
        return 0

    def emit_record(self, scope, address, status):
        cdef bytes query = scope["query_string"]
        if not self.logger.isEnabledFor(INFO):
            return
        self.write_held()
        path = scope["path"].encode("utf-8", "replace")
        self.quote(path, len(path), unreserved_table)
        if query:
            self.lines.append(b"?", 1)
            self.quote(query, len(query), visible_table)
        full_path = self.lines.data[:self.lines.size].decode("ascii")
        self.lines.size = 0
        self.logger.info(
            '%s - "%s %s HTTP/%s" %d', address, scope["method"], full_path, scope["http_version"], status
        )

    cdef void flush(self) noexcept:
        self.write_held()

    def write_held(self):
        """Write the held lines, with one write unless they are too long together."""
        cdef Py_ssize_t size = self.lines.size
        if not size:
            return
        if size > ATOMIC:
            texts = pieces(self.lines.data[:size])
        else:
            texts = (PyUnicode_DecodeUTF8(self.lines.data, size, b"replace"),)
        self.lines.size = 0
        handler = self.handler
        text = ""
        handler.acquire()
        try:
            stream = handler.stream
            if size > WHOLE and hasattr(stream, "flush"):
                stream.flush()  # the application's output would go into the same write
            for text in texts:
                stream.write(text)
                handler.flush()
        except Exception:
            handler.handleError(self.logger.makeRecord(self.logger.name, INFO, __file__, 0, text, (), None))
        finally:
            handler.release()


def pieces(bytes lines not None):
    """Return lines as texts of at most ATOMIC bytes; a longer line is a text of its own."""
    cdef list texts = []
    cdef Py_ssize_t begin = 0, end
    while begin < len(lines):
        end = len(lines)
        if end - begin > ATOMIC:
            end = lines.rfind(b"\n", begin, begin + ATOMIC) + 1 or lines.find(b"\n", begin) + 1
        texts.append(lines[begin:end].decode("utf-8", "replace"))
        begin = end
    return texts
