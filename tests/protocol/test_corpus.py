"""Every case of corpus/, whole, cut at every byte, byte by byte, after and before a good request."""

from __future__ import annotations

import dataclasses
import http
import socket
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import support
from fakes.net import Net, every_split
from garbage import assert_nothing_lives
from protocol.apps import Call, Recorder
from protocol.corpus import Case, load
from protocol.wire import GOOD, responses

CASES = load()
BEHIND = b"GET /behind HTTP/1.1\r\nHost: behind\r\n\r\n"
# Errors of our own are these bytes; Recorder's answers are 200.
OWN: dict[int, bytes] = {status: status.phrase.encode() for status in http.HTTPStatus if status >= 400}

every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
cases_with_an_end = pytest.mark.parametrize("case", [each for each in CASES if each.end != "wait"], ids=lambda c: c.id)


@dataclass
class Outcome:
    output: bytes  # of the server, while the client was still there
    closed: bool  # by the server, in that time
    calls: list[Call]
    all_output: bytes  # with what came when the client ended its side in the middle of a request


def serve(*packets: bytes) -> Outcome:
    """Serve these packets on a fake transport."""
    recorder = Recorder()
    net = Net(recorder)
    client = net.connect().feed(*packets)
    output, closed = client.output, client.server_closed
    client.eof()
    assert client.gone
    assert not net.worker.tasks
    assert not net.worker.connections
    assert net.errors == [] and net.loop.errors == []
    complete = all(call.complete for call in recorder.calls)
    assert client.output == output or not complete, "the end of the client's side was answered"
    return Outcome(output, closed, recorder.calls, client.output)


def seen(outcome: Outcome) -> Outcome:
    """What a real client, which cannot tell when the server has nothing more to say, sees of it."""
    return dataclasses.replace(outcome, output=outcome.all_output)


def joined(first: Outcome, second: Outcome) -> Outcome:
    """The outcome of both requests on one connection."""
    return Outcome(
        first.output + second.output,
        second.closed,
        first.calls + second.calls,
        first.output + second.all_output,
    )


def check(case: Case, outcome: Outcome) -> None:
    found = responses(outcome.output, [call.method for call in outcome.calls])
    assert [each.status for each in found] == case.statuses
    assert [(call.method, call.target, call.body, call.complete) for call in outcome.calls] == [
        (call.method, call.target, call.body, call.complete) for call in case.calls
    ]
    assert outcome.closed == (case.end == "close")
    for each in found:
        assert each.closes == (case.end == "close" and each is found[-1])
        if each.status in OWN:
            assert each.get(b"content-type") == b"text/plain; charset=utf-8"
            assert each.body in (OWN[each.status], b"")  # nothing, where it answers HEAD
    fields = iter(outcome.calls[-1].headers if outcome.calls else ())
    assert all(field in fields for field in case.fields), outcome.calls[-1].headers


def test_the_corpus_is_large() -> None:
    assert len(CASES) > 300
    assert len({case.id for case in CASES}) == len(CASES)


@every_case
def test_whole(case: Case) -> None:
    check(case, serve(case.data))


@every_case
def test_split_at_every_byte(case: Case) -> None:
    whole = serve(case.data)
    for packets in every_split(case.data):
        assert serve(*packets) == whole, f"cut after {len(packets[0])} bytes: {packets[0][-40:]!r}"


@every_case
def test_byte_by_byte(case: Case) -> None:
    whole = serve(case.data)
    assert serve(*(case.data[at : at + 1] for at in range(len(case.data)))) == whole


@every_case
def test_behind_a_good_request(case: Case) -> None:
    alone, good = serve(case.data), serve(GOOD)
    data = GOOD + case.data
    whole = joined(good, alone)
    assert serve(data) == whole
    for packets in every_split(data, 20):
        assert serve(*packets) == whole, f"cut after {len(packets[0])} bytes: {packets[0][-40:]!r}"


@cases_with_an_end
def test_before_a_good_request(case: Case) -> None:
    alone, good = serve(case.data), serve(GOOD)
    whole = alone if case.end == "close" else joined(alone, good)
    data = case.data + GOOD
    assert serve(data) == whole
    for packets in every_split(data, 20):
        assert serve(*packets) == whole, f"cut after {len(packets[0])} bytes: {packets[0][-40:]!r}"


class Sockets:
    """A real server that records what its application is called with."""

    def __init__(self) -> None:
        self.recorder = Recorder()
        self.running = support.serve(self.recorder, date_header=False, access_log=False, proxy_headers=False)

    def serve(self, case: Case, *packets: bytes) -> Outcome:
        """Send these packets, see that the server does with the connection what the case says, and give the outcome."""
        self.recorder.calls = []
        with self.running.connect() as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for packet in packets:
                try:
                    sock.sendall(packet)
                except ConnectionError:
                    assert (
                        b"\r\nConnection: close\r\n" in case.data
                    )  # it goes on after the request that it called its last
                    break
            if case.end == "keep":
                sock.sendall(BEHIND)
            if case.end != "close":
                sock.shutdown(socket.SHUT_WR)
            output = support.read_all(sock)
        calls = self.recorder.calls
        self.recorder.calls = []
        # By the time this is answered, the application has seen the end of the connection above.
        self.running.request(b"GET / HTTP/1.0\r\n\r\n")
        if case.end == "keep":
            behind = serve(BEHIND)
            assert output.endswith(behind.output)
            assert calls[-1:] == behind.calls
            output = output.removesuffix(behind.output)
            return Outcome(output, False, calls[:-1], output)
        return Outcome(output, case.end == "close", calls, output)


@pytest.fixture(scope="module")
def sockets() -> Iterator[Sockets]:
    made = Sockets()
    yield made
    made.running.stop()
    assert_nothing_lives()


@every_case
def test_socket_in_one_packet(sockets: Sockets, case: Case) -> None:
    assert sockets.serve(case, case.data) == seen(serve(case.data))


@every_case
def test_socket_byte_by_byte(sockets: Sockets, case: Case) -> None:
    packets = [case.data[at : at + 1] for at in range(len(case.data))]
    assert sockets.serve(case, *packets) == seen(serve(case.data))


@every_case
def test_socket_behind_a_good_request(sockets: Sockets, case: Case) -> None:
    data = GOOD + case.data
    assert sockets.serve(case, data) == seen(serve(data))


@cases_with_an_end
def test_socket_before_a_good_request(sockets: Sockets, case: Case) -> None:
    data = case.data + GOOD
    assert sockets.serve(case, data) == seen(serve(data))
