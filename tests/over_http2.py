"""HTTP/2 for tests that speak HTTP/1.1: what they send becomes frames, and the replies become HTTP/1.1 again."""

from __future__ import annotations

import http.client
import io
import socket
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import hpack
import pytest
import support
from fakes.http2 import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    GOAWAY,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    PING,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    Frame,
    data,
    headers,
    parse,
    ping,
    settings,
    window_update,
)

WINDOW = 1 << 20
NOT_SENT = {b"host", b"connection", b"keep-alive", b"transfer-encoding", b"proxy-connection", b"te"}

HTTP_1_0 = "HTTP/1.0 has no frames"
CLOSES = "an error of one stream leaves the connection and its other streams alone"
# Tests, by the beginning of their names, that do not apply to HTTP/2, with the reason.
DOES_NOT_APPLY: dict[str, str] = {
    "test_item_7_exception_before_the_head": CLOSES,
    "test_item_7_exception_in_the_body_breaks_the_connection": CLOSES,
    "test_item_9_what_is_offered": HTTP_1_0,
    "test_item_10_type_and_version": HTTP_1_0,
    "test_item_13_raw_bytes_outside_of_ascii_are_refused": "such a :path is malformed: its stream is reset",
    "test_item_19_host_of_an_absolute_target": ":authority is all there is",
    "test_item_23_cookie_headers_are_kept_as_received": "they are joined (RFC 9113 section 8.2.3)",
    "test_item_25_reading_stops_while": "a window stops the client before its socket does",
    "test_item_27_not_if_the_response_went_first": CLOSES,
    "test_item_28_status_and_headers_in_order": "date and server go first",
    "test_item_33_send_waits_while_the_client_does_not_read[http2-1000": "the client of these tests is too slow for it",
    "test_item_38_": HTTP_1_0,
    "test_item_39_body_of_another_length": CLOSES,
    "test_item_40_connection_close_closes": "there is no such field",
    "test_item_67_http_1_0": HTTP_1_0,
    "test_item_67_no_byte_passes_through_python": "files are read, and framed",
    "test_item_68_not_to_http_1_0": HTTP_1_0,
    "test_item_69_head_and_http_1_0": HTTP_1_0,
    "test_item_69_real_client_goes_on": "http.client speaks HTTP/1.1 alone",
    "test_files_are_closed": HTTP_1_0,
    "test_long_polls_see_a_disconnect": "there is no Connection: close",
    "test_request_line": "SERVER_PROTOCOL is HTTP/2",
    "test_on_a_unix_socket_the_server_is_the_host_asked_for[http2-threads---": "without a host there is no request",
    "test_a_list_of_large_pieces_is_not_joined": "frames are smaller than the pieces",
    "test_http_1_0_gets_no_chunks": HTTP_1_0,
    "test_in_the_application": CLOSES,
    "test_no_500_for_a_handshake": "a WebSocket over HTTP/2 has its own tests",
}


