"""The requests of a connection, as its streams are opened: each becomes the exchange of an application, or is refused.

The fields are read and checked before (`fields`), and what is malformed is reset by the connection: what comes here gets
a response.
"""
import logging

from ..http.access_log cimport address_text
from ..http.admission cimport wait_in_queue
from ..http.exchange cimport HttpExchange, attach_account, make_exchange
from ..http.methods cimport known_method
from ..http.response cimport TO_WAIT, fields_of_refusal, is_misdirected, when_crowded
from ..http.scope cimport peers_of, scope_of, websocket_scope_of
from ..http.static cimport StaticFiles, make_static_exchange
from ..interfaces cimport Carrier
from ..metrics cimport WS_REFUSED, fastserve_add, key_of, method_number
from ..metrics import reason_of
from ..python cimport PyBytes_GET_SIZE
from ..transport.writer cimport Writer
from ..websocket.exchange cimport make_websocket_exchange
from ..websocket.handshake cimport Handshake, read_extended_connect, serves_extended_connect
from ..worker cimport Worker
from .fields cimport RequestFields, make_request_fields
from .flow cimport Flow
from .stream cimport Http2Stream, Start
from .websocket_writer cimport make_websocket_writer

cdef int WARNING = logging.WARNING, DEBUG = logging.DEBUG


cdef Requests make_requests(Worker worker, object transport, Writer writer, Carrier carrier, Flow flow):
    cdef Requests self = Requests.__new__(Requests)
    self.worker = worker
    self.transport = transport
    self.writer = writer
    self.carrier = carrier
    self.flow = flow
    self.fields = make_request_fields()
    self.fields.takes_protocol = serves_extended_connect(worker)
    return self


cdef inline HttpExchange new_exchange(Worker worker, Http2Stream stream, dict scope, bytes static):
    cdef HttpExchange exchange
    if static is not None:
        exchange = make_static_exchange(worker, stream, scope, static)
    else:
        exchange = make_exchange(worker, stream, scope)
    exchange.expect_continue = stream.expect_continue
    exchange.body_ended = stream.ended
    return exchange


cdef inline Start new_start(Http2Stream stream, HttpExchange exchange):
    cdef Start start = Start.__new__(Start)
    exchange.head_at = stream.began
    stream.exchange = exchange
    if stream.account is not None:
        attach_account(exchange, stream.account)
    start.stream = stream
    return start


