"""Where other servers differ from the RFCs or from each other: how this one responds, a test for each such case.

The cases are those in which at least one of uvicorn, granian, hypercorn, gunicorn and daphne serves what it should
refuse, smuggles, hangs, or closes without a response.
"""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Any

import pytest
import support
from protocol.apps import Receive, Recorder, Scope, Send, body, respond, start, static
from protocol.conftest import Connect
from protocol.wire import GOOD, responses

HEAD = b"POST / HTTP/1.1\r\nHost: a\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
FIELD = b"X-%d: 1\r\n"

REFUSED = {
    "Content-Length and Transfer-Encoding": (
        400,
        HEAD
        + b"Content-Length: 35\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    "two equal Content-Length": (400, HEAD + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nab"),
    "Content-Length as a list": (400, HEAD + b"Content-Length: 2, 2\r\n\r\nab"),
    "coding before chunked": (501, HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
    "chunked in HTTP/1.0": (400, b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    "chunk size 0x2": (400, CHUNKED + b"0x2\r\nab\r\n0\r\n\r\n"),
    "bare LF after a chunk size": (400, CHUNKED + b"2\nab\r\n0\r\n\r\n"),
    "LF in a chunk extension": (400, CHUNKED + b"2;a\nb\r\nab\r\n0\r\n\r\n"),
    "no CRLF after a chunk": (400, CHUNKED + b"2\r\nabXX0\r\n\r\n"),
    "head in bare LF": (400, b"GET / HTTP/1.1\nHost: a\n\n"),
    "folded field": (400, b"GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n 2\r\n\r\n"),
    "no Host": (400, b"GET / HTTP/1.1\r\n\r\n"),
    "two Hosts": (400, b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"),
    "field of 70 KB": (431, b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 70_000 + b"\r\n\r\n"),
    "field of 1 MB": (431, b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 1_000_000 + b"\r\n\r\n"),
    "target of 70 KB": (414, b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n"),
    "300 fields": (431, b"GET / HTTP/1.1\r\nHost: a\r\n" + b"".join(FIELD % n for n in range(300)) + b"\r\n"),
    "CONNECT": (501, b"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n"),
    "method in lower case": (501, b"get / HTTP/1.1\r\nHost: a\r\n\r\n"),
    "HTTP/2.1": (505, b"GET / HTTP/2.1\r\nHost: a\r\n\r\n"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(connect: Connect, case: str) -> None:
    """One response, closed, and neither the request nor what follows it is carried out as if it were whole."""
    status, request = REFUSED[case]
    recorder = Recorder()
    (answer,) = responses(connect(recorder).send(request + GOOD).rest())
    assert (answer.status, answer.closes) == (status, True)
    assert [call for call in recorder.calls if call.complete] == []


def test_keep_alive_of_http_1_0(connect: Connect) -> None:
    wire = connect(static(b"x"))
    for _ in range(2):
        answer = wire.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").response()
        assert (answer.body, answer.closes) == (b"x", False)


def test_line_break_in_a_field_of_the_application(connect: Connect) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await respond(send, b"x", 200, [(b"x", b"1\r\ninjected: 1")])

    raw = connect(app).send(GOOD).rest()
    (answer,) = responses(raw)
    assert answer.status == 500
    assert b"injected" not in raw


@pytest.mark.parametrize("pieces", [[b"one"], [b"one", b"two"]])
def test_no_length_to_http_1_0(connect: Connect, pieces: list[bytes]) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        for piece in pieces:
            await body(send, piece, piece is not pieces[-1])

    raw = connect(app).send(b"GET / HTTP/1.0\r\n\r\n").rest()
    assert b"transfer-encoding" not in raw
    assert (b"content-length: 3\r\n" in raw) == (len(pieces) == 1)
    assert raw.endswith(b"\r\n\r\n" + b"".join(pieces))


def test_date_and_server_of_the_application(connect: Connect) -> None:
    own = [(b"Date", b"Thu, 01 Jan 1970 00:00:00 GMT"), (b"Server", b"mine")]

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await respond(send, b"x", 200, own)

    raw = connect(app).send(GOOD.replace(b"Host", b"Connection: close\r\nHost")).rest()
    assert raw.count(b"date: ") == raw.count(b"server: ") == 1
    assert b"server: mine\r\n" in raw


def test_send_to_a_client_that_is_gone(serve: support.Serve) -> None:
    raised: list[type] = []
    done = threading.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await start(send)
        await body(send, b"x", True)
        assert (await receive())["type"] == "http.disconnect"
        try:
            while True:
                await body(send, b"x" * 65536, True)
        except OSError as error:
            raised.append(type(error))
            done.set()

    client = serve(app, disconnect="raise").connect()
    client.sendall(GOOD)
    client.recv(1)
    client.close()
    assert done.wait(60)
    assert [kind.__name__ for kind in raised] == ["ClientDisconnected"]


def test_exit_code_of_sigterm(command: support.StartCommand, tmp_path: Path) -> None:
    (tmp_path / "here.py").write_text("async def app(scope, receive, send): pass\n")
    process = command("here:app", "--port", "0", "--lifespan", "off", cwd=tmp_path)
    process.wait_line("running on")
    assert process.stop(signal.SIGTERM) == -signal.SIGTERM
