"""One WebSocket in the terms of ASGI: the application's scope, receive() and send().

stage           what send() accepts
EXPECT_START    websocket.accept; websocket.close, which denies with 403; websocket.http.response.start
EXPECT_BODY     websocket.http.response.body
UPGRADED        websocket.send and websocket.close
COMPLETE        nothing: the application has denied the handshake or closed the WebSocket

Until it is accepted this is an exchange of HTTP, whose response may be a denial. receive() gives websocket.connect,
then the messages in order, then websocket.disconnect repeatedly. Its code and reason are those of the client's close
frame (1005 if that had none), or those with which the server or the application closed, or 1006 if the connection
broke. From then on send() raises an OSError, except for a websocket.close after somebody else's close, which does nothing.
"""
from collections import deque

from ..errors import ClientDisconnected, SentAfterClose
from ..http.access_log cimport log_end, log_websocket
from ..http.account cimport response_field
from ..http.exchange cimport (
    COMPLETE,
    EXPECT_BODY,
    EXPECT_START,
    UPGRADED,
    HttpExchange,
    Send,
    init_exchange,
    is_kind,
    wake,
)
from ..interfaces cimport Channel, Stream, Subscribing
from ..loop.awaitable cimport Awaitable
from ..loop.clock cimport monotonic, stop
from ..loop.turn cimport SHARE_SECONDS, note_sender
from ..metrics cimport FAILED_MISSING, WS_ACCEPTED, WS_DENIED, fastserve_add
from ..python cimport PyBytes_FromObject, PyObject_CheckBuffer
from ..worker cimport Worker
from .frames cimport MAX_REASON, NO_STATUS, valid_code

cdef enum:
    NORMAL_CLOSURE = 1000
    ABNORMAL_CLOSURE = 1006
    INTERNAL_ERROR = 1011
    SERVICE_RESTART = 1012

cdef list PLAIN_TEXT = [(b"content-type", b"text/plain; charset=utf-8")]


cdef WebSocketExchange make_websocket_exchange(Worker worker, Stream stream, dict scope):
    cdef WebSocketExchange exchange = WebSocketExchange.__new__(WebSocketExchange)
    init_exchange(exchange, worker, stream, scope)
    exchange.raises = True
    exchange.code = ABNORMAL_CLOSURE
    exchange.reason = ""
    return exchange


