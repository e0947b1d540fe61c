"""The part of a response that is the same in every version of HTTP (RFC 9110).

It decides how much body a response has and whether its pieces fit, which status is sent when an application fails, what
is refused before the application is called, and which line the access log gets. The classes of the versions turn this
into bytes: see http1/response.pyx.
"""
import logging

from ..interfaces cimport Carrier, Stream
from ..loop.clock cimport monotonic
from ..worker cimport Worker
from .access_log cimport log_end, log_response
from .account cimport open_account, response_field
from .exchange cimport HttpExchange
from .request cimport Request
from .response_head cimport has_no_body, pairs_of
from .scope cimport Peers

cdef int WARNING = logging.WARNING
cdef list PLAIN_TEXT = [(b"content-type", b"text/plain; charset=utf-8"), (b"cache-control", b"no-store")]
cdef bytes RETRY_AFTER = b"retry-after: 1\r\n"


cdef int when_crowded(Worker worker, Carrier carrier) except -1:
    cdef Py_ssize_t limit = worker.settings.limit_concurrency
    if carrier.spare:
        if worker.is_full():
            return 503
        carrier.count_in()
    if limit and (len(worker.connections) - worker.lingering >= limit or worker.active >= limit):
        worker.report("Exceeded concurrency limit.", None, WARNING)
        return 503
    return TO_WAIT if worker.active >= worker.places else 0


cdef bint is_misdirected(Worker worker, dict scope) except -1:
    """Return whether a request is for a host that is not served here (RFC 9110 section 7.4)."""
    return worker.settings.hosts is not None and not worker.settings.hosts.allows(scope["headers"])


cdef int refused(Worker worker, Request request, Peers peers, dict scope, Carrier carrier) except -1:
    if request.is_https and peers.scheme == "http" and peers.proxies is None:
        return 421  # RFC 9110 section 7.4
    if is_misdirected(worker, scope):
        return 421
    return when_crowded(worker, carrier) if worker.active >= worker.room else 0


cdef bytes fields_of_refusal(int status):
    """Return the header lines of a response of the server's own."""
    return RETRY_AFTER if status == 503 else b""


cdef int check_length(long long remaining, long long size, bint more) except -1:
    if size > remaining:
        raise RuntimeError("Response content longer than Content-Length")
    if not more and size < remaining:
        raise RuntimeError("Response content shorter than Content-Length")
    return 0


