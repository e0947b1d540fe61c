# setup.py: cold
"""The opening handshake of a WebSocket: what the request asks for, and the response that accepts it.

Over HTTP/1.1 that is an upgrade and a 101 (RFC 6455 section 4.2), over HTTP/2 an extended CONNECT and a 200 (RFC 8441).
"""
import logging
from base64 import b64encode
from binascii import Error as Base64Error, a2b_base64

from ..errors import ClientDisconnected, ProtocolError
from ..http.field_names cimport (
    SEC_WEBSOCKET_EXTENSIONS,
    SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION,
    UPGRADE,
)
from ..http.request cimport Field, Request, Span
from ..http.response_head cimport NO_CONNECTION, HeadFacts, as_bytes, end_head, start_head
from ..http.rules cimport has_member, is_token
from ..http.scope cimport Peers, header_list, http_scope, websocket_scope
from ..interfaces cimport Channel
from ..llhttp cimport HTTP_GET
from ..memory.buffer cimport Buffer
from ..python cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from ..transport.writer cimport Writer
from ..worker cimport Worker
from .deflate cimport Parameters, negotiate
from .exchange cimport WebSocketExchange
from .library_frames cimport make_framed
from .session cimport make_websocket

cdef enum:
    KEY_SIZE = 24  # of 16 bytes in base64

cdef int WARNING = logging.WARNING
cdef bytes GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
# The values of these follow from the handshake: what an application passes on from another server is left out.
cdef frozenset OWN_FIELDS = frozenset([b"connection", b"upgrade", b"sec-websocket-accept", b"sec-websocket-extensions"])


cdef Handshake read_handshake(Request request, Worker worker):
    """Return the handshake of a request with an Upgrade, or None if it is not for a WebSocket or these are not served.

    An HTTP/1.0 request cannot upgrade: its Upgrade is ignored (RFC 9110 section 7.8).
    """
    cdef Handshake self
    cdef Py_ssize_t index
    cdef Field* field
    cdef bint found = False
    if request.minor == 0:
        return None
    for index in range(request.count if worker.settings.websocket else 0):
        field = &request.fields[index]
        if field.known == UPGRADE:
            found = found or has_member(request.head + field.value.start, field.value.size, b"websocket", 9)
    if not found:
        if worker.settings.redirects:
            return None
        worker.report("Unsupported upgrade request.", None, WARNING)
        return None
    self = make_handshake(worker)
    self.read(request)
    return self


cdef Handshake read_extended_connect(list headers, Worker worker):
    """Return the handshake of an extended CONNECT for a WebSocket, with these fields."""
    cdef Handshake self = make_handshake(worker)
    self.read_fields(headers)
    return self


cdef bint serves_extended_connect(Worker worker) noexcept:
    """Return whether WebSockets are served over HTTP/2, as far as this worker is concerned.

    Only the core's own are. A client that is not told of them opens an HTTP/1.1 connection for each of its WebSockets.
    """
    return worker.settings.websocket and worker.ws_framing is None and worker.ws_protocol is None


cdef Handshake make_handshake(Worker worker):
    cdef Handshake self = Handshake.__new__(Handshake)
    self.worker = worker
    self.subprotocols = []
    self.extensions = []
    return self


cdef bint is_key(bytes key) except -1:
    if len(key) != KEY_SIZE:
        return False
    try:
        return len(a2b_base64(key)) == 16 and key[22:] == b"==" and b"=" not in key[:22] and key.isascii()
    except Base64Error:
        return False


cdef bytes with_small_names(Request request):
    """Return the head as received, but field names in lower case: protocols outside the core put them into a scope."""
    cdef bytearray head = bytearray(request.head[:request.size])
    cdef Py_ssize_t index
    cdef Span name
    if request.authority.size:  # most know only the origin-form: Host has the rest
        return origin_form(request)
    for index in range(request.count):
        name = request.fields[index].name
        head[name.start:name.start + name.size] = head[name.start:name.start + name.size].lower()
    return bytes(head.lstrip(b"\r\n"))


cdef bytes origin_form(Request request):
    cdef bytes target = request.head[request.path.start:request.target.start + request.target.size]
    cdef list lines = [b"GET %b HTTP/1.1" % (target if target.startswith(b"/") else b"/" + target)]
    lines += [b"%b: %b" % pair for pair in header_list(request)]
    return b"\r\n".join(lines) + b"\r\n\r\n"