cdef class WebSocketExchange(HttpExchange):
    # What the application calls

    cdef bint is_cut_off(self) noexcept:
        return self.channel is None and self.stream is None

    cdef bint is_unreachable(self) noexcept:
        return self.channel.broken() if self.channel is not None else HttpExchange.is_unreachable(self)

    cdef bint must_wait(self) noexcept:
        return self.channel.must_wait() if self.channel is not None else HttpExchange.must_wait(self)

    cdef dict next_message(self):
        cdef Channel channel
        if not self.connect_taken:
            self.connect_taken = True
            return {"type": "websocket.connect"}
        if self.unread:
            return None if self.dealing and self.had_its_share() else self.next_unread()
        if self.dealing:
            self.dealing = False
            self.taking_since = 0
            channel = self.channel  # which may have nobody else
            if channel is not None:
                channel.wanted()
        if self.gone:
            return {"type": "websocket.disconnect", "code": self.code, "reason": self.reason}
        return None

    cdef bint had_its_share(self) noexcept:
        """Return whether the application has taken one message after the other for so long that others come first."""
        cdef double now = monotonic()
        if self.taking_since == 0:
            self.taking_since = now
        return now - self.taking_since > SHARE_SECONDS

    cdef object wait_to_receive(self):
        if self.unread:
            self.taking_since = 0
            self.worker.turn.submit(self)
        return HttpExchange.wait_to_receive(self)

    cdef void run(self) noexcept:
        if not self.started:
            HttpExchange.run(self)
            return
        try:
            self.wake_receivers()
        except BaseException as exception:
            self.worker.report("Exception in connection", exception)

    cdef dict next_unread(self):
        cdef dict message = self.first
        cdef Channel channel = self.channel
        self.dealing = True
        self.unread -= 1
        if self.unread:
            text = message.get("text")
            self.unread_size -= len(text) if text is not None else len(message["bytes"])
            self.first = self.others.popleft()
        else:
            self.unread_size = 0
            self.first = None
        if channel is not None:
            channel.taken()
        return message

    cdef int take(self, message) except -1:
        cdef dict fields = <dict>message if type(message) is dict else dict(message)
        if self.stage == UPGRADED:
            return self.take_message(fields)
        if self.stage == COMPLETE:
            raise RuntimeError(
                f"Unexpected ASGI message '{fields['type']}' sent, after the handshake was denied."
            )
        if self.stream is None or self.gone:
            raise ClientDisconnected("the client is gone")
        return self.take_handshake(fields) if self.stage == EXPECT_START else self.take_denial(fields)

    cdef int take_handshake(self, dict message) except -1:
        kind = message["type"]
        if kind == "websocket.accept":
            self.stream.accept(message.get("subprotocol"), message.get("headers", ()))
        elif kind == "websocket.close":
            self.stage = COMPLETE
            fastserve_add(self.worker.metrics.cells + WS_DENIED, 1)
            self.stream.respond(403, PLAIN_TEXT)
            self.stream.body(b"Forbidden", False)
        elif kind == "websocket.http.response.start":
            status = message["status"]
            if isinstance(status, int) and status < 200:
                raise ValueError(f"cannot deny a handshake with {status}: a final status is required")
            self.stream.respond(status, message.get("headers", ()))
            self.stage = EXPECT_BODY
            fastserve_add(self.worker.metrics.cells + WS_DENIED, 1)
            if not self.sends_itself():
                self.stream.hold_head()
        else:
            raise RuntimeError(
                "Expected ASGI message 'websocket.accept', 'websocket.close' or 'websocket.http.response.start', "
                f"but got '{kind}'."
            )
        return 0

    cdef int take_denial(self, dict message) except -1:
        kind = message["type"]
        if kind != "websocket.http.response.body":
            raise RuntimeError(f"Expected ASGI message 'websocket.http.response.body', but got '{kind}'.")
        self.put_response_body(message)
        return 0

    cdef int take_message(self, dict message) except -1:
        kind = message["type"]
        if self.channel is None or self.channel.broken():
            return self.take_after_end(kind)
        if is_kind(kind, "websocket.send"):
            return self.take_send(message)
        if kind == "websocket.close":
            return self.take_close(message)
        if kind == "fastserve.topics.subscribe":
            return (<Subscribing?>message["subscription"]).begin(self.worker, None, self.channel)
        raise RuntimeError(f"Expected ASGI message 'websocket.send' or 'websocket.close', but got '{kind}'.")

    cdef int take_after_end(self, kind) except -1:
        """Take a message once the WebSocket is closed or the connection gone."""
        if self.closed_itself:
            raise SentAfterClose(f"Unexpected ASGI message '{kind}', after sending 'websocket.close'.")
        if kind == "websocket.close" and self.code != ABNORMAL_CLOSURE:
            return 0  # applications close in `finally`, and go on to clean up
        raise ClientDisconnected("the WebSocket is closed")

    cdef int take_close(self, dict message) except -1:
        code, reason = message.get("code", NORMAL_CLOSURE), message.get("reason")
        if code is None and not reason:
            return self.close_with(NO_STATUS, "")
        if not isinstance(code, int):
            raise TypeError(f"the close code must be an integer, not {code!r}")
        if not 0 < code < 5000 or not valid_code(code):
            raise ValueError(f"invalid close code: {code}")
        if reason is not None and not isinstance(reason, str):
            raise TypeError(f"the close reason must be a string, not {reason!r}")
        if reason and len(reason.encode()) > MAX_REASON:
            raise ValueError(f"the close reason must have at most {MAX_REASON} bytes, not {len(reason.encode())}")
        # As exactly str: a class of an application's, such as one of enum's, may be a subclass.
        return self.close_with(code, str.__str__(reason) if reason else "")

    cdef int close_with(self, int code, str reason) except -1:
        cdef Channel channel = self.channel
        channel.close_with(code, reason)
        self.closed_itself = True
        return 0

    cdef int take_send(self, dict message) except -1:
        text, data = message.get("text"), message.get("bytes")
        if data is None and text is None:
            return 0
        if self.account is not None:
            self.account.messages_out += 1
        if data is None:
            if not isinstance(text, str):
                raise TypeError(f"the text of websocket.send must be a string, not {type(text).__name__}")
            self.channel.send_text(<str>text)
            return note_sender(self.worker.turn, self.scope, False)
        if type(data) is not bytes:
            if not PyObject_CheckBuffer(data):
                raise TypeError(f"the bytes of websocket.send must be bytes, not {type(data).__name__}")
            data = PyBytes_FromObject(data)
        self.channel.send_bytes(<bytes>data)
        return note_sender(self.worker.turn, self.scope, False)

    cdef bint hold_back(self, Awaitable sending) except -1:
        """Let a message wait with its caller while the client does not read, after others that wait.

        A message that is taken is kept until the client reads it: a caller that gives up in time, again and again,
        would make the server keep all of them.
        """
        cdef Send call = <Send>sending
        if not self.held:
            if self.channel is None or not self.channel.must_wait():
                return False
            message = call.message
            if (<dict>message if type(message) is dict else dict(message)).get("type") != "websocket.send":
                return False
            if self.held is None:
                self.held = deque()
        call.held = True
        call.future = self.worker.loop.create_future()
        self.held.append(call)
        return True

    cdef int give_up(self, Awaitable sending) except -1:
        cdef Send call = <Send>sending
        call.held = False
        call.message = None
        self.held.remove(call)
        return 0

    cdef int release_held(self) except -1:
        """Take the held-back messages as far as the client reads. If it is gone, tell their callers."""
        cdef Send call
        cdef bint taking = self.taking
        while self.held and (self.channel is None or not self.channel.must_wait()):
            call = self.held.popleft()
            call.held = False
            message, call.message = call.message, None
            if call.future.done():
                continue
            self.taking = True
            try:
                self.take_message(<dict>message if type(message) is dict else dict(message))
            except Exception as error:
                call.future.set_exception(error)
            else:
                call.released = True
                call.future.set_result(None)
            finally:
                self.taking = taking
        return 0

    # What the stream, and then the channel, calls

    cdef object with_id(self, object headers):
        cdef bytes name = self.worker.settings.request_id_field
        headers = list(headers)
        if name is None or response_field(headers, name) is not None:
            return headers
        return [*headers, (name, self.account.request_id.encode())]

    cdef int opened(self, Channel channel) except -1:
        if self.account is not None:
            stop(self.account)  # it is not slow, however long it stays open
            self.account.first = monotonic()
            self.account.websocket = True
            self.account.status = 101
        self.channel = channel
        self.stream = None
        self.stage = UPGRADED
        fastserve_add(self.worker.metrics.cells + WS_ACCEPTED, 1)
        if self.worker.settings.limit_requests:
            self.counted = True
            self.worker.count_apart(1)
        return log_websocket(self.worker, self.scope, "[accepted]")

    cdef int put(self, object data, bint is_text) except -1:
        cdef dict message
        if is_text:
            message = {"type": "websocket.receive", "text": data}
        else:
            message = {"type": "websocket.receive", "bytes": data}
        if self.unread == 0:
            self.first = message
        else:
            if self.others is None:
                self.others = deque()
            self.others.append(message)
        self.unread += 1
        self.unread_size += len(data)
        if self.account is not None:
            self.account.messages_in += 1
        return self.wake_receivers()

    cdef bint busy(self) noexcept:
        return self.unread != 0 or self.dealing

    cdef int writable(self) except -1:
        self.release_held()
        return HttpExchange.writable(self)

    cdef int disconnected(self) except -1:
        self.gone = self.left = True
        if self.queued:
            return self.leave_queue()
        self.release_held()
        self.wake_receivers()
        return wake(self.sending)

    cdef int closed(self, int code, str reason) except -1:
        self.channel = None
        self.stream = None
        self.code = code
        self.reason = reason
        if self.account is not None:
            self.account.close_code = code
            self.account.close(code == ABNORMAL_CLOSURE)
            log_end(self.account)
            self.account = None
        return self.disconnected()

    cdef int stopping(self) except -1:
        """Deny a handshake that the application has not completed when the server stops."""
        if self.stage == EXPECT_START and self.stream is not None:
            self.code = SERVICE_RESTART
            self.stage = COMPLETE
            self.stream.respond(503, PLAIN_TEXT)
            self.stream.body(b"Service Unavailable", False)
        return 0

    # The end of the application

    cdef void ended(self, object result, object exception) noexcept:
        if self.counted:
            self.worker.count_apart(-1)
        HttpExchange.ended(self, result, exception)

    cdef bint is_complete(self) noexcept:
        return self.over or self.stage == COMPLETE

    cdef int end(self, bint failed) except -1:
        cdef Channel channel = self.channel
        self.over = True
        if channel is not None:
            channel.wanted()  # the client's own close, or its fault, comes first
            return channel.close_with(INTERNAL_ERROR, "")
        if self.stage == UPGRADED or self.stage == COMPLETE or self.stream is None:
            return 0
        if not failed and not self.gone and not self.stream.broken():
            what = "handshake" if self.stage == EXPECT_START else "response"
            fastserve_add(self.worker.metrics.cells + FAILED_MISSING, 1)
            self.stage = COMPLETE  # a handler of the log cannot send any more
            self.worker.report(f"ASGI callable returned without completing {what}.")
        self.stage = COMPLETE
        return self.stream.abandon()
