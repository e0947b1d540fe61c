"""The reference implementation beside the compiled one: the same verdict on the heads of the corpus, its own option."""

from __future__ import annotations

import time
from typing import Any

import pytest
import support
from fakes.net import Client, Net, every_split, running
from fakes.settings import make_settings
from fakes.worker import get, respond
from protocol.apps import Recorder, static
from protocol.corpus import Case, load
from protocol.test_corpus import Outcome, check, joined
from protocol.wire import GOOD, Wire

from fastserve import Config
from fastserve._core.errors import ProtocolError
from fastserve._core.testing import parse
from fastserve.protocols.http import h11_impl
from fastserve.protocols.http.chunks import Chunked
from fastserve.protocols.http.h11_impl import H11Protocol
from fastserve.protocols.http.rules import check_head, empty_lines
from fastserve.server_state import ServerState

READ = 70_000  # bytes that the loop reads at a time
READS = 32  # at most in one event, as long as each of them is full

# What the two say of a head, where it is not the same.
DIFFERENCES = {
    "coding: tab after chunked, which llhttp does not take for it": ("400", "head"),
    "request_line: preface of HTTP/2, but for its end": ("505", "501"),
}


def verdict_of_core(data: bytes) -> str:
    """Return "head", the status of a refusal, or "more" where the head has not ended."""
    for event in parse(make_settings(), [data]):
        return "head" if event[0] == "head" else str(event[1])
    return "more"


def verdict_of_rules(data: bytes, config: Config) -> str:
    try:
        return "head" if check_head(data[empty_lines(data) :], config) else "more"
    except ProtocolError as exc:
        return str(exc.status)


def test_both_say_the_same_of_every_head_of_the_corpus() -> None:
    config = Config(static(), log_config=None)
    found = {}
    for case in load():
        verdicts = verdict_of_core(case.data), verdict_of_rules(case.data, config)
        if verdicts[0] != verdicts[1]:
            found[case.id] = verdicts
    assert found == DIFFERENCES


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        (b"", "missing Host header"),
        (b"Host: a\r\nHost: a\r\n", "more than one Host header"),
        (b"Host: a b\r\n", "malformed Host header"),
    ],
)
def test_both_say_what_is_wrong_with_host(fields: bytes, reason: str) -> None:
    head = b"GET / HTTP/1.1\r\n" + fields + b"\r\n"
    assert parse(make_settings(), [head]) == [("fault", 400, reason)]
    with pytest.raises(ProtocolError) as caught:
        check_head(head, Config(static(), log_config=None))
    assert caught.value.reason == reason


# Cases of which it makes something else, and why.
CLOSES = "h11 ends the connection after every request of HTTP/1.0"
OTHERWISE = {
    "coding: tab after chunked, which llhttp does not take for it": "white space around a value is not part of it",
    "connection: HTTP/1.0 with keep-alive": CLOSES,
    "connection: HTTP/1.0 with Keep-Alive": CLOSES,
    "connection: keep-alive of HTTP/1.0 in the first of two lists": CLOSES,
    "connection: two of HTTP/1.0 with keep-alive": CLOSES,
    "connection: Connection with empty elements in HTTP/1.0": CLOSES,
    "connection: Proxy-Connection beside Connection": CLOSES,
    "request_line: preface of HTTP/2, but for its end": "501, since PRI is an unknown method, before 505",
}

every_case = pytest.mark.parametrize(
    "case", [pytest.param(case, id=case.id) for case in load() if case.id not in OTHERWISE]
)


class H11Net(Net):
    """Connections of the implementation in Python without a network."""

    def __init__(self, app: Any) -> None:
        super().__init__(app)
        self.config = Config(app, log_config=None, lifespan="off", http="h11", access_log=False, proxy_headers=False)
        self.config.load()
        self.state = ServerState()
        self.state.attach(self.worker)

    def make_connection(self) -> Any:
        return H11Protocol(self.config, self.state, {}, self.loop)  # type: ignore[arg-type]


