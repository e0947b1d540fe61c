"""Whether a server's answer is what the row expects, asked with the request that the load will send."""

from __future__ import annotations

import http.client
import socket

from bench.load import frames
from bench.load.certificate import client_context
from bench.load.frames import Wrong
from bench.load.rows import Echo, Row

__all__ = ["Wrong", "check", "connect", "request_bytes"]

HOST = "127.0.0.1"
_SECONDS = 10.0
_ECHOES = 3


def check(row: Row, port: int) -> None:
    """Returns when the response is right. Wrong when it is not, OSError when there is none."""
    if row.echo:
        return _echoes(row.echo, port)
    if row.streams and not row.over_http1:
        return _http2(row, port)
    try:
        _single(row, port)
        if row.pipeline > 1:
            _pipelined(row, port)
    except http.client.HTTPException as error:
        raise Wrong(f"not an HTTP answer: {error!r}") from error


def connect(row: Row, port: int) -> socket.socket:
    """A connection to the row's server, secured where the row is over TLS."""
    connection = socket.create_connection((HOST, port), _SECONDS)
    if not row.tls:
        return connection
    http2 = row.streams > 0 and not row.over_http1
    secured = client_context(http2).wrap_socket(connection, server_hostname=HOST)
    if http2 and secured.selected_alpn_protocol() != "h2":
        secured.close()
        raise Wrong(f"ALPN chose {secured.selected_alpn_protocol()} and not h2")
    return secured


def request_bytes(row: Row, *, close: bool = False) -> bytes:
    """The row's request as it goes over the wire, with `connection: close` added on demand."""
    request = row.request
    fields = [("Host", HOST), *request.headers]
    if request.body:
        fields.append(("Content-Length", str(request.body)))
    if close and not any(name.lower() == "connection" for name, _ in fields):
        fields.append(("Connection", "close"))
    lines = [f"{request.method} {request.path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields)]
    return "\r\n".join([*lines, "", ""]).encode() + b"x" * request.body


def _single(row: Row, port: int) -> None:
    with connect(row, port) as connection:
        connection.sendall(request_bytes(row))
        answer = http.client.HTTPResponse(connection, method=row.request.method)
        answer.begin()
        body = answer.read()
    _compare(row, answer.status, len(answer.getheaders()), body)


def _http2(row: Row, port: int) -> None:
    from bench.load.http2 import Client

    with connect(row, port) as connection:
        _compare(row, *Client(connection, "https" if row.tls else "http").exchange(row.request))


def _compare(row: Row, status: int, headers: int, body: bytes) -> None:
    if status != 200:
        raise Wrong(f"status {status}: {body[:60]!r}")
    if body != row.answer.body:
        raise Wrong(f"body {_excerpt(body)} where {_excerpt(row.answer.body)} is right")
    if headers < row.answer.headers:
        raise Wrong(f"{headers} response headers where there should be {row.answer.headers}")


def _echoes(echo: Echo, port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), _SECONDS) as connection:
        client = frames.Client(connection, echo)
        sent = zip(frames.messages(echo), frames.client_frames(echo, client.agreed), strict=True)
        for _, (payload, frame) in zip(range(_ECHOES), sent, strict=False):
            back = client.exchange(frame)
            if back != payload:
                raise Wrong(f"echo {_excerpt(back)} where {_excerpt(payload)} is right")


def _excerpt(body: bytes) -> str:
    return f"{body[:40]!r} ({len(body)} bytes)"


def _pipelined(row: Row, port: int) -> None:
    packet = request_bytes(row) * (row.pipeline - 1) + request_bytes(row, close=True)
    received = bytearray()
    with connect(row, port) as connection:
        connection.sendall(packet)
        # The floor answers each packet with all its responses and leaves the connection open: enough is enough.
        while received.count(row.answer.body) < row.pipeline and (data := connection.recv(65536)):
            received += data
    heads, bodies = received.count(b"HTTP/1.1 200 "), received.count(row.answer.body)
    if (heads, bodies) != (row.pipeline, row.pipeline):
        raise Wrong(f"{heads} heads and {bodies} bodies for {row.pipeline} pipelined requests")
