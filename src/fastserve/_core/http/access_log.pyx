"""The access log: one line per response, made here while the logging configuration is the server's own.

A LogRecord, a formatter and a write for each request cost more than serving it. So while `fastserve.access` has only
the handler and formatter that the server gave it, the same text is made here, and the lines of a turn are written to
the handler's stream with one write; with several where a pipe shared with other processes could split a line. This is
checked for the first line of each write: as soon as there is another handler, filter, level or formatter, real
LogRecords with the five arguments that formatters expect are emitted instead.

A line is written when the response begins, or, in a format that has durations or bytes, at the end of the exchange.
"""
import errno
import logging
import os
import stat
from io import BufferedWriter, FileIO, TextIOWrapper

from ..loop.clock cimport monotonic
from ..loop.turn cimport Flushable
from ..memory.buffer cimport Buffer, take
from ..python cimport PyBUF_READ, PyMemoryView_FromMemory, PyUnicode_AsUTF8AndSize
from ..worker cimport Worker
from .access_format cimport AccessFormat
from .account cimport Account, client_text, next_random, open_account, seed
from .response_head cimport reason_phrase

cdef enum:
    ATOMIC = 4096  # bytes that a pipe takes in one piece, even if others write to it (PIPE_BUF of Linux)
    WHOLE = 1024  # bytes written together with the application's output, which rarely fills the rest of ATOMIC

cdef int INFO = 20
# Of FNV-1a, and of MurmurHash3's finalizer.
cdef unsigned long long FNV_BASIS = 0xCBF29CE484222325, FNV_PRIME = 0x100000001B3
cdef unsigned long long FIRST_MIX = 0xFF51AFD7ED558CCD, SECOND_MIX = 0xC4CEB9FE1A85EC53
cdef unsigned long long ALL = 0xFFFFFFFFFFFFFFFF
cdef object StreamHandler = logging.StreamHandler
cdef bytes UNRESERVED = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-~/"
cdef bytes VISIBLE = bytes(range(0x21, 0x7F))
cdef bytes unreserved_table = bytes([byte in UNRESERVED for byte in range(256)])
cdef bytes visible_table = bytes([byte in VISIBLE for byte in range(256)])


cdef bytes address_text(client):
    """Return the client as the log shows it: `host:port`, or nothing for a UNIX socket."""
    return client_text(client).encode("utf-8", "replace") if client else b""


cdef int log_response(
    Worker worker, dict scope, object client, bytes address, int status, bint websocket, Account account
) except -1:
    """Log a response in the access log, or in the general log if it is that to the handshake of a WebSocket."""
    cdef AccessLog access = worker.access
    if websocket:
        log_websocket(worker, scope, status)
        if worker.ws_framing is None or not getattr(worker.ws_framing, "quiet", False):
            worker.report(f"connection rejected ({status} {reason_phrase(status)})", None, INFO)
        return 0
    if access is not None and not access.late:
        try:
            access.record(worker, scope, client, address, status, account)
        except Exception as exception:
            worker.report("Exception in the access log", exception)
        worker.turn.hold_last()
    return 0


cdef int log_end(Account account) except -1:
    """Log what the end of an exchange, whose account is closed, brings to the access log."""
    cdef Worker worker = account.worker
    cdef AccessLog access = worker.access
    if access is not None and (access.late or account.withheld and account.slow):
        try:
            access.end(account)
        except Exception as exception:
            worker.report("Exception in the access log", exception)
        worker.turn.hold_last()
    return 0