cdef class Handshake:
    cdef bint is_served_elsewhere(self) noexcept:
        return self.head is not None

    cdef int read(self, Request request) except -1:
        cdef Py_ssize_t index
        cdef Field* field
        cdef bytes value
        cdef int keys = 0, versions = 0
        cdef bytes version = None
        for index in range(request.count):
            field = &request.fields[index]
            if not SEC_WEBSOCKET_EXTENSIONS <= field.known <= SEC_WEBSOCKET_VERSION:
                continue
            value = PyBytes_FromStringAndSize(request.head + field.value.start, field.value.size)
            if field.known == SEC_WEBSOCKET_KEY:
                keys += 1
                self.key = value
            elif field.known == SEC_WEBSOCKET_VERSION:
                versions += 1
                version = value
            elif field.known == SEC_WEBSOCKET_EXTENSIONS:
                self.extensions.append(value)
            elif not self.offer(value):
                return self.refuse(400, b"")
        if request.method != HTTP_GET:
            return self.refuse(405, b"allow: GET\r\n")
        if versions > 1 or request.has_body():
            return self.refuse(400, b"")
        if version != b"13":
            return self.refuse(
                426, b"upgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-version: 13\r\n"
            )
        if keys != 1 or not is_key(self.key):
            return self.refuse(400, b"")
        if self.worker.ws_protocol is not None:
            if self.worker.draining:
                return self.refuse(503, b"retry-after: 1\r\n")
            self.head = with_small_names(request)
        return self.negotiate()

    cdef int read_fields(self, list headers) except -1:
        cdef bytes name, value, version = None
        cdef bint found = False
        for name, value in headers:
            if name == b"content-length":
                return self.refuse(400, b"")  # what follows is not the request's content
            if name == b"sec-websocket-version":
                if found:
                    return self.refuse(400, b"")
                found = True
                version = value
            elif name == b"sec-websocket-extensions":
                self.extensions.append(value)
            elif name == b"sec-websocket-protocol" and not self.offer(value):
                return self.refuse(400, b"")
        if version != b"13":
            return self.refuse(400, b"sec-websocket-version: 13\r\n")  # 426 needs an Upgrade, which HTTP/2 has not
        return self.negotiate()

    cdef bint offer(self, bytes value) except -1:
        """Note the subprotocols of a field, ignoring empty elements (RFC 9110, 5.6.1.2). Return false if none remains."""
        cdef Py_ssize_t before = len(self.subprotocols)
        for name in value.split(b","):
            name = name.strip(b" \t")
            if name:
                if not is_token(name, len(name)):
                    return False
                self.subprotocols.append(name.decode("ascii"))
        return len(self.subprotocols) > before

    cdef int negotiate(self) except -1:
        try:
            # Malformed values are refused even if no extension is wanted (RFC 6455 section 9.1).
            answer, parameters = negotiate(self.extensions) if self.extensions else (None, None)
            if self.worker.ws_framing is not None:
                self.framing = self.worker.ws_framing(self.worker.settings, self.extensions)
                self.accepted_extensions = self.framing.extensions
            elif self.worker.settings.ws_per_message_deflate:
                self.accepted_extensions, self.parameters = answer, parameters
        except ProtocolError as error:
            return self.refuse(error.status, b"")
        return 0

    cdef int refuse(self, int status, bytes fields) except -1:
        self.status = status
        self.fields = fields
        return 0

    cdef dict scope(self, Request request, Peers peers):
        """Return the scope of the WebSocket; for a refused request, of that request, for the log."""
        if self.status:
            return http_scope(request, peers, self.worker.settings, self.worker.state)
        return websocket_scope(request, peers, self.worker.settings, self.worker.state, self.subprotocols.copy())

    cdef Channel accept(self, WebSocketExchange exchange, transport, Writer writer, subprotocol, headers):
        """Respond with 101 (Switching Protocols). Raises TypeError or ValueError, with nothing written."""
        if writer.broken:
            raise ClientDisconnected("the client is gone")
        headers = self.check(subprotocol, headers)
        try:
            self.put_head(writer, subprotocol, <list>headers)
        except BaseException:
            writer.discard(writer.committed)
            raise
        writer.commit()
        return self.open(exchange, transport, writer)

    cdef Channel open(self, WebSocketExchange exchange, transport, Writer writer):
        """Return the WebSocket, once the handshake is accepted."""
        if self.framing is not None:
            return make_framed(self.worker, transport, writer, exchange, self.framing)
        return make_websocket(self.worker, transport, writer, exchange, <Parameters>self.parameters)

    cdef list check(self, subprotocol, headers):
        """Return the headers that the application accepts with, their names as bytes. Raises TypeError, ValueError."""
        if subprotocol is not None and not isinstance(subprotocol, str):
            raise TypeError(f"the subprotocol must be a string, not {subprotocol!r}")
        if subprotocol and subprotocol not in self.subprotocols:
            # Not offered: applications for one kind of device name theirs to all clients, most of which do not mind.
            encoded = subprotocol.encode("ascii")
            if not is_token(PyBytes_AS_STRING(encoded), PyBytes_GET_SIZE(encoded)):
                raise ValueError(f"invalid subprotocol: {subprotocol!r}")
        checked = []
        for name, value in headers:
            as_bytes(value, "the value of a header")
            lower = as_bytes(name, "the name of a header").lower()
            if lower not in OWN_FIELDS and not (subprotocol and lower == b"sec-websocket-protocol"):
                checked.append((bytes(name), value))
        return checked

    cdef list fields_of_acceptance(self, subprotocol, headers):
        cdef list fields = self.check(subprotocol, headers)
        if subprotocol:
            fields.append((b"sec-websocket-protocol", subprotocol.encode("ascii")))
        if self.accepted_extensions is not None:
            fields.append((b"sec-websocket-extensions", self.accepted_extensions))
        return fields

    cdef int put_head(self, Writer writer, subprotocol, list headers) except -1:
        from hashlib import sha1  # not at start-up, which would load OpenSSL

        cdef HeadFacts facts
        cdef Buffer out = writer.output()
        start_head(out, &facts, 101, headers)
        out.append_bytes(b"upgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-accept: ")
        out.append_bytes(b64encode(sha1(self.key + GUID, usedforsecurity=False).digest()))
        out.append(b"\r\n", 2)
        if subprotocol:
            out.append_bytes(b"sec-websocket-protocol: %b\r\n" % subprotocol.encode("ascii"))
        if self.accepted_extensions is not None:
            out.append_bytes(b"sec-websocket-extensions: %b\r\n" % self.accepted_extensions)
        return end_head(out, &facts, self.worker.settings, self.worker.clock, -1, False, NO_CONNECTION, False)
