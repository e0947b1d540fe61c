"""HTTP/1.1 in Python over h11, for `--http h11`: slow and plain, and the oracle of differential tests.

reading  "init"    between two requests
         "head"    a head has begun to arrive
         "body"    the head is parsed, the body is arriving
         "done"    the request is complete; what follows it waits in `input`
         "closed"  nothing is parsed any more
writing  "start"   nothing of the response has been given, or only its head, which is held
         "body"    the head is written
         "done"    the response is complete
         "closed"  nothing is written any more
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import time
from collections.abc import Callable, Iterable
from typing import Any, cast

import h11

from fastserve._core.errors import ClientDisconnected, ProtocolError
from fastserve._core.http.admission import Guest
from fastserve._core.http.response_head import is_streaming
from fastserve._core.metrics import SCALAR_CELLS
from fastserve.config import Config
from fastserve.logging.formatters import TRACE_LOG_LEVEL
from fastserve.middleware.proxy_headers import TrustedHosts
from fastserve.options.core import AT_ONCE
from fastserve.protocols import utils
from fastserve.protocols.http import response, rules, upgrade
from fastserve.protocols.http.counting import CLIENT_LEFT, Counting
from fastserve.protocols.http.deadline import Deadline, WriteDeadline
from fastserve.protocols.http.exchange import HttpExchange
from fastserve.protocols.http.flow_control import HIGH_WATER_LIMIT, FlowControl
from fastserve.protocols.http.framing import RequestBody, ResponseFraming
from fastserve.protocols.http.known import __getattr__  # noqa: F401  # what programs know from uvicorn's module
from fastserve.protocols.http.lingering import Lingering
from fastserve.protocols.http.request_log import RequestLog
from fastserve.protocols.http.scope import scope_of
from fastserve.server_state import ServerState

HEALTH_FIELDS = [(b"content-type", b"text/plain; charset=utf-8"), (b"cache-control", b"no-store")]
RETRY = [(b"retry-after", b"1")]
REFUSAL_FIELDS = [(b"content-type", b"text/plain; charset=utf-8"), *RETRY]
HELD_HEAD_SECONDS = 0.25  # that a head waits for the first piece of body unless it is a stream's
SHARE_SECONDS = 0.001  # of one client's body, before others have their turn


class H11Protocol(asyncio.Protocol):
    """One connection, by uvicorn's protocol contract."""

    is_own = True  # needs nothing of protocols/foreign
    transport: asyncio.Transport
    flow: FlowControl
    write_deadline: WriteDeadline

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        if not config.loaded:
            config.load()
        self.config = config
        self.app = config.loaded_app
        self.loop = _loop or asyncio.get_running_loop()
        self.logger = logging.getLogger("fastserve.error")
        self.access_logger = logging.getLogger("fastserve.access")
        self.server_state = server_state
        self.connections: set[Any] = server_state.connections
        self.tasks: set[asyncio.Task[None]] = server_state.tasks
        self.app_state = app_state
        self.counting = Counting(server_state.metrics)
        self.health_path = None if config.health is None else config.health.encode()
        self.context = contextvars.copy_context()  # each exchange runs in a copy of it
        # By default the sum of the limits of a head.
        self.room = config.h11_max_incomplete_event_size or config.limit_request_line + config.limit_request_head
        self.conn = h11.Connection(h11.SERVER, config.limit_request_line + config.limit_request_head)
        self.input = bytearray()  # what is not parsed yet; h11 gets it head by head
        self.behind = False  # some of it waits for a turn of the loop
        self.empty = 0  # bytes of empty lines before the next head
        self.request_body: RequestBody | None = None  # of the request under way
        self.framing = ResponseFraming(self.conn)
        self.deadline = Deadline(self.loop)
        self.head_deadline = Deadline(self.loop)
        self.reading = "init"
        self.writing = "done"
        self.exchange: HttpExchange | None = None
        self.head: response.Head | None = None  # of the response, while it is held
        self.keep_alive = True
        self.draining = False
        self.parting = False  # idle for a last request of a client that could not be told of the drain
        self.eof_seen = False
        self.lingering: Lingering | None = None
        self.expect_continue = False
        self.log = RequestLog(config, server_state, self.access_logger)
        self.status = 0  # of the response that has begun
        self.spare = False  # accepted beyond the limit of connections, for the sake of health checks
        self.guest: Guest | None = None  # of the request under way, where they are limited

    # The transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.flow = FlowControl(self.transport)
        self.write_deadline = WriteDeadline(self.transport, self.loop)
        self.server = utils.get_local_addr(transport)
        self.client = utils.get_remote_addr(transport)
        self.scheme = "https" if utils.is_ssl(transport) else "http"
        self.connections.add(self)
        self.counting.opened()
        self.trace("HTTP connection made")
        self.deadline.start(self.config.timeout_request_head, self.no_head)

    def trace(self, event: str) -> None:
        if self.logger.isEnabledFor(TRACE_LOG_LEVEL):
            prefix = f"{self.client[0]}:{self.client[1]} - " if self.client else ""
            self.logger.log(TRACE_LOG_LEVEL, "%s%s", prefix, event)

    def data_received(self, data: bytes) -> None:
        self.counting.received(len(data))
        if self.reading == "closed":
            if self.lingering is not None:
                self.lingering.heard()
            return
        self.input += data
        if self.behind:
            self.flow.pause_reading()
        elif self.reading == "done":
            self.read_ahead()
        else:
            self.handle_events()

    def read_ahead(self) -> None:
        if len(self.input) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()

    def eof_received(self) -> bool:
        while self.behind:
            self.behind = False
            self.handle_events()
        self.eof_seen = True
        if self.exchange is None:
            return False
        self.tell_end(self.exchange)
        return not utils.is_ssl(self.transport)

    def tell_end(self, exchange: HttpExchange) -> None:
        """Tell the exchange under way that the client has ended its side."""
        if self.waits:
            self.leave_queue()
        elif self.writing == "body" and self.framing.no_body and self.reading == "done" and not self.input:
            self.close_silently()  # no write will ever show whether the client is still there
        else:
            exchange.disconnected()

    def connection_lost(self, exc: Exception | None) -> None:
        self.connections.discard(self)
        self.trace("HTTP connection lost")
        worker = self.server_state.worker
        if worker is not None and worker.when_lost is not None:
            worker.when_lost(self)
        self.count_as(CLIENT_LEFT)
        self.counting.lost()
        self.orphan()
        self.reading = self.writing = "closed"
        self.deadline.stop()
        self.write_deadline.stop()
        self.head_deadline.stop()
        if self.lingering is not None:
            self.lingering.lost()
        self.detach()
        self.log.end(aborted=True, kept=False)
        self.flow.resume_writing()
        self.transport.close()  # CPython 3.10 warns of a transport over TLS that only its client has closed

    def pause_writing(self) -> None:
        self.flow.pause_writing()
        self.write_deadline.watch(self.config.timeout_write, self.write_expired)

    def resume_writing(self) -> None:
        self.write_deadline.stop()
        self.flow.resume_writing()

    def write_expired(self) -> None:
        self.counting.closing("write")
        self.transport.abort()

    # The request

    def handle_events(self) -> None:
        """Handle the input so far, for as long as a client may keep others waiting."""
        until = time.monotonic() + SHARE_SECONDS
        while self.reading in ("init", "head", "body"):
            try:
                if not (self.read_body() if self.reading == "body" else self.read_head()):
                    return self.wait_for_more() if self.reading != "body" else self.wait_for_body()
            except ProtocolError as exc:
                return self.refuse(exc.status, exc.reason)
            except h11.RemoteProtocolError as exc:
                return self.refuse(431 if exc.error_status_hint == 431 else 400, str(exc))
            if self.reading == "body" and self.input and time.monotonic() > until:
                return self.give_way()
        if self.reading == "done":
            self.read_ahead()
        return None

    def give_way(self) -> None:
        """Go on after a turn of the loop."""
        self.behind = True
        self.flow.pause_reading()
        self.loop.call_soon(self.go_on)

    def go_on(self) -> None:
        if not self.behind:
            return
        self.behind = False
        self.handle_events()
        waiting = len(self.input) if self.exchange is None else max(len(self.input), self.exchange.buffered)
        if not self.behind and waiting <= HIGH_WATER_LIMIT:
            self.flow.resume_reading()

    def read_head(self) -> bool:
        """Begin the exchange of the next head. Return False if the head is incomplete. Raises ProtocolError."""
        before = rules.empty_lines(self.input)
        del self.input[:before]
        self.empty += before
        if self.empty > self.config.limit_request_line:
            raise ProtocolError(414, "request line over the limit")
        size = rules.check_head(self.input, self.config)
        if not size and len(self.input) > self.room:
            raise ProtocolError(431, "request head over the limit")
        if not size:
            return False
        self.conn.receive_data(bytes(self.input[:size]))
        event = self.conn.next_event()
        assert isinstance(event, h11.Request)
        del self.input[:size]
        self.log.begin(self.empty + size)
        self.empty = 0
        self.begin(event)
        return True

    def read_body(self) -> bool:
        """Deliver some of the body. Return False once it has to wait for more. Raises ProtocolError."""
        before, body = len(self.input), self.request_body
        assert body is not None
        data = body.take(self.input)
        self.log.received += before - len(self.input)
        if data:
            self.deliver(data)
        if self.reading != "body":
            return True
        body.check()
        if not body.ended:
            return body.has_more
        body.finish()
        self.end_request()
        return True

    def wait_for_body(self) -> None:
        if self.waits:
            self.flow.pause_reading()

    def wait_for_more(self) -> None:
        if self.eof_seen:
            self.close()
        elif not self.input and not self.empty:
            self.parting = self.server_state.draining
            seconds = self.server_state.goodbye_seconds if self.parting else self.config.timeout_keep_alive
            self.deadline.start(seconds or AT_ONCE, self.keep_alive_expired)
        elif self.reading == "init":
            self.reading = "head"
            self.deadline.start(self.config.timeout_request_head, self.head_expired)

    def begin(self, event: h11.Request) -> None:
        """Make the exchange of a complete head."""
        self.deadline.stop()
        headers = [(name.lower(), value) for name, value in event.headers]
        fields = dict(headers)
        self.reading, self.writing = "body", "start"
        self.head = None
        self.framing.is_head = event.method == b"HEAD"
        self.request_body = RequestBody(self.conn, fields, self.config.limit_request_head)
        version = b"1.0" if event.http_version == b"1.0" else b"1.1"  # also for 1.2 to 1.9 (RFC 9110 section 2.5)
        waits = version == b"1.1" and rules.has_member(headers, b"expect", b"100-continue")
        self.expect_continue = self.request_body.length != 0 and waits
        self.counting.begin(event.method.decode(), version.decode(), self.scheme == "https")
        # h11 ends the connection after every request of HTTP/1.0.
        self.keep_alive = version == b"1.1" and not rules.wants_close(headers)
        named = rules.authority_of(event.target)
        if named is not None:
            headers = rules.with_host(headers, named[1])
        if event.method in (b"GET", b"HEAD") and rules.split_target(event.target)[0] == self.health_path:
            return self.tell_health()
        said = self.transport.get_extra_info("proxy_protocol")
        scope = scope_of(
            event,
            version,
            headers,
            self.config,
            scheme=self.scheme,
            client=self.client,
            server=self.server,
            state=self.app_state.copy(),
            extensions={} if said is None else {"fastserve.proxy_protocol": said.copy()},
        )
        if named is not None and named[0] == b"https" and not self.may_be_https():
            self.log.open(scope, self.client, self.is_from_proxy)
            self.counting.refused(421, "host")
            self.log.head(scope, self.client, 421)
            return self.answer(421)
        if self.is_beyond() or self.is_over_limit():
            self.counting.refused(503, "limit")
            self.log.open(scope, self.client, self.is_from_proxy)
            self.log.head(scope, self.client, 503)
            return self.answer(503, RETRY)
        if self.config.ws_protocol_class is not None and rules.wants_websocket(version, headers):
            if self.eof_seen:
                return self.close()
            if self.server_state.draining:
                return self.answer(503, RETRY)
            self.reading = self.writing = "closed"
            self.counting.handed_over()
            self.trace("Upgrading to WebSocket")
            return upgrade.hand_over(self, event, headers)
        if rules.wants_upgrade(version, headers):
            self.logger.warning("Unsupported upgrade request.")
        self.server_state.total_requests += 1
        self.log.open(scope, self.client, self.is_from_proxy)
        self.exchange = HttpExchange(self, scope, self.expect_continue, self.counting)
        worker = self.server_state.worker
        if self.config.limit_requests is None or worker is None:
            return self.call()
        self.guest = Guest(worker, self.call, self.decline)
        return self.guest.enter()

    def call(self) -> None:
        """Call the application for the request under way."""
        exchange, guest = self.exchange, self.guest
        assert exchange is not None
        if guest is not None and self.reading == "body" and self.flow.read_paused and self.flow.peer_has_ended():
            self.counting.metrics.add(SCALAR_CELLS["queue_gone"])
            self.close_silently()
            return guest.exit()
        self.log.started(exchange)
        exchange.task = task = self.start_task(exchange)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        if guest is not None:
            task.add_done_callback(lambda task: guest.exit())
            self.flow.resume_reading()

    def may_be_https(self) -> bool:
        """Return whether the connection may be encrypted, here or at a trusted proxy (RFC 9110 section 7.4)."""
        return self.scheme == "https" or self.is_from_proxy()

    def is_from_proxy(self) -> bool:
        """Return whether the client is a trusted proxy."""
        proxies = TrustedHosts(self.config.forwarded_allow_ips or "")
        return self.config.proxy_headers and proxies.trusts(self.client[0] if self.client else None)

    def is_over_limit(self) -> bool:
        limit = self.config.limit_concurrency
        if limit is None:
            return False
        busy = [each for each in self.connections if getattr(each, "lingering", None) is None]
        if len(busy) < limit and len(self.tasks) < limit:
            return False
        self.logger.warning("Exceeded concurrency limit.")
        return True

    # The limits of requests and connections

    def accepted_beyond(self) -> None:
        """Note that this connection is beyond the limit: serve only health checks, until there are fewer."""
        self.spare = True

    def is_beyond(self) -> bool:
        self.spare = self.spare and self.server_state.open_connections > (self.config.limit_connections or 0)
        return self.spare

    @property
    def waits(self) -> bool:
        """Whether the request under way waits for others to end."""
        return self.guest is not None and self.guest.waits

    def decline(self) -> None:
        """Refuse a request that cannot wait any longer."""
        assert self.exchange is not None
        self.exchange.stage = "complete"
        self.head = response.response_head(503, REFUSAL_FIELDS)
        self.body(b"Service Unavailable", False)

    def leave_queue(self) -> None:
        """Refuse a request whose client has ended its side, and probably left, while it waited."""
        cut = self.reading == "body"
        self.count_as(400 if cut else CLIENT_LEFT)
        self.detach()
        self.answer(400 if cut else 503, () if cut else RETRY)

    def start_task(self, exchange: HttpExchange) -> asyncio.Task[None]:
        context = contextvars.Context() if self.config.reset_contextvars else self.context.copy()
        # Not by the parameter `context`, which not every task factory takes.
        return context.run(self.loop.create_task, exchange.run(self.app))

    def deliver(self, data: bytes) -> None:
        self.deadline.stop()
        body = self.request_body
        assert body is not None
        body.size += len(data)
        limit = self.config.limit_request_body
        if limit and body.size > limit:
            data = data[: limit - body.size]
        if self.exchange is None:
            self.deadline.start(self.config.timeout_request_body, self.body_expired)
        elif data:
            if self.exchange.buffered > HIGH_WATER_LIMIT:
                self.flow.pause_reading()
            self.exchange.put_body(data)
        if limit and body.size > limit:
            return self.refuse(413, "request body over the limit")
        return None

    def end_request(self) -> None:
        self.reading = "done"
        if self.exchange is not None:
            self.deadline.stop()
            self.exchange.end_body()
        elif self.writing == "done":  # the rest of a body that nobody wanted
            self.next_request()

    def next_request(self) -> None:
        self.conn.start_next_cycle()
        self.counting.used("idle")
        self.reading = "init"

    # The ends of a connection

    def refuse(self, status: int, reason: str) -> None:
        """Respond to a protocol error with `status` if a response can still be sent, and close."""
        self.deadline.stop()
        in_body = self.reading == "body"
        if not in_body:
            self.framing.is_head = False
        self.reading = "closed"
        self.counting.closing("error")
        self.counting.refused(status, reason)
        self.logger.warning("Invalid HTTP request received.")
        self.debug_client(reason)
        if self.exchange is None or self.exchange.started:
            self.refuse_now(status, in_body)
        else:
            self.loop.call_soon(self.refuse_now, status, in_body)  # after the application's first step

    def debug_client(self, what: str) -> None:
        """Log at debug level what the client did wrong, and its address."""
        host, port = self.client or ("client without an address", None)
        self.logger.debug("%s (%s)", what, host if port is None else f"{host}:{port}")

    def refuse_now(self, status: int, in_body: bool) -> None:
        if self.writing == "closed":
            return
        if self.exchange is None:
            # In the body of a request that already has its response, or in a head.
            if in_body:
                self.close()
            else:
                self.answer(status)
        elif self.writing == "body":
            self.detach()
            self.writing = "closed"
            self.transport.close()
        else:
            self.detach()
            self.answer(status)

    def default_headers(self) -> list[tuple[bytes, bytes]]:
        """Return what the server adds to a response."""
        hsts = self.config.ssl_hsts if self.scheme == "https" else None
        added = [] if hsts is None else [(b"strict-transport-security", str(hsts).encode())]
        return self.server_state.default_headers + added

    def answer(self, status: int, extra: Iterable[tuple[bytes, bytes]] = ()) -> None:
        """Send a response of the server's own, and close."""
        self.count_as(status)
        output = response.plain_response(
            status, self.default_headers(), [*extra, *self.log.id_fields([])], not self.framing.is_head
        )
        self.write(output)
        if self.log.account is not None:
            if not self.eof_seen or self.reading == "body":  # else the client left
                self.log.note_head(status, [])
            self.log.sent += len(output)
            self.log.sent_body = 0 if self.framing.is_head else len(response.phrase(status))
            self.log.end(aborted=self.eof_seen, kept=False)
        self.close()

    def write(self, data: bytes) -> None:
        self.counting.sent(len(data))
        self.transport.write(data)

    def count_as(self, status: int) -> None:
        """Count the request under way, whose response ends here with this status."""
        scope = None if self.exchange is None else self.exchange.scope
        self.counting.end(status, scope if isinstance(scope, dict) else None)

    def tell_health(self) -> None:
        """Respond to a request for the server's own health."""
        red = self.server_state.red
        self.head = response.response_head(503 if red else 200, HEALTH_FIELDS)
        self.body(b"draining" if red else b"ok", False)

    def detach(self) -> None:
        """Let the exchange under way go on without the connection."""
        exchange, self.exchange = self.exchange, None
        if self.guest is not None and self.waits:
            self.guest.exit()
        self.guest = None
        if exchange is not None:
            exchange.completed()

    def orphan(self) -> None:
        """Keep the exchange under way, whose client is gone, where the stopping server finds it."""
        exchange = self.exchange
        if exchange is None or exchange.task is None or exchange.stage == "complete":
            return
        if self.writing == "body":
            exchange.endless = self.framing.remaining is None
        elif self.head is not None:
            exchange.endless = self.head.content_length is None
        left = self.server_state.left
        left.add(exchange)
        exchange.task.add_done_callback(lambda task: left.discard(exchange))

    def close(self) -> None:
        """Close after what is written; at first only the writing side if the client may still be sending.

        A close with unread input resets the connection, and the client would lose the response (RFC 9112 section 9.6).
        """
        if self.writing == "closed":
            return
        if self.draining or self.server_state.draining:
            self.counting.closing("drain")
        self.count_as(CLIENT_LEFT)
        self.counting.used("closing")
        idle, more = self.reading == "init", self.reading != "done"
        self.reading = self.writing = "closed"
        self.deadline.stop()
        if idle or self.eof_seen:
            self.transport.close()
            return
        self.flow.resume_reading()
        self.lingering = Lingering(self.transport, self.loop, self.server_state, more)

    def keep_alive_expired(self) -> None:
        self.counting.closing("keep_alive")
        self.close_silently()

    def body_expired(self) -> None:
        self.counting.closing("body")
        self.close_silently()

    def no_head(self) -> None:
        self.counting.closing("head")
        self.close_silently()

    def close_silently(self) -> None:
        self.count_as(CLIENT_LEFT)
        self.counting.used("closing")
        self.orphan()
        self.detach()
        self.log.end(aborted=True, kept=False)
        self.reading = self.writing = "closed"
        self.deadline.stop()
        self.transport.close()

    def head_expired(self) -> None:
        self.framing.is_head = False
        self.counting.closing("head")
        self.counting.refused(408, "timeout")
        self.debug_client("request head not complete in time")
        self.answer(408)

    def shutdown(self) -> None:
        """Close, after the response under way."""
        self.draining = True
        self.counting.closing("drain")
        if self.lingering is not None:
            self.lingering.hurry()
        elif self.exchange is None:
            if self.reading == "body":
                self.close()
            elif not (self.parting and self.server_state.replaced):
                self.close_silently()

    def end_streams(self) -> list[asyncio.Task[None]]:
        """Break off a response that has begun and declares no end; wake an application waiting for the client to go.

        Returns the tasks of the applications whose responses were broken off.
        """
        exchange = self.exchange
        if exchange is None:
            return []
        if self.writing != "body" or self.framing.remaining is not None:
            if exchange.body_taken and exchange.waits():
                exchange.disconnected()
            return []
        self.close_silently()
        if self.transport.get_write_buffer_size():
            self.transport.abort()  # what is queued has no end either, and the client may never take it
        return [] if exchange.task is None else [exchange.task]

    # The response

    def send_continue(self) -> None:
        """Send 100 (Continue) unless the final response has begun (RFC 9110 section 10.1.1)."""
        self.expect_continue = False
        if self.writing == "start":
            self.write(self.framing.encode(h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue")))

    def want_body(self, waits: Callable[[], bool]) -> None:
        if not self.eof_seen:
            self.deadline.keep(self.config.timeout_request_body, self.body_expired, waits)

    def respond(self, status: Any, headers: Iterable[Any]) -> None:
        """Take the head of the response, which is held until the first body. Raises TypeError, ValueError.

        Without one it is sent when the application has suspended if it announces a stream, else after a while.
        """
        head = response.response_head(status, headers)
        if head.status < 200:
            raise ValueError(f"the status of a final response must be at least 200, not {status!r}")
        self.head = head
        self.loop.call_soon(self.hold_head, head)

    def hold_head(self, head: response.Head) -> None:
        """Note that the application has suspended."""
        if self.head is not head:
            return
        if any(name == b"content-type" and is_streaming(value) for name, value in head.fields):
            self.send_head(head)
        else:
            self.head_deadline.start(HELD_HEAD_SECONDS, lambda: self.send_head(head))

    def send_head(self, head: response.Head) -> None:
        """Send the head without the body that it was held for, unless it has gone."""
        if self.head is head and self.writing == "start" and not self.transport.is_closing():
            with contextlib.suppress(ValueError):  # h11 refuses it: the application's next send() raises that
                self.body(b"", True)

    def body(self, data: bytes, more: bool) -> None:
        """Write a piece of the body. Raises RuntimeError for one that does not fit the Content-Length."""
        if self.transport.is_closing():
            raise ClientDisconnected("the client is gone")
        output = b""
        if self.head is not None:
            output = self.framed(self.head, len(data), more)
            self.head = None
            self.head_deadline.stop()
        else:
            self.framing.check(len(data), more)
        output += self.framing.body(data, more)
        if output:
            self.write(output)
        self.log.sent += len(output)
        self.log.sent_body += 0 if self.framing.no_body else len(data)
        if not more:
            self.finish()
        elif self.framing.no_body and self.eof_seen:
            self.eof_received()

    def framed(self, head: response.Head, size: int, more: bool) -> bytes:
        """Decide how the body is delimited and whether the connection goes on, and return the encoded head."""
        length = self.framing.decide(head, size, more)
        if self.expect_continue or head.close or self.draining or self.server_state.draining:
            self.keep_alive = False
        elif self.reading == "body" and not (self.request_body and self.request_body.may_be_discarded):
            self.keep_alive = False  # the client must know now: after the response it may send the next request
        fields = response.with_defaults(head.fields, self.default_headers())
        fields += self.log.id_fields(head.fields)
        if length is not None:
            fields.append((b"content-length", str(length).encode()))
        if not self.keep_alive:
            fields.append((b"connection", b"close"))
        self.status = head.status
        if self.exchange is not None and (head.status != 500 or not self.eof_seen):
            self.log.head(self.exchange.scope, self.client, head.status, head.fields)
        else:  # a failure because the client has left is of no interest
            self.log.note_head(head.status, head.fields)
        output = self.framing.head(head.status, fields)
        self.writing = "body"
        return output

    def finish(self) -> None:
        """Go on to the next request, or close: the application has sent the last of its response."""
        self.writing = "done"
        self.count_as(self.status)
        self.detach()
        self.log.end(aborted=False, kept=self.keep_alive and not self.eof_seen)
        ends = self.draining and not self.server_state.replaced
        if not self.keep_alive or ends or self.conn.our_state is not h11.DONE:
            self.close()
        elif self.reading == "body":
            if self.eof_seen or self.server_state.draining:
                return self.close()
            self.flow.resume_reading()
            self.deadline.start(self.config.timeout_request_body, self.body_expired)
        elif self.reading == "done":
            self.next_request()
            self.flow.resume_reading()
            self.handle_events()
            if self.eof_seen and self.exchange is not None:
                self.tell_end(self.exchange)  # it came before this request began
        return None

    def abandon(self) -> None:
        """End a response that the application will not complete: a 500 if nothing was written, else break off."""
        scope = self.exchange.scope if self.exchange is not None else None
        status = 503 if self.exchange is not None and self.exchange.gone and self.server_state.draining else 500
        if (self.eof_seen and self.reading != "body") or self.transport.is_closing():
            self.count_as(CLIENT_LEFT)
        else:
            cut = self.eof_seen and self.writing == "start"
            self.count_as(self.status if self.writing == "body" else 400 if cut else status)
            self.counting.closing("error")
        self.detach()
        if self.writing == "start" and not self.transport.is_closing():
            if self.eof_seen and self.reading == "body":
                return self.answer(400)  # the client never sent all of its request (RFC 9112 section 8)
            if scope is not None and not self.eof_seen:
                self.log.head(scope, self.client, status)
            return self.answer(status, RETRY if status == 503 else ())
        return self.close_silently()