def served(*packets: bytes) -> Outcome:
    """Serve these packets as test_corpus does it with the core."""
    recorder = Recorder()
    net = H11Net(recorder)
    client = net.connect().feed(*packets)
    output, closed = client.output, client.server_closed
    client.eof()
    assert client.gone
    assert not net.worker.tasks and not net.worker.connections and not net.state.lingering
    assert net.errors == [] and net.loop.errors == []
    outcome = Outcome(output, closed, recorder.calls, client.output)
    net.close()
    return outcome


@every_case
def test_corpus(case: Case) -> None:
    whole = served(case.data)
    check(case, whole)
    for packets in every_split(case.data, 20):
        assert served(*packets) == whole, f"cut after {len(packets[0])} bytes: {packets[0][-40:]!r}"
    if len(case.data) < 2000:
        assert served(*(case.data[at : at + 1] for at in range(len(case.data)))) == whole


@every_case
def test_corpus_beside_a_good_request(case: Case) -> None:
    alone, good = served(case.data), served(GOOD)
    assert served(GOOD + case.data) == joined(good, alone)
    if case.end != "wait":
        assert served(case.data + GOOD) == (alone if case.end == "close" else joined(alone, good))


@pytest.mark.parametrize("name", OTHERWISE)
def test_the_table_is_not_out_of_date(name: str) -> None:
    (case,) = [each for each in load() if each.id == name]
    with pytest.raises(AssertionError):
        check(case, served(case.data))


UPLOAD = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n"


def linger(net: H11Net) -> Client:
    client = net.connect().feed(UPLOAD)
    assert b"connection: close\r\n" in client.output and client.transport.ended and not client.transport.closed
    return client


def test_it_lingers_for_30_seconds_in_all_and_5_without_a_byte() -> None:
    net = H11Net(static())
    sending, silent = linger(net), linger(net)
    for now in (4.9, 9, 13, 17, 21, 25, 29.9):
        net.loop.now = now
        sending.feed(b"x")
        for client in (sending, silent):
            if client.connection.lingering.handle is not None:
                client.connection.lingering.look()
        assert (sending.transport.closed, silent.transport.closed) == (False, now > 5)
    net.loop.now = 30
    sending.connection.lingering.look()
    assert sending.transport.closed
    net.loop.run_ready()
    net.close()


def test_at_most_256_linger_and_count_for_no_limit() -> None:
    net = H11Net(static())
    net.config.limit_concurrency = 3
    clients = [linger(net) for _ in range(258)]
    assert [client.transport.closed for client in clients[:3]] == [True, True, False]
    assert b" 200 OK" in net.connect().feed(GOOD).output
    for client in clients[2:]:
        client.eof()
    net.close()
    assert not net.state.lingering


def test_chunks_of_one_byte_take_linear_time() -> None:
    """Twice as many take twice as long: here four times as many, at most eight times as long."""

    def seconds(count: int) -> float:
        data = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * count
        began = time.process_time()
        outcome = served(*(data[at : at + 65536] for at in range(0, len(data), 65536)), b"0\r\n\r\n")
        assert outcome.calls[0].body == b"x" * count
        return time.process_time() - began

    assert min(seconds(80_000) for _ in range(2)) < 8 * min(seconds(20_000) for _ in range(3))


@pytest.mark.parametrize("line", [b"1\r\n", b"1;a\r\n"])
def test_small_chunks_give_others_a_turn(monkeypatch: pytest.MonkeyPatch, line: bytes) -> None:
    """However many come in one read, few are decoded at a time; all arrive, also where the client ends its side."""
    monkeypatch.setattr(h11_impl, "SHARE_SECONDS", 0)
    taken: list[int] = []

    def decode(self: Chunked, raw: bytearray) -> bytes:
        size, data = len(raw), original(self, raw)
        taken.append(size - len(raw))
        return data

    original = Chunked.decode
    monkeypatch.setattr(Chunked, "decode", decode)
    head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    data = (line + b"x\r\n") * 10_000 + b"0\r\n\r\n"
    recorder = Recorder()
    net = H11Net(recorder)
    client = net.connect()
    with running(net.loop):
        client.connection.data_received(head + data)
        for turns in range(4):
            assert len(taken) == turns
            assert client.connection.flow.read_paused
            for _ in range(len(net.loop.ready)):
                net.loop.ready.popleft().run()
    assert max(taken) < 6000
    client.eof()
    assert [call.body for call in recorder.calls] == [b"x" * 10_000]
    assert served(head + data, GOOD).calls[0].body == b"x" * 10_000
    net.close()


