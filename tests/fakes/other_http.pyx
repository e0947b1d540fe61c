"""A tiny version of HTTP on the seams of the core, to show that they fit one that is not HTTP/1.

request    OTHER <method> <path> <size of the body>, a line feed, and the body
response   S<status> and a line feed; for each piece of body B<size>, a line feed and the piece; E and a line feed
"""
from fastserve._core.http.access_log cimport address_text
from fastserve._core.http.exchange cimport HttpExchange, make_exchange
from fastserve._core.http.response cimport Response
from fastserve._core.http.scope cimport peers_of
from fastserve._core.http.version cimport Version
from fastserve._core.interfaces cimport Carrier, Handler
from fastserve._core.transport.writer cimport Writer
from fastserve._core.worker cimport Worker

from fastserve._core.errors import ClientDisconnected

cdef enum:
    READ_AHEAD = 65536
    # What has been given of a response.
    NOTHING
    HELD
    WRITTEN


cdef class OtherVersion(Version):
    def __cinit__(self):
        self.alpn = "other"
        self.preface = b"OTHER "

    cdef Handler begin(self, Worker worker, object transport, Writer writer, Carrier carrier):
        cdef OtherConnection connection = OtherConnection.__new__(OtherConnection)
        connection.worker = worker
        connection.transport = transport
        connection.writer = writer
        connection.tail = b""
        connection.response = OtherResponse.__new__(OtherResponse)
        connection.response.worker = worker
        connection.response.writer = writer
        connection.response.connection = connection
        return connection


cdef class OtherConnection(Handler):
    cdef Worker worker
    cdef object transport
    cdef Writer writer
    cdef OtherResponse response
    cdef bytes tail  # not parsed yet
    cdef Py_ssize_t left  # of the body that is coming
    cdef bint paused
    cdef bint eof_seen

    cdef int feed(self, bytes data) except -1:
        self.tail += data
        return self.parse()

    cdef int parse(self) except -1:
        while self.tail:
            if self.left:
                self.deliver()
                continue
            if self.response.exchange is not None:
                return 0
            head, ended, rest = self.tail.partition(b"\n")
            if not ended:
                return 0
            self.tail = rest
            self.begin(head)
        return 0

    cdef int begin(self, bytes head) except -1:
        cdef OtherResponse response = self.response
        _, method, path, size = head.split(b" ")
        self.left = int(size)
        response.peers = peers_of(self.transport, -1, self.worker)
        response.address = address_text(response.peers.client)
        response.state = NOTHING
        response.is_head = method == b"HEAD"
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "other", "method": method.decode(),
            "scheme": "http", "path": path.decode(), "raw_path": path, "query_string": b"", "root_path": "",
            "headers": [], "client": response.peers.client, "server": response.peers.server,
        }
        response.exchange = make_exchange(self.worker, response, scope)
        if not self.left:
            response.exchange.end_body()
        return self.worker.turn.submit(response.exchange)

    cdef int deliver(self) except -1:
        cdef HttpExchange exchange = self.response.exchange
        piece = self.tail if len(self.tail) <= self.left else self.tail[:self.left]
        self.tail = self.tail[len(piece):]
        self.left -= len(piece)
        if exchange is None:
            return 0
        if exchange.buffered > READ_AHEAD and not self.paused:
            self.paused = True
            self.transport.pause_reading()
        exchange.put_body(piece)
        return 0 if self.left else exchange.end_body()

    cdef int resume_reading(self) except -1:
        if self.paused:
            self.paused = False
            self.transport.resume_reading()
        return 0

    cdef int answered(self) except -1:
        if self.eof_seen or self.worker.draining:
            self.writer.close()
            return 0
        self.resume_reading()
        return self.parse()

    cdef bint eof(self) except -1:
        self.eof_seen = True
        if self.response.exchange is None:
            return False
        self.response.exchange.disconnected()
        return True

    cdef int lost(self) except -1:
        self.tail = b""
        self.response.orphan()
        self.response.connection = None
        return self.response.detach()

    cdef int drain(self) except -1:
        if self.response.exchange is not None:
            return self.response.exchange.stopping()
        self.writer.close()
        return 0

    cdef int drained(self) except -1:
        return self.response.exchange.writable() if self.response.exchange is not None else 0


cdef class OtherResponse(Response):
    cdef Writer writer
    cdef OtherConnection connection
    cdef int state

    cdef int respond(self, status, headers) except -1:
        if self.writer.broken:
            raise ClientDisconnected("the client is gone")
        self.extent.facts.status = status
        self.extent.facts.content_length = -1
        for name, value in headers:
            if name.lower() == b"content-length":
                self.extent.facts.content_length = int(value)
        self.state = HELD
        return 0

    cdef int body(self, bytes data, bint more) except -1:
        if self.writer.broken:
            raise ClientDisconnected("the client is gone")
        if self.state == HELD:
            self.decide_length(len(data), more)
            self.log_head()
            self.state = WRITTEN
            self.writer.output().append_bytes(b"S%d\n" % self.extent.facts.status)
        else:
            self.count(len(data), more)
        if data and not self.extent.no_body:
            self.writer.output().append_bytes(b"B%d\n%b" % (len(data), data))
        if not more:
            self.writer.output().append_bytes(b"E\n")
        self.writer.commit()
        if more:
            return 0
        self.detach()
        return self.connection.answered()

    cdef int took_body(self, Py_ssize_t left) except -1:
        return self.connection.resume_reading()

    cdef bint must_wait(self) noexcept:
        return self.writer.paused and not self.writer.broken

    cdef bint broken(self) noexcept:
        return self.writer.broken

    cdef bint head_is_given(self) noexcept:
        return self.state == HELD

    cdef bint head_has_left(self) noexcept:
        return self.state == WRITTEN

    cdef bint client_has_ended(self) noexcept:
        return self.connection is not None and self.connection.eof_seen

    cdef bint request_is_cut(self) noexcept:
        return self.client_has_ended() and self.connection.left > 0

    cdef int answer(self, int status, bytes extra) except -1:
        self.writer.output().append_bytes(b"S%d\nE\n" % status)
        self.writer.commit()
        return self.break_off()

    cdef int break_off(self) except -1:
        self.writer.close()
        return 0


VERSION = OtherVersion()