cdef class Requests:
    cdef bint begin(self, Http2Stream stream, Py_ssize_t size) except -1:
        """Make the exchange of a request, whose head came in `size` bytes, or refuse it.

        Return true where it is refused, and the connection is not to have another.
        """
        cdef Worker worker = self.worker
        cdef RequestFields fields = self.fields
        cdef str method = known_method(fields.method)
        cdef bytes static = None
        cdef int status
        if self.peers is None:
            self.peers = peers_of(self.transport, self.writer.fd, worker)
            self.peers.speak("2")
            self.address = address_text(self.peers.client)
        stream.te_trailers = fields.te_trailers
        stream.expect_continue = fields.expect_continue and not stream.ended
        stream.content_length = fields.content_length
        stream.worker = worker
        stream.peers = self.peers
        stream.address = self.address
        stream.is_head = fields.method == b"HEAD"
        stream.begin_counting(key_of(0 if method is None else method_number(method), 2, self.peers.encrypted))
        if worker.settings.health_path is not None and fields.path == worker.settings.health_path and (
            stream.is_head or method == "GET"
        ):
            stream.tell_health()
            return False
        status = self.status_of_refusal(stream, method)
        if status:
            stream.answer(status, fields_of_refusal(status))
            return False
        if fields.protocol is not None:
            return self.begin_websocket(stream, size)
        scope = scope_of(
            self.peers, worker.settings, worker.state, method, fields.path, fields.headers, fields.te_trailers
        )
        self.note(stream, scope, size)
        if self.refuse_misdirected(stream, scope):
            return False
        if worker.static is not None:
            static = (<StaticFiles>worker.static).match(fields.path, len(fields.path))
        if worker.active >= worker.room:
            return self.begin_crowded(stream, scope, static)
        worker.turn.submit(new_start(stream, new_exchange(worker, stream, scope, static)))
        return False

    cdef bint refuse_misdirected(self, Http2Stream stream, dict scope) except -1:
        """Refuse a request for a host that is not served here; return whether it is one."""
        cdef Worker worker = self.worker
        if not is_misdirected(worker, scope):
            return False
        worker.metrics.refuse(421, "host")
        stream.log(scope, 421)
        stream.answer(421, b"")
        return True

    cdef bint begin_crowded(self, Http2Stream stream, dict scope, bytes static) except -1:
        """Refuse a request, queue it, or begin it. Returns as begin() does."""
        cdef Worker worker = self.worker
        cdef HttpExchange exchange
        cdef int status = when_crowded(worker, self.carrier)
        if status and status != TO_WAIT:
            worker.metrics.refuse(status, "limit")
            stream.log(scope, status)
            stream.answer(status, fields_of_refusal(status))
            return self.carrier.spare
        if stream.is_websocket:
            exchange = make_websocket_exchange(worker, stream, scope)
        else:
            exchange = new_exchange(worker, stream, scope, static)
        if status == TO_WAIT and static is None:
            wait_in_queue(exchange, new_start(stream, exchange), self)
        else:
            worker.turn.submit(new_start(stream, exchange))
        return False

    cdef int note(self, Http2Stream stream, dict scope, Py_ssize_t size) except -1:
        """Note what the access log and the metrics say of a request."""
        if self.worker.accounts:
            stream.open_account(scope, None)
            stream.account.received = size
        if self.peers.proxies is not None:
            self.peers.proxies.note_wait_of(self.fields.headers, self.worker.metrics)
            if scope["scheme"] in ("https", "wss"):
                stream.key |= 1
        return 0

    cdef bint begin_websocket(self, Http2Stream stream, Py_ssize_t size) except -1:
        """Make the exchange of a WebSocket's handshake (RFC 8441 section 5), or refuse it. Returns as begin() does."""
        cdef Worker worker = self.worker
        cdef RequestFields fields = self.fields
        cdef Handshake handshake = read_extended_connect(fields.headers, worker)
        if handshake.status == 0 and stream.ended:
            handshake.refuse(400, b"")
        if handshake.status:
            scope = scope_of(self.peers, worker.settings, worker.state, "CONNECT", fields.path, fields.headers, False)
            fastserve_add(worker.metrics.cells + WS_REFUSED, 1)
            self.note(stream, scope, size)
            stream.log(scope, handshake.status)
            stream.answer(handshake.status, handshake.fields)
            return False
        stream.is_websocket = True
        scope = websocket_scope_of(
            self.peers, worker.settings, worker.state, fields.path, fields.headers, handshake.subprotocols.copy()
        )
        self.note(stream, scope, size)
        if self.refuse_misdirected(stream, scope):
            return False
        stream.websocket = make_websocket_writer(stream, self.flow, handshake, worker)
        if worker.active >= worker.room:
            return self.begin_crowded(stream, scope, None)
        worker.turn.submit(new_start(stream, make_websocket_exchange(worker, stream, scope)))
        return False

    cdef int status_of_refusal(self, Http2Stream stream, str method) except -1:
        """Return the status for a request that cannot be served, or 0."""
        cdef RequestFields fields = self.fields
        cdef Py_ssize_t limit = self.worker.settings.limit_request_body
        cdef int status = fields.over_limit
        if status == 0 and method is None:
            status = 501
        if fields.method == b"CONNECT" and (fields.protocol is None or fields.protocol.lower() != b"websocket"):
            status = 501
        if status == 0 and PyBytes_GET_SIZE(fields.path) > self.worker.settings.limit_request_line:
            status = 414
        if status == 0 and limit and fields.content_length > limit:
            status = 413
        if status:
            self.worker.metrics.refuse(status, reason_of(status, ""))
            self.worker.report("Invalid HTTP request received.", None, WARNING)
            self.report_client(b"request over a limit")
        return status

    cdef int report_client(self, const char* reason) except -1:
        """Say at debug level what the client did wrong, and which one that was."""
        cdef bytes address = self.address
        if address is None:
            address = address_text(peers_of(self.transport, self.writer.fd, self.worker).client)
        what = reason.decode()
        self.worker.report(f"{what} ({address.decode() or 'client without an address'})", None, DEBUG)
        return 0

    cdef int lost(self) except -1:
        self.carrier = None
        return 0