class Foreign:
    """The log of one exchange of a protocol outside the core, whose client is `peer` and perhaps a `trusted` proxy."""

    def __init__(self, Worker worker not None, dict scope not None, peer, bint trusted):
        cdef Account account = open_account(worker, scope, peer, address_text(peer), trusted, monotonic())
        if worker.notes_requests:
            account.note(None)
        self.account = account

    def started(self, exchange):
        """The application is called; `exchange` has its task."""
        cdef Account account = self.account
        account.started = monotonic()
        account.exchange = exchange if account.worker.slow is not None else None

    def head(self, int status, headers, bint logged):
        """The response has this head; without `logged` no line is written for it now."""
        cdef Account account = self.account
        cdef AccessLog access = account.worker.access
        account.status = status
        account.first = monotonic()
        account.headers = headers
        if logged:
            log_response(account.worker, account.scope, account.peer, account.address, status, False, account)
            if access is not None and not access.late:
                access.write_held()

    def end(self, bint aborted, bint kept, long long body, long long sent, long long received):
        """The exchange is over, with these numbers of bytes."""
        cdef Account account = self.account
        cdef AccessLog access = account.worker.access
        account.body, account.sent, account.received = body, sent, received
        account.kept = kept
        account.close(aborted)
        log_end(account)
        if access is not None:
            access.write_held()


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
    with the format `default_fmt`. Such a formatter has `use_colors`, `color_level_name()` and `get_status_code()`. A
    handler of `file_class` does as well. `format` is another than the default one. Of the lines with a status below 400
    whose request is not slow, those with a path of `skip` (a name, or a prefix and "*") are left out, and the share
    `sample` of the others is kept: the same ones in all logs, if their requests have ids. Records are made by `emit`, if
    given, in place of the logger's info().
    """

    def __init__(
        self, logger, formatter_class, default_fmt, AccessFormat format=None, skip=(), double sample=1, file_class=None,
        emit=None,
    ):
        self.logger = logger
        self.emit = emit
        self.attributes = logger.__dict__
        self.attribute_count = len(self.attributes)
        self.formatter_class = formatter_class
        self.default_fmt = default_fmt
        self.lines = Buffer()
        self.file_class = file_class
        self.format = format
        self.late = format is not None and format.late
        self.skipped = frozenset([path for path in skip if not path.endswith("*")])
        self.skipped_prefixes = tuple([path.removesuffix("*") for path in skip if path.endswith("*")])
        self.picky = bool(skip) or sample < 1
        self.kept = <unsigned long long>(sample * 18446744073709551615.0) if sample < 1 else ALL
        if sample < 1:
            seed(self.random)

    @property
    def needs_accounts(self):
        """Whether lines need more than the response's head."""
        return self.format is not None

    @property
    def wants_headers(self):
        """Whether lines show headers of responses."""
        return self.format is not None and self.format.wants_headers

    @property
    def wants_first_bytes(self):
        """Whether lines say when the first byte of a response was given."""
        return self.format is not None and self.format.wants_first_byte

    cdef int record(
        self, Worker worker, dict scope, object client, bytes address, int status, Account account
    ) except -1:
        """Log the response with `status` to the request of `scope`; `address` is the text of `client`."""
        if self.picky and 0 < status < 400 and self.leaves_out(scope, account):
            if account is not None:
                account.withheld = True
            return 0
        held = self.lines.size
        if held == 0 and not self.is_plainly_handled():
            if worker is not None:
                worker.turn.show_loop()
            client = scope["client"]
            self.emit_record(scope, address_text(client).decode(), status, account)
            return 0
        if self.format is not None:
            return self.format.put(self.lines, account)
        try:
            if scope["client"] is not client:
                address = address_text(scope["client"])
            return self.add_line(scope, address, status)
        except BaseException:
            self.lines.size = held  # drop an incomplete line
            raise

    cdef bint leaves_out(self, dict scope, Account account) except -1:
        """Return whether the line of a request that did not fail is left out."""
        cdef unsigned long long number = FNV_BASIS
        cdef bytes text
        cdef unsigned char byte
        if account is not None and account.slow:
            return False
        path = scope["path"]
        if path in self.skipped or self.skipped_prefixes and path.startswith(self.skipped_prefixes):
            return True
        if self.kept == ALL:
            return False
        if account is None or account.request_id is None:
            return next_random(self.random) >= self.kept
        text = account.request_id.encode()
        for byte in text:  # FNV-1a, and then a mixer, since only its low bits are good
            number = (number ^ byte) * FNV_PRIME
        number = (number ^ number >> 33) * FIRST_MIX
        number = (number ^ number >> 33) * SECOND_MIX
        return (number ^ number >> 33) >= self.kept

    cdef int end(self, Account account) except -1:
        return self.record(account.worker, account.scope, account.peer, account.address, account.status, account)

    def log(self, dict scope not None, peer, int status):
        """Log a response of a protocol outside the core, whose exchange has no account."""
        self.record(None, scope, peer, address_text(peer), status, None)
        self.write_held()

    @property
    def is_plain(self):
        """Whether every response has the default line."""
        return self.format is None and not self.picky

    cdef bint is_plainly_handled(self) except -1:
        """Return whether lines may be made here, and prepare for that."""
        handler = self.plain_handler()
        if handler is None:
            return False
        if handler is not self.handler:
            self.use(handler)
        elif self.format is None and self.colors != bool(handler.formatter.use_colors):
            self.use(handler)
        return True

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
        if type(handler) is not StreamHandler and type(handler) is not self.file_class:
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

    def emit_record(self, scope, address, status, Account account):
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
        extra = None
        if account is not None:
            extra = account.ids()
            if self.late:
                extra |= {"duration": account.seconds, "bytes": account.body, "aborted": account.aborted}
        method = scope.get("method", "GET")
        emit = self.logger.info if self.emit is None else self.emit
        emit(
            '%s - "%s %s HTTP/%s" %d', address, method, full_path, scope["http_version"], status, extra=extra
        )

    cdef void flush(self) noexcept:
        self.write_held()

    cdef int look_at(self, stream) except -1:
        """Find out what the handler's stream is."""
        self.stream = stream
        self.raw = None
        self.stream_is_file = False
        self.flush_stream = getattr(stream, "flush", None)
        try:
            self.stream_is_file = stat.S_ISREG(os.fstat(stream.fileno()).st_mode)
            self.raw = raw_of(stream)
        except Exception:
            pass  # it is something of a program's own
        return 0

    def write_held(self):
        """Write the held lines, with one write unless a pipe could tear them."""
        cdef Py_ssize_t size = self.lines.size
        if not size:
            return
        handler = self.handler
        lock = handler.lock  # None for some handlers; acquire() and release() of the handler are in Python
        if lock is not None:
            lock.acquire()
        try:
            stream = handler.stream
            if stream is not self.stream:
                self.look_at(stream)
            # A write to a regular file is never torn, whatever its size.
            self.write(self.lines.data, size, size <= ATOMIC or self.stream_is_file)
        except Exception:
            text = self.lines.data[:size].decode("utf-8", "replace")
            self.lines.size = 0
            handler.handleError(self.logger.makeRecord(self.logger.name, INFO, __file__, 0, text, (), None))
        finally:
            if lock is not None:
                lock.release()

    cdef int write(self, char* lines, Py_ssize_t size, bint whole) except -1:
        """Write lines to the stream, with one write if they may be written `whole`."""
        if (self.raw is not None or size > WHOLE) and self.flush_stream is not None:
            self.flush_stream()  # the application's output would go into the same write
        self.lines.size = 0
        if self.raw is not None and whole:
            return put_all(self.raw, self.stream, PyMemoryView_FromMemory(lines, size, PyBUF_READ))
        for piece in (lines[:size],) if whole else pieces(lines[:size]):
            if self.raw is not None:
                put_all(self.raw, self.stream, piece)
                continue
            self.stream.write(piece.decode("utf-8", "replace"))
            self.handler.flush()
        return 0


