"""Properties: how a stream is cut into packets changes nothing, and h11 reads what the application has written."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from fakes.net import Net
from protocol.apps import Receive, Recorder, Scope, Send, body, start
from protocol.corpus import load

hypothesis = pytest.importorskip("hypothesis")
h11 = pytest.importorskip("h11")
st = hypothesis.strategies

TOKENS = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"
FAULTS = [case.data for case in load() if case.end == "close" and case.statuses[-1] >= 400 and len(case.data) < 500]

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]
composite: Callable[..., Any] = st.composite
given: Callable[..., Decorator] = hypothesis.given
bounded: Decorator = hypothesis.settings(
    max_examples=150, deadline=None, derandomize=True, database=None, suppress_health_check=list(hypothesis.HealthCheck)
)


@composite
def requests(draw: Any) -> bytes:
    """A valid request, with a body in one of the ways to send one."""
    method = draw(st.sampled_from(["GET", "HEAD", "POST", "PUT", "OPTIONS"]))
    target = draw(st.sampled_from(["/", "/a?b=c", "/%41%2f", "http://a/x"]))
    lines = [f"{method} {target} HTTP/1.1".encode(), b"Host: a"]
    lines += [
        b"X-%d:%s" % (n, value) for n, value in enumerate(draw(st.lists(st.sampled_from([b"", b" y", b"\tz\t"]))))
    ]
    data = draw(st.binary(max_size=40))
    kind = draw(st.sampled_from(["none", "length", "chunked"]))
    if kind == "length":
        return b"\r\n".join([*lines, b"Content-Length: %d" % len(data), b"", data])
    if kind == "none":
        return b"\r\n".join([*lines, b"", b""])
    size = draw(st.integers(1, 10))
    chunks = [data[at : at + size] for at in range(0, len(data), size)]
    extension = draw(st.sampled_from([b"", b";a", b';a="b;c"']))
    encoded = b"".join(b"%x%s\r\n%s\r\n" % (len(chunk), extension, chunk) for chunk in chunks)
    trailer = draw(st.sampled_from([b"", b"X-Trailer: y\r\n"]))
    return b"\r\n".join([*lines, b"Transfer-Encoding: chunked", b"", encoded + b"0\r\n" + trailer, b""])


def served(*packets: bytes) -> tuple[bytes, bool, Any]:
    recorder = Recorder()
    client = Net(recorder).connect().feed(*packets)
    found = (client.output, client.server_closed)
    client.eof()
    assert client.gone
    return (*found, recorder.calls)


@given(
    exchanges=st.lists(requests(), min_size=1, max_size=4),
    end=st.sampled_from([b"", *FAULTS]),
    cuts=st.lists(st.floats(0, 1), max_size=12),
)
@bounded
def test_any_split_gives_the_same_exchanges(exchanges: list[bytes], end: bytes, cuts: list[float]) -> None:
    data = b"".join(exchanges) + end
    places = sorted({int(cut * len(data)) for cut in cuts} | {0, len(data)})
    packets = [data[first:last] for first, last in itertools.pairwise(places)]
    assert served(*packets) == served(data)


@dataclass
class Answer:
    status: int
    headers: list[tuple[bytes, bytes]]
    pieces: list[bytes]
    length: bool


answers = st.builds(
    Answer,
    st.sampled_from([200, 201, 204, 205, 206, 299, 304, 404, 500, 599]),
    st.lists(
        st.tuples(
            st.text(TOKENS, min_size=1, max_size=12).map(lambda name: b"x-" + name.encode()),
            st.text("abc \t,;=\"'\xe9\xff", max_size=12).map(lambda value: value.strip().encode("latin-1")),
        ),
        max_size=5,
    ),
    st.lists(st.binary(max_size=30), min_size=1, max_size=4),
    st.booleans(),
)


def application(answers: list[Answer]) -> Any:
    left = iter(answers)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        answer = next(left)
        length = [(b"content-length", b"%d" % sum(map(len, answer.pieces)))] if answer.length else []
        await start(send, answer.status, answer.headers + length)
        for piece in answer.pieces[:-1]:
            await body(send, piece, more=True)
        await body(send, answer.pieces[-1])

    return app


def read_by_h11(client: Any) -> tuple[Any, bytes]:
    response, data = None, b""
    while True:
        event = client.next_event()
        if isinstance(event, h11.Response):
            response = event
        elif isinstance(event, h11.Data):
            data += bytes(event.data)
        else:
            assert isinstance(event, h11.EndOfMessage), event
            return response, data


@given(exchanges=st.lists(st.tuples(answers, st.sampled_from(["GET", "HEAD", "POST"])), min_size=1, max_size=4))
@bounded
def test_h11_reads_what_the_application_has_written(exchanges: list[tuple[Answer, str]]) -> None:
    net = Net(application([answer for answer, _ in exchanges]))
    server = net.connect()
    client = h11.Connection(h11.CLIENT)
    for answer, method in exchanges:
        before = len(server.output)
        request = client.send(h11.Request(method=method, target="/", headers=[("host", "a")]))
        server.feed(request + client.send(h11.EndOfMessage()))
        client.receive_data(server.output[before:])
        response, data = read_by_h11(client)
        assert response.status_code == answer.status
        given = {name for name, _ in answer.headers}
        assert [pair for pair in response.headers if pair[0] in given] == answer.headers
        silent = method == "HEAD" or answer.status in (204, 205, 304)
        assert data == (b"" if silent else b"".join(answer.pieces))
        assert client.trailing_data == (b"", False)
        client.start_next_cycle()
    server.eof()
    assert server.gone
    assert net.errors == []
