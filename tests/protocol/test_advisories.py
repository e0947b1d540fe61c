"""What has gone wrong in other servers: a test for each advisory that can apply to a server of HTTP/1.1.

Names carry the number of the advisory; the docstring says what the flaw was.
"""

from __future__ import annotations

import io
import logging
import socket
import struct
import time
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest
import support
from protocol.apps import Gate, Receive, Recorder, Scope, Send, respond, static
from protocol.conftest import Connect, MakeNet
from protocol.wire import GOOD, responses

from fastserve._core.http.access_log import AccessLog
from fastserve.logging.formatters import ACCESS_FORMAT, AccessFormatter

POST = b"POST / HTTP/1.1\r\nHost: a\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
CONTROL_BYTES = set(range(32)) - {10} | {127}


def refused(connect: Connect, request: bytes, *statuses: int) -> None:
    """Assert that the request gets one of the statuses (400 by default), and nothing after it is executed."""
    recorder = Recorder()
    raw = connect(recorder).send(request + GOOD).rest()
    (found,) = responses(raw)
    assert found.status in (statuses or (400,))
    assert found.closes
    assert [call for call in recorder.calls if call.complete] == []


@pytest.fixture
def access_logger() -> Iterator[tuple[logging.Logger, io.StringIO]]:
    """The logger of the access log, as the default configuration sets it up, on a stream."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(AccessFormatter(ACCESS_FORMAT, use_colors=False))
    logger = logging.getLogger("tests.protocol.access")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.addHandler(handler)
    yield logger, stream
    logger.handlers.clear()
    logger.filters.clear()


class TestLogs:
    @pytest.mark.parametrize("filters", [[], [lambda record: True]], ids=["lines of the core", "records"])
    def test_cve_2020_7694(
        self, net: MakeNet, access_logger: tuple[logging.Logger, io.StringIO], filters: list[Any]
    ) -> None:
        """uvicorn: the decoded path in the access log let a client write escape codes and lines of its own."""
        logger, stream = access_logger
        logger.filters = filters
        access = AccessLog(logger, AccessFormatter, ACCESS_FORMAT)
        client = net(static(), access=access).connect()
        client.feed(b"GET /%1b[31m%0aINFO:%0d%00%7f%c2%9b?a=%0a HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.output.startswith(b"HTTP/1.1 200 ")
        access.write_held()
        line = stream.getvalue()
        assert line.count("\n") == 1 and "GET" in line and "200" in line
        assert not CONTROL_BYTES & set(map(ord, line)) and "\x9b" not in line

    def test_cve_2020_7694_in_refused_requests(self, net: MakeNet) -> None:
        made = net(static())
        for request in (
            b"\x1b[31m / HTTP/1.1\r\n\r\n",
            b"GET /\x1b HTTP/1.1\r\n\r\n",
            GOOD[:-2] + b"\x1b\n: y\r\n\r\n",
        ):
            made.connect().feed(request).eof()
        assert made.log
        assert not any(CONTROL_BYTES & set(map(ord, line)) or "\n" in line for _, line in made.log)


@pytest.mark.parametrize(
    "field", [(b"x", b"1\r\nx: 1"), (b"x", b"1\nx"), (b"x", b"\0"), (b"x: 1\r\ny", b"1"), (b"x y", b"1"), (b"x", b"\r")]
)
def test_cve_2020_7695_cve_2018_1000164_cve_2019_12387(connect: Connect, field: tuple[bytes, bytes]) -> None:
    """uvicorn, gunicorn, twisted: line breaks in response fields split the response."""
    raw = connect(static(b"secret", headers=[(b"x-leak", b"leak"), field])).send(GOOD).rest()
    assert [found.status for found in responses(raw)] == [500]
    assert b"leak" not in raw and b"secret" not in raw


@pytest.mark.parametrize("target", [b"/\r\nX: y", b"/\n", b"/\r", b"/ x", b"/\0"])
def test_cve_2019_12387_request_side(connect: Connect, target: bytes) -> None:
    """twisted: line breaks in method or target."""
    refused(connect, b"GET " + target + b" HTTP/1.1\r\nHost: a\r\n\r\n")
    refused(connect, b"GE" + target + b" / HTTP/1.1\r\nHost: a\r\n\r\n")


@pytest.mark.parametrize(
    ("pieces", "status"),
    [
        ([b"GET / HTTP/1.1\r\nHost: a\r\nX: ", b"y" * (1 << 20)], 431),
        ([b"GET / HTTP/1.1\r\nHost: a\r\n", b"X: y\r\n" * 10_000], 431),
        ([b"GET /", b"y" * (1 << 20)], 414),
    ],
)
def test_ghsa_4rxc_3w6r_4v47(net: MakeNet, pieces: list[bytes], status: int) -> None:
    """httptools in uvicorn and vLLM: no bound on the fields of a request."""
    client = net(static()).connect()
    data = b"".join(pieces)
    tracemalloc.start()
    try:
        client.feed(*(data[at : at + 4096] for at in range(0, len(data), 4096)))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert [found.status for found in responses(client.output)] == [status]
    assert peak < 2 * len(data) + (1 << 20)  # the packets themselves, and little more
    client.eof()


@pytest.mark.parametrize("end", [b"XX", b"\rX", b"X\n", b"\n\n", b"\r\r", b"\n", b""])
def test_cve_2025_43859(connect: Connect, end: bytes) -> None:
    """h11: any two bytes were taken for the end of a chunk."""
    refused(connect, CHUNKED + b"2\r\nab" + end + b"0\r\n\r\n")


def test_cve_2024_27982(connect: Connect) -> None:
    """llhttp: a space before Content-Length hid it."""
    refused(connect, POST + b" Content-Length: 1\r\n\r\nx")
    refused(connect, b"POST / HTTP/1.1\r\n Content-Length: 1\r\nHost: a\r\n\r\nx")


@pytest.mark.parametrize("line", [b"X : y", b"X\t: y", b"Content-Length : 1", b"Transfer-Encoding : chunked"])
def test_cve_2021_22959(connect: Connect, line: bytes) -> None:
    """llhttp: white space before the colon."""
    refused(connect, POST + line + b"\r\n\r\n")


@pytest.mark.parametrize("size", [b"2;a\nb", b"2;\n", b"2;a=\n", b'2;a="\n"', b"2\n", b"2;a\rb"])
def test_cve_2021_22960_cve_2025_55315_cve_2025_22871_cve_2025_58056(connect: Connect, size: bytes) -> None:
    """llhttp, Kestrel, Go, netty: a line feed inside a chunk extension."""
    refused(connect, CHUNKED + size + b"\r\nab\r\n0\r\n\r\n")


@pytest.mark.parametrize("value", [b"chunkedchunked", b"chunked, identity", b"identity, chunke", b"xchunked"])
def test_cve_2022_32213(connect: Connect, value: bytes) -> None:
    """llhttp: Transfer-Encoding values that are not valid."""
    refused(connect, POST + b"Transfer-Encoding: " + value + b"\r\n\r\n0\r\n\r\n", 400, 501)


@pytest.mark.parametrize(
    "request_", [GOOD.replace(b"\r\n", b"\n"), b"GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n", GOOD[:-2] + b"\n"]
)
def test_cve_2022_32214_cve_2022_35256_cve_2019_16785(connect: Connect, request_: bytes) -> None:
    """llhttp, waitress: fields that do not end in CR LF."""
    refused(connect, request_)


@pytest.mark.parametrize(
    "lines", [b"Transfer-Encoding: chunked\r\n , identity", b"Transfer-Encoding:\r\n chunked", b"X:\r\n\ty"]
)
def test_cve_2022_32215(connect: Connect, lines: bytes) -> None:
    """llhttp: Transfer-Encoding over several lines."""
    refused(connect, POST + lines + b"\r\n\r\n0\r\n\r\n")


def test_cve_2023_30589_cve_2023_37276(connect: Connect) -> None:
    """llhttp, aiohttp: a carriage return alone ended a field."""
    refused(connect, POST + b"X-Abc: \rxTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")


def test_cve_2025_23167(connect: Connect) -> None:
    """llhttp: CR LF CR X ended the head."""
    refused(connect, b"GET / HTTP/1.1\r\nHost: a\r\n\rX: y\r\n\r\n")


def test_lenient_data_after_close(connect: Connect) -> None:
    """llhttp in uvicorn: what came after a request that closes was parsed."""
    recorder = Recorder()
    raw = connect(recorder).send(GOOD[:-2] + b"Connection: close\r\n\r\n" + GOOD + b"noise").rest()
    assert [found.status for found in responses(raw)] == [200]
    assert len(recorder.calls) == 1


@pytest.mark.parametrize(
    "lines",
    [
        b"Transfer-Encoding: xchunked",
        b"Transfer-Encoding: chunked, identity",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        b"Transfer-Encoding: chunked\r\nContent-Length: 3",
        b"Content-Length: 3\r\nTransfer-Encoding: gzip",
        b"Content-Length: 3\r\nTransfer-Encoding: \tchunked",
    ],
)
def test_cve_2024_1135_cve_2024_6827(connect: Connect, lines: bytes) -> None:
    """gunicorn: Transfer-Encoding was not validated, and Content-Length used in its place."""
    refused(connect, POST + lines + b"\r\n\r\n0\r\n\r\n", 400, 501)


@pytest.mark.parametrize("value", [b"chunked\t", b"chunked \t", b"\tchunked\t", b"chunked  "])
def test_cve_2024_1135_white_space_behind_the_coding(connect: Connect, value: bytes) -> None:
    """White space after `chunked` is none of it: the body is chunked, and never the next request."""
    recorder = Recorder()
    wire = connect(recorder).send(POST + b"Transfer-Encoding: " + value + b"\r\n\r\n" + b"1\r\nx\r\n0\r\n\r\n" + GOOD)
    found = wire.response()
    if found.status != 200:
        assert (found.status, wire.rest(), recorder.calls) == (400, b"", [])
    else:
        assert wire.response().status == 200
        assert [call.body for call in recorder.calls] == [b"x", b""]


@pytest.mark.parametrize("line", [b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"])
def test_gunicorn_proxy_protocol_from_anybody(connect: Connect, line: bytes) -> None:
    """gunicorn: the PROXY line of a peer that is not trusted was believed."""
    refused(connect, line + GOOD, 400, 501)


def test_cve_2026_3902_underscores(connect: Connect) -> None:
    """Django: X_Forwarded_For was taken for X-Forwarded-For; in ASGI both come as they were sent."""
    recorder = Recorder()
    connect(recorder).ask(b"GET / HTTP/1.1\r\nHost: a\r\nX_Forwarded_For: b\r\nX-Forwarded-For: c\r\n\r\n")
    assert recorder.calls[0].headers[1:] == [(b"x_forwarded_for", b"b"), (b"x-forwarded-for", b"c")]


@pytest.mark.parametrize(
    "name",
    ["Host", "Content-Length", "Transfer-Encoding", "Connection", "Upgrade", "Expect", "Sec-WebSocket-Protocol", "X"],
)
def test_cve_2026_42544(connect: Connect, name: str) -> None:
    """granian: octets above 127 in a field that the server reads ended the worker."""
    wire = connect(Recorder())
    lines = b"Host: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n" if name != "Host" else b""
    wire.send(b"GET / HTTP/1.1\r\n" + lines + name.encode() + b": \x80\xff\r\n\r\n")
    assert wire.response().status in (200, 400, 417, 426)
    assert connect().ask(GOOD).status == 200


def test_h277_connect(connect: Connect) -> None:
    """hypercorn: CONNECT came to the application."""
    refused(connect, b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", 501)


@pytest.mark.parametrize("value", [b"gzip, chunked", b"\x0bchunked", b"chunked\x0b", b"\xa0chunked"])
def test_cve_2019_16786_cve_2019_16792(connect: Connect, value: bytes) -> None:
    """waitress: odd white space in Transfer-Encoding, and codings besides chunked."""
    refused(connect, POST + b"Transfer-Encoding: " + value + b"\r\n\r\n0\r\n\r\n", 400, 501)


@pytest.mark.parametrize("lines", [b"Content-Length: 1\r\nContent-Length: 1", b"Content-Length: 1, 1"])
def test_cve_2019_16789_cve_2020_10108_cve_2020_10109(connect: Connect, lines: bytes) -> None:
    """waitress, twisted: Content-Length twice."""
    refused(connect, POST + lines + b"\r\n\r\nx")


def test_cve_2020_5236(net: MakeNet) -> None:
    """waitress: a long field that ends in a control byte took time without bound."""
    made = net(static())
    began = time.process_time()
    for _ in range(10):
        client = made.connect().feed(b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 8192 + b"\x10\r\n\r\n")
        assert [found.status for found in responses(client.output)] == [400]
    assert time.process_time() - began < 1


@pytest.mark.parametrize("value", [b"+2", b"0x2", b"1_0", b" +2", b"2\x0b", b"-0", b"\xb2"])
def test_cve_2022_24761_content_length(connect: Connect, value: bytes) -> None:
    """waitress, twisted: numbers as Python reads them."""
    refused(connect, POST + b"Content-Length: " + value + b"\r\n\r\nab")


@pytest.mark.parametrize("size", [b"0x2", b"+2", b"-2", b"2_0", b" 2", b"2\x0b", b"\xb2", b"2;\x00"])
def test_cve_2022_24761_cve_2022_24801_chunk_size(connect: Connect, size: bytes) -> None:
    """waitress, twisted: the same for chunk sizes, and extensions that were not looked at."""
    refused(connect, CHUNKED + size + b"\r\nab\r\n0\r\n\r\n")


def test_cve_2024_49768(connect: Connect) -> None:
    """waitress: a request after one that was refused was executed."""
    recorder = Recorder()
    raw = connect(recorder).send(GOOD + b"bad\r\n\r\n" + GOOD).rest()
    assert [found.status for found in responses(raw)] == [200, 400]
    assert len(recorder.calls) == 1


def test_cve_2022_31015_cve_2024_49769(serve: support.Serve) -> None:
    """waitress: a connection that was reset before it was served ended the thread, or kept it busy."""
    running = serve(static(), access_log=False)
    for _ in range(50):
        sock = socket.create_connection((running.host, running.port), timeout=60)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()
    assert running.request(b"GET / HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 200 ")


def test_cve_2023_46137_cve_2024_41671(connect: Connect) -> None:
    """twisted: pipelined responses left out of order."""
    gate = Gate()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/1":
            await gate.wait()
        await respond(send, scope["path"].encode())

    wire = connect(app).send(GOOD.replace(b"/good", b"/1") + GOOD.replace(b"/good", b"/2"))
    gate.open()
    assert [wire.response().body, wire.response().body] == [b"/1", b"/2"]


@pytest.mark.parametrize("host", [b"<script>alert(1)</script>", b"a\r\nX: <script>", b'"><script>'])
def test_cve_2022_39348(connect: Connect, host: bytes) -> None:
    """twisted: Host came back in an error page."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise ValueError("<script>")

    raw = connect(app).send(b"GET /<script> HTTP/1.1\r\nHost: " + host + b"\r\n\r\n").rest()
    assert raw.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 500 "))
    assert b"script" not in raw


def test_cve_2020_35678(connect: Connect) -> None:
    """autobahn: a path with line breaks came back in the Location of a redirect."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await respond(send, b"", 307, [(b"location", scope["path"].encode() + b"/")])

    raw: Any = connect(app).send(b"GET /%0d%0aSet-Cookie:%20a=b HTTP/1.1\r\nHost: a\r\n\r\n").rest()
    assert [found.status for found in responses(raw)] == [500]
    assert b"Cookie" not in raw