cdef object raw_of(stream):
    """Return the file to which what a text stream is given goes as it is; None where that is not certain."""
    if type(stream) is not TextIOWrapper or os.linesep != "\n":
        return None
    raw = stream.buffer  # without a buffer in between (python -u), it is the file
    if type(raw) is BufferedWriter:
        raw = raw.raw
    if type(raw) is not FileIO or stream.encoding.lower() not in ("utf-8", "utf8"):
        return None
    return raw


cdef int put_all(raw, stream, data) except -1:
    """Write bytes to the file of a stream, in which nothing is held."""
    written = raw.write(data)
    while written is None or <Py_ssize_t>written != len(data):
        data = data[written or 0:]
        if stream.buffer is not raw:
            stream.buffer.write(data)  # which goes on, or raises
            stream.flush()
            return 0
        if written is None:
            raise BlockingIOError(errno.EAGAIN, "the access log's file takes no more for now")
        written = raw.write(data)
    return 0


def pieces(bytes lines not None):
    """Return lines in pieces of at most ATOMIC bytes; a longer line is a piece of its own."""
    cdef list found = []
    cdef Py_ssize_t begin = 0, end
    while begin < len(lines):
        end = len(lines)
        if end - begin > ATOMIC:
            end = lines.rfind(b"\n", begin, begin + ATOMIC) + 1 or lines.find(b"\n", begin) + 1
        found.append(lines[begin:end])
        begin = end
    return found