def leave_out_what_does_not_apply(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect the tests of the table whose fixture `http` is "http2"."""
    left_out = [item for item in items if is_over_http2(item) and item.name.startswith(tuple(DOES_NOT_APPLY))]
    if left_out:
        items[:] = [item for item in items if item not in left_out]
        config.hook.pytest_deselected(items=left_out)


def is_over_http2(item: pytest.Item) -> bool:
    callspec = getattr(item, "callspec", None)
    return callspec is not None and callspec.params.get("http") == "http2"


class Exchange:
    """A request, as far as it has been sent, and the HTTP/1.1 that its response has become."""

    def __init__(self, method: bytes, window: int) -> None:
        self.method = method
        self.window = window
        self.output = b""
        self.chunked = False
        self.headed = False
        self.status = 0
        self.ended = False

    def take_head(self, fields: list[tuple[bytes, bytes]], ended: bool) -> None:
        if self.headed:
            self.finish(fields)
            return
        status = self.status = int(fields.pop(0)[1])
        final = status >= 200
        if final and self.method != b"HEAD" and status not in (204, 304) and b"content-length" not in dict(fields):
            self.chunked = not ended
            fields.append((b"transfer-encoding", b"chunked") if self.chunked else (b"content-length", b"0"))
        reason = HTTPStatus(status).phrase if status in set(HTTPStatus) else ""
        lines = [f"HTTP/1.1 {status} {reason}".encode(), *(b": ".join(field) for field in fields)]
        self.output += b"\r\n".join([*lines, b"", b""])
        self.headed = final
        self.ended = ended

    def take_data(self, octets: bytes, ended: bool) -> None:
        if octets:
            self.output += b"%x\r\n%b\r\n" % (len(octets), octets) if self.chunked else octets
        if ended:
            self.finish([])

    def finish(self, trailers: list[tuple[bytes, bytes]]) -> None:
        if self.chunked:
            self.output += b"\r\n".join([b"0", *(b": ".join(field) for field in trailers), b"", b""])
        self.ended = True


class Http2Socket:
    """A connection by HTTP/2 that looks as one by HTTP/1.1; pipelined requests are streams of it."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.decoder, self.encoded = hpack.Decoder(max_header_list_size=1 << 20), b""
        self.unsent, self.rest, self.output = b"", b"", b""
        self.stream = -1  # of the last request
        self.left: int | None = 0  # bytes of its body to be sent; None while chunks come
        self.window = self.first_window = 65535
        self.streams: dict[int, Exchange] = {}
        self.order: list[Exchange] = []
        self.closing = False  # after the exchanges that are under way
        self.failed = False  # a response was a 500: over HTTP/1.1 it would be the last
        self.pongs = 0
        self.lost = self.shut = False
        if sock.family != getattr(socket, "AF_UNIX", None):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.sendall(PREFACE + settings((INITIAL_WINDOW_SIZE, WINDOW)) + window_update(0, (1 << 30) - 65535))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.sock, name)

    def __enter__(self) -> Http2Socket:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.sock.close()

    # Requests

    def sendall(self, octets: Any) -> None:
        self.unsent += bytes(octets)
        while self.unsent and self.send_some():
            pass

    def send(self, octets: Any) -> int:
        """Send what windows allow. Raises BlockingIOError where that is nothing."""
        if self.left == 0 or self.left is None:
            self.sendall(octets)
            return len(octets)
        while self.room() <= 0:
            self.hear()
        size = min(len(octets), self.room())
        self.sendall(octets[:size])
        return size

    def room(self) -> int:
        return min(self.window, self.streams[self.stream].window)

    def send_some(self) -> bool:
        """Send the next part of a request that is there; false where more of it has to come first."""
        if self.left is None:
            return self.send_chunk()
        if self.left:
            piece = self.unsent[: self.left]
            self.left -= len(piece)
            self.unsent = self.unsent[len(piece) :]
            self.send_body(piece, self.left == 0)
            return True
        head, mark, rest = self.unsent.partition(b"\r\n\r\n")
        if mark:
            self.unsent = rest
            self.send_head(head.split(b"\r\n"))
        return bool(mark)

    def send_head(self, lines: list[bytes]) -> None:
        method, target, _ = lines[0].split(b" ")
        if target.startswith(b"http://"):
            target = b"/" + target[7:].partition(b"/")[2]
        fields = [
            (name.lower(), value.strip(b" \t")) for name, _, value in (line.partition(b":") for line in lines[1:])
        ]
        known = dict(fields)
        self.closing |= known.get(b"connection", b"").lower() == b"close"
        self.left = None if b"transfer-encoding" in known else int(known.get(b"content-length", b"0"))
        self.stream += 2
        exchange = self.streams[self.stream] = Exchange(method, self.first_window)
        self.order.append(exchange)
        pseudo = [(b":method", method), (b":scheme", b"http"), (b":path", target), (b":authority", known[b"host"])]
        kept = [(name, value) for name, value in fields if name not in NOT_SENT]
        if any(b"trailers" in value.lower() for name, value in fields if name == b"te"):
            kept.append((b"te", b"trailers"))
        sent = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in [*pseudo, *kept]]
        self.put(headers(self.stream, sent, end=self.left == 0))

    def send_chunk(self) -> bool:
        line, mark, rest = self.unsent.partition(b"\r\n")
        size = int(line, 16) if mark else 0
        if not mark or len(rest) < size + 2:
            return False
        self.unsent = rest[size + 2 :]
        self.send_body(rest[:size], size == 0)
        if size == 0:
            self.left = 0
        return True

    def send_body(self, piece: bytes, end: bool) -> None:
        exchange, rest = self.streams[self.stream], memoryview(piece)
        while rest and not self.lost:
            while self.room() <= 0 and not self.lost:
                self.hear()
            part = bytes(rest[: min(16384, self.room())])
            rest = rest[len(part) :]
            self.window -= len(part)
            exchange.window -= len(part)
            self.put(data(self.stream, part, end and not rest))
            end = end and bool(rest)
        if end:
            self.put(data(self.stream, b"", True))

    def put(self, octets: bytes) -> None:
        timeout = self.sock.gettimeout()
        if timeout == 0:
            self.sock.settimeout(support.PATIENCE)
        try:
            self.sock.sendall(octets)
        except BrokenPipeError:
            if not self.shut:
                raise
        finally:
            self.sock.settimeout(timeout)

    def shutdown(self, how: int) -> None:
        self.shut = True
        self.sock.shutdown(how)

    # Responses

    def recv(self, size: int) -> bytes:
        while not self.collect():
            if self.lost or (self.closing and not self.order):
                return b""
            if self.failed and not self.order:
                self.look_on()
                return b""
            self.hear()
        found, self.output = self.output[:size], self.output[size:]
        return found

    def look_on(self) -> None:
        """Return once the server has replied to a PING: nothing more has come for streams that have ended."""
        self.failed, pongs = False, self.pongs
        self.put(ping(b"look on!"))
        while self.pongs == pongs and not self.lost:
            self.hear()

    def collect(self) -> bytes:
        """Return the HTTP/1.1 that is there, in the order of the requests."""
        while self.order:
            exchange = self.order[0]
            self.output += exchange.output
            exchange.output = b""
            if not exchange.ended:
                break
            del self.order[0]
        return self.output

    def hear(self) -> None:
        try:
            octets = self.sock.recv(1 << 16)
        except ConnectionResetError:
            octets = b""
        self.lost |= not octets
        frames, self.rest = parse(self.rest + octets)
        for each in frames:
            if each.stream:
                self.take(each)
            else:
                self.take_control(each)

    def take_control(self, each: Frame) -> None:
        if each.type == SETTINGS and not each.flags & ACK:
            self.put(settings(ack=True))
        elif each.type == PING and not each.flags & ACK:
            self.put(ping(each.payload, ack=True))
        elif each.type == PING:
            self.pongs += 1
        elif each.type == WINDOW_UPDATE:
            self.window += each.number
        elif each.type == GOAWAY:
            self.closing = True

    def take(self, each: Frame) -> None:
        exchange = self.streams[each.stream]
        assert not exchange.ended or each.type in (RST_STREAM, WINDOW_UPDATE), each
        if each.type in (HEADERS, CONTINUATION):
            self.encoded += each.payload
            if each.flags & END_HEADERS:
                block: list[Any] = list(self.decoder.decode(self.encoded, raw=True))
                self.encoded = b""
                exchange.take_head([(bytes(name), bytes(value)) for name, value in block], each.ends)
                self.failed |= exchange.status == 500
        elif each.type == DATA:
            exchange.take_data(each.payload, each.ends)
            if each.payload and not each.ends:
                self.put(window_update(each.stream, len(each.payload)))
        elif each.type == WINDOW_UPDATE:
            exchange.window += each.number
        elif each.type == RST_STREAM and not exchange.ended:
            self.lost = True  # over HTTP/1.1 the connection would end here

    def makefile(self, *_: Any, **__: Any) -> io.BufferedReader:
        return io.BufferedReader(Raw(self))