cdef class Response(Stream):
    # The metrics

    cdef void begin_counting(self, int key) noexcept:
        """Note the end of a request's head, and what the request is counted by."""
        self.key = key
        self.began = self.worker.turn.head_at = monotonic()

    cdef void count_as(self, int status, bint held) noexcept:
        """Count the request, unless it is counted already: its response ends here, with this status.

        `held`: the turn holds the last of it, and has read the clock for that.
        """
        cdef Worker worker = self.worker
        cdef double now, seconds
        if self.began == 0:
            return
        now = worker.turn.newest_held if held else monotonic()
        seconds = now - self.began
        self.began = 0
        if self.account is not None and not self.is_websocket:
            self.account.last = now
        worker.metrics.count(self.key, status, seconds)
        if worker.metrics.by_route and self.exchange is not None:
            worker.metrics.count_route(self.key, status, seconds, self.exchange.scope)

    cdef int tell_health(self) except -1:
        """Respond to a request for the server's own health."""
        self.respond(503 if self.worker.red else 200, PLAIN_TEXT)
        return self.body(b"draining" if self.worker.red else b"ok", False)

    cdef int respond_checked(self, int status, list fields, Py_ssize_t length) except -1:
        return self.respond(status, pairs_of(fields, length))

    # The body

    cdef long long decide_length(self, long long size, bint more) except -2:
        """Decide from the head and the first piece of body. Return the Content-Length of the response, or -1 for none.

        Raises RuntimeError if the piece does not fit the length that the application gave.
        """
        cdef Extent* extent = &self.extent
        cdef int status = extent.facts.status
        cdef long long length = 0 if status == 205 else extent.facts.content_length
        extent.no_body = self.is_head or has_no_body(status)
        if not extent.no_body and length >= 0:
            check_length(length, size, more)
        if status < 200 or status == 204:
            length = -1
        elif length < 0 and not more and status != 304 and (size or not self.is_head):
            length = size
        extent.remaining = length - size if length >= 0 and not extent.no_body else -1
        return length

    cdef int count(self, long long size, bint more) except -1:
        """Count a further piece. Raises RuntimeError if it does not fit Content-Length."""
        if self.extent.remaining >= 0:
            check_length(self.extent.remaining, size, more)
            self.extent.remaining -= size
        return 0

    # The access log

    cdef int log(self, dict scope, int status) except -1:
        """Log a response of the server's own, which is about to be written."""
        if self.account is not None:
            self.account.status = status
            self.account.first = monotonic()
        return log_response(
            self.worker, scope, self.peers.client, self.address, status, self.is_websocket, self.account
        )

    cdef int log_head(self) except -1:
        """Log the application's response, whose head is being sent."""
        cdef int status = self.extent.facts.status
        if self.account is not None:
            self.account.status = status
            if self.worker.first_bytes:
                self.account.first = monotonic()
        if self.exchange is None:
            return 0  # the server's health
        if self.worker.access is None and not self.is_websocket:
            return 0
        if status == 500 and self.client_has_ended():
            return 0  # a failure because the client has left is of no interest
        return log_response(
            self.worker, self.exchange.scope, self.peers.client, self.address, status, self.is_websocket, self.account
        )

    # The account

    cdef int open_account(self, dict scope, Request request) except -1:
        """Open the account of the request of `scope`."""
        cdef bint trusted = self.peers.proxies is not None
        self.account = open_account(self.worker, scope, self.peers.client, self.address, trusted, self.began)
        if self.worker.notes_requests:
            self.account.note(request)
        self.account.mark = self.bytes_given()
        return 0

    cdef object noted(self, object headers):
        """Note the application's headers, which are returned as a list, if `worker.notes_headers`."""
        cdef bytes name = self.worker.settings.request_id_field
        headers = list(headers)
        if name is not None:
            self.account.named = response_field(headers, name) is not None
        self.account.headers = headers
        return headers

    cdef bytes id_line(self):
        """Return the header line with the request's id, empty without one."""
        if self.account.request_id is None:
            return b""
        return self.worker.settings.request_id_field + b": " + self.account.request_id.encode() + b"\r\n"

    cdef int count_body(self, long long size) except -1:
        if not self.extent.no_body:
            self.account.body += size
        return 0

    cdef int close_account(self, bint aborted) except -1:
        account, self.account = self.account, None
        account.sent = self.bytes_given() - account.mark
        account.received += self.bytes_received()
        account.kept = self.is_kept()
        account.close(aborted)
        return log_end(account)

    # The end

    cdef int orphan(self) except -1:
        """Note in the exchange under way whether its response has begun and declares no end."""
        cdef HttpExchange exchange = self.exchange
        if exchange is None or exchange.is_complete():
            return 0
        if self.head_is_given():
            exchange.endless = self.extent.facts.content_length < 0
        elif self.head_has_left():
            exchange.endless = self.extent.remaining < 0
        return 0

    cdef int detach(self) except -1:
        """Let the exchange under way go on without the connection."""
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            (<HttpExchange>exchange).completed()
        return 0

    cdef int abandon(self) except -1:
        """End a response that the application will not complete: an error if nothing was written, else break off."""
        cdef HttpExchange exchange = self.exchange
        cdef int status = 500
        if self.request_is_cut():
            status = 400  # the client never sent all of its request (RFC 9112 section 8)
        elif exchange is not None and exchange.gone and (self.worker.draining or not exchange.started):
            status = 503
        self.count_abandoned(status)
        self.detach()
        if self.broken() or self.head_has_left():
            return self.break_off()
        if exchange is not None and not self.client_has_ended():
            self.log(exchange.scope, status)
        return self.answer(status, fields_of_refusal(status))

    cdef void count_abandoned(self, int status) noexcept:
        """Count the request whose application does not complete its response; `status` if none was sent."""
        if self.broken() or self.client_has_ended() and not self.request_is_cut():
            status = CLIENT_LEFT
        elif self.head_has_left():
            status = self.extent.facts.status
        self.count_as(status, False)

    # What a version of HTTP implements

    cdef long long bytes_given(self) noexcept:
        return 0

    cdef long long bytes_received(self) noexcept:
        return 0

    cdef bint is_kept(self) noexcept:
        return False

    cdef bint head_is_given(self) noexcept:
        return False

    cdef bint head_has_left(self) noexcept:
        return False

    cdef bint client_has_ended(self) noexcept:
        return False

    cdef bint request_is_cut(self) noexcept:
        return False

    cdef int answer(self, int status, bytes extra) except -1:
        return 0

    cdef int break_off(self) except -1:
        return 0