def test_small_chunks_are_decoded_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also those after one that a read has cut."""
    steps: list[str] = []

    def step(self: Chunked, raw: bytearray, pieces: list[bytes]) -> bool:
        steps.append(self.part)
        return original(self, raw, pieces)

    original = Chunked.step
    monkeypatch.setattr(Chunked, "step", step)
    data = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 80_000
    reads = [data[at : at + 65536] for at in range(0, len(data), 65536)]
    assert served(*reads, b"0\r\n\r\n").calls[0].body == b"x" * 80_000
    assert len(steps) < 10 * len(reads)


def padded(size: int) -> bytes:
    """Return a head of that many bytes that has not ended."""
    return GOOD[:-2] + b"X: " + b"y" * (size - len(GOOD) - 1)


@pytest.mark.parametrize(("size", "answer"), [(99, b""), (201, b"HTTP/1.1 431 ")])
def test_h11_max_incomplete_event_size(serve: support.Serve, size: int, answer: bytes) -> None:
    server = serve(static(), http="h11", h11_max_incomplete_event_size=200)
    wire = Wire(server.connect())
    assert wire.send(padded(size)).end().rest().startswith(answer)
    wire.close()


def test_by_default_a_head_up_to_the_limits_may_come_in_pieces(serve: support.Serve) -> None:
    server = serve(static(), http="h11")
    with Wire(server.connect()) as wire:
        head = padded(60_000)
        for at in range(0, len(head), 7000):
            wire.send(head[at : at + 7000])
        assert wire.ask(b"\r\n\r\n").status == 200


@pytest.mark.parametrize("kind", ["trailers", "early_hint", "pathsend", "zerocopysend"])
def test_it_offers_no_extensions(serve: support.Serve, kind: str) -> None:
    """It says so in the scope, and does not take their messages."""
    seen = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["extensions"])
        with pytest.raises(RuntimeError, match=f"Expected ASGI message 'http.response.start', but got .*{kind}'"):
            await send({"type": f"http.response.{kind}", "headers": [], "links": [], "path": __file__})
        await static()(scope, receive, send)

    with Wire(serve(app, http="h11").connect()) as wire:
        assert wire.ask(GOOD.replace(b"\r\n\r\n", b"\r\nTE: trailers\r\n\r\n")).status == 200
    assert seen == [{}]


@pytest.mark.parametrize("count", [1, 4])
def test_pipelined_requests_take_one_request_of_each_client_a_turn(count: int) -> None:
    """So a flood costs others, in each turn, what an application takes for a request, and one read that stops it."""
    served: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        served.append(scope["path"])
        await respond(send)

    net = H11Net(app)
    floods = [net.connect() for _ in range(count)]
    other = net.connect()
    reads = 0
    for _ in range(50):
        del served[:]
        other.transport.written.clear()
        with running(net.loop):
            for flood in floods:
                for _ in range(READS):
                    if flood.transport.reading:
                        reads += 1
                        flood.connection.data_received(get("/flood") * (READ // len(get("/flood"))))
            other.connection.data_received(get("/other"))
            assert served == []
            for turns in range(1, 3):  # one to start the application, and one to notice that it has ended
                for _ in range(len(net.loop.ready)):
                    net.loop.ready.popleft().run()
                assert served.count("/flood") <= turns * count
        assert other.output.startswith(b"HTTP/1.1 200 ")
    assert min(flood.output.count(b"HTTP/1.1 200 ") for flood in floods) >= 50
    assert reads <= 2 * count  # and no more is read before most of that is done
    for flood in floods:
        flood.lose()
    other.lose()
    net.close()