class Raw(io.RawIOBase):
    def __init__(self, sock: Http2Socket) -> None:
        self.sock = sock

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        octets = self.sock.recv(len(buffer))
        buffer[: len(octets)] = octets
        return len(octets)


class OverHttp2:
    """A server whose connections are of HTTP/2."""

    def __init__(self, running: support.Running) -> None:
        self.running = running

    def __getattr__(self, name: str) -> Any:
        return getattr(self.running, name)

    def connect(self, timeout: float = support.PATIENCE) -> Http2Socket:
        return Http2Socket(self.running.connect(timeout))

    def request(self, raw: bytes, timeout: float = support.PATIENCE) -> bytes:
        """Send requests on a new connection, and return their responses."""
        with self.connect(timeout) as sock:
            sock.sendall(raw)
            sock.closing = True
            found = b""
            while piece := sock.recv(65536):
                found += piece
            return found

    def fetch(
        self, path: str = "/", method: str = "GET", body: Any = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        connection = http.client.HTTPConnection(self.running.host, self.running.port, timeout=support.PATIENCE)
        made: Any = self.connect()
        connection.sock = made
        try:
            connection.request(method, path, body=body, headers=dict(headers or {}))
            response = connection.getresponse()
            return response.status, response.headers, response.read()
        finally:
            connection.close()


def by_wire(wire: str, running: support.Running) -> Any:
    """Return a server whose connections are of the version of HTTP that the fixture `http` names."""
    return OverHttp2(running) if wire == "http2" else running
