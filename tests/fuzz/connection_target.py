"""A connection from the loop's callbacks to the application and back, on a fake transport or on a real socket's end.

Input: a byte for the settings, four for the applications, one for the number of steps, a byte for each step, then the
client's bytes. They are served three times: in one packet; cut as the steps say, which must change nothing; and with
everything else that the steps say can happen meanwhile, where only what holds always is looked at.
"""

from __future__ import annotations

import functools
import gc
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import h11
from fakes.http2 import PREFACE
from fuzz.applications import Application, Call
from fuzz.net import FuzzedClient, FuzzedNet
from fuzz.target import Target, cut
from fuzz.words import WORDS
from protocol import corpus

from fastserve._core import counters

APPLICATIONS = 4
MOST_STEPS = 32
EVENTS = 128  # a step from here on is an event, one below it a number of bytes
SETTINGS: tuple[dict[str, Any], ...] = (
    {},
    {"limit_request_line": 60, "limit_request_head": 200, "limit_request_fields": 5, "limit_request_body": 20},
    {"limit_concurrency": 1, "root_path": "/root", "default_headers": [(b"x-default", b"1")]},
    {"timeout_keep_alive": 0, "timeout_request_head": 0, "timeout_request_body": 0, "timeout_write": 0},
    {"server": None, "date": True, "reset_contextvars": True, "limit_request_body": 5},
)


class Script(NamedTuple):
    """What an input says."""

    settings: dict[str, Any]
    direct: bool  # by a socket instead of a fake transport alone
    choices: bytes
    steps: bytes
    stream: bytes


@dataclass
class Outcome:
    """What the client has got and the application has seen."""

    output: bytes
    closed: bool  # before the client ended its side
    calls: list[Call]
    refused: bool
    responses: list[Response]

    @property
    def steady(self) -> bool:
        return all(call.kind.steady for call in self.calls)

    @property
    def seen(self) -> list[tuple[Any, ...]]:
        return [(call.method, call.target, call.headers, call.body, call.complete) for call in self.calls]


class Response(NamedTuple):
    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes
    complete: bool

    def get(self, name: bytes) -> bytes | None:
        return next((value for field, value in self.headers if field == name), None)


def read(data: bytes) -> Script:
    first = data[0] if data else 0
    choices = data[1 : 1 + APPLICATIONS] or b"\0"
    count = data[1 + APPLICATIONS] % (MOST_STEPS + 1) if len(data) > 1 + APPLICATIONS else 0
    rest = data[2 + APPLICATIONS :]
    return Script(SETTINGS[first % 8 % len(SETTINGS)], first % 16 >= 8, choices, rest[:count], rest[count:])


def length(step: int) -> int:
    """The bytes that a step below EVENTS stands for."""
    return step + 1 if step < 64 else (step - 63) * 32


def responses(output: bytes, methods: list[str], ended: bool) -> list[Response]:
    """The final responses that `output` consists of, as h11 reads them; asserts that h11 can, and that nothing is left.

    `methods` are those of the requests; `ended` says that nothing can follow any more.
    """
    found: list[Response] = []
    left = output
    while left:
        peer = h11.Connection(h11.CLIENT)
        method = methods[len(found)] if len(found) < len(methods) else "GET"
        peer.send(h11.Request(method=method, target="/", headers=[("host", "a")]))
        peer.send(h11.EndOfMessage())
        peer.receive_data(left)
        if ended:
            peer.receive_data(b"")
        response, body, complete = None, b"", False
        try:
            while True:
                event = peer.next_event()
                if type(event) is h11.Response:
                    response = event
                elif type(event) is h11.Data:
                    body += bytes(event.data)
                elif type(event) is h11.EndOfMessage:
                    complete = True
                    break
                elif type(event) is not h11.InformationalResponse:
                    break
        except h11.RemoteProtocolError as error:
            # A response that was broken off is not one that cannot be read.
            if "peer closed connection without sending complete message" not in str(error):
                raise AssertionError(f"not a response: {left[:300]!r}") from error
        if response is None:
            assert not complete
            return found  # only an interim response, or nothing complete
        headers = [(name, value) for name, value in response.headers]
        found.append(Response(response.status_code, headers, body, complete))
        if not complete:
            return found
        left = peer.trailing_data[0]
        assert not left or not closes(found[-1]), f"written behind a close: {left[:300]!r}"
    return found


def closes(response: Response) -> bool:
    return (b"connection", b"close") in response.headers  # of which a 426 has one more


def check_responses(found: list[Response], calls: list[Call]) -> None:
    """Responses answer the calls in order; one more than the calls is the server's own, and the last."""
    assert len(found) <= len(calls) + 1
    for number, response in enumerate(found):
        mark = response.get(b"x-number")
        assert mark in (None, b"%d" % number), f"response {number} is that of call {mark!r}"
        if mark is None:
            assert response.status >= 400, response
            assert closes(response) and number == len(found) - 1, response
            assert response.get(b"content-type") == b"text/plain; charset=utf-8"
        else:
            assert number < len(calls)
        if number < len(found) - 1:
            assert response.complete


@functools.cache
def steady_fields(pairs: tuple[tuple[bytes, bytes], ...]) -> list[tuple[bytes, bytes]]:
    """Those that do not depend on the time, or on whether the application had all of the request when it answered."""
    return [pair for pair in pairs if pair[0] not in (b"date", b"content-length", b"transfer-encoding")]


def outcome(script: Script, net: FuzzedNet, client: FuzzedClient, application: Application) -> Outcome:
    """End the client's side and look at what there is in the end, which must be nothing but the outcome."""
    closed = client.server_closed
    client.finish()
    assert client.gone, "the connection does not end"
    net.check_quiet()
    found = responses(client.output, [call.method for call in application.calls], True)
    check_responses(found, application.calls)
    refused = any(line == "Invalid HTTP request received." for _, line in net.log)
    return Outcome(client.output, closed, application.calls, refused, found)


def serve(script: Script, packets: list[bytes]) -> Outcome:
    """Serve these packets; whatever the server can do between two of them it does."""
    application = Application(script.choices)
    with FuzzedNet(application, script.settings, script.direct) as net:
        client = net.join()
        client.feed(*packets)
        return outcome(script, net, client, application)


def play(script: Script) -> Outcome:
    """Serve the stream with all that the steps say."""
    application = Application(script.choices)
    left = script.stream
    with FuzzedNet(application, script.settings, script.direct) as net:
        client = net.join()
        for step in script.steps:
            if step < EVENTS:
                client.offer(left[: length(step)])
                left = left[length(step) :]
            else:
                client.event(step - EVENTS)
            client.check_silence()
        client.offer(left)
        client.check_silence()
        return outcome(script, net, client, application)


def check_same_call(call: Call, again: Call) -> None:
    assert (call.method, call.target, call.headers) == (again.method, again.target, again.headers)
    if call.kind.hasty and not (call.complete and again.complete):
        size = min(len(call.body), len(again.body))
        assert call.body[:size] == again.body[:size]
    else:
        assert (call.body, call.complete) == (again.body, again.complete)


def check_same(script: Script, whole: Outcome, other: Outcome) -> None:
    pairs = list(zip(whole.responses, other.responses, strict=False))
    ends = next((number for number, pair in enumerate(pairs) if closes(pair[0]) != closes(pair[1])), None)
    if ends is not None:
        check_same_until(ends, whole, other)
    elif not (whole.steady and other.steady):
        if whole.refused or other.refused:
            return  # whether an application was faster than the fault that came after is not for the server to say
        assert len(whole.calls) == len(other.calls)
        for call, again in zip(whole.calls, other.calls, strict=True):
            check_same_call(call, again)
        plain = [each._replace(headers=steady_fields(tuple(each.headers))) for each in whole.responses]
        assert plain == [each._replace(headers=steady_fields(tuple(each.headers))) for each in other.responses]
    else:
        assert whole.seen == other.seen
        if not script.settings.get("date"):
            assert whole.output == other.output
    if ends is None:
        assert whole.closed == other.closed


def check_same_until(ends: int, whole: Outcome, other: Outcome) -> None:
    """One of them answered this call before its chunked body had ended, and said that it closes, the other after it."""
    assert b"transfer-encoding" in dict(whole.calls[ends].headers)
    assert min(len(whole.responses), len(other.responses)) == ends + 1
    for call, again in list(zip(whole.calls, other.calls, strict=False))[:ends]:
        check_same_call(call, again)
    for response, another in list(zip(whole.responses, other.responses, strict=False))[:ends]:
        assert steady_fields(tuple(response.headers)) == steady_fields(tuple(another.headers))


def assert_nothing_lives() -> None:
    if any(counters.live().values()):
        gc.collect()
        assert not any(counters.live().values()), counters.live()


def check(data: bytes) -> None:
    check_script(read(data))
    assert_nothing_lives()


def check_script(script: Script) -> None:
    if script.stream.startswith(PREFACE):
        return  # it speaks HTTP/2 from here on, for which there is a target of its own
    whole = serve(script, [script.stream] if script.stream else [])
    sizes = [length(step) for step in script.steps if step < EVENTS]
    if sizes:
        check_same(script, whole, serve(script, cut(script.stream, sizes)))
    if any(step >= EVENTS for step in script.steps):
        play(script)


def seeds() -> Iterator[bytes]:
    cases = [case.data for case in corpus.load() if len(case.data) < 2000]
    for number, case in enumerate(cases):
        choice = number * 7 % 256
        event = EVENTS + number % 32
        yield bytes([0, 0, 0, 0, 0, 3, 10, 20, 30]) + case
        yield (
            bytes([number % 16, choice, 255 - choice, 0, number % 17, 4, 20, event, 5, EVENTS + number // 7 % 32])
            + case
        )
        if number % 5 == 0:
            yield bytes([number % 16, 255 - choice, choice, 0, 0, 2, event, 66]) + case * 3
    good = b"GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\n\r\n"
    for choice in range(256):
        yield bytes([8 * (choice % 2), choice, choice, 0, 0, 4, EVENTS + 3, 50, EVENTS + 4, 66]) + good * 3


TARGET = Target("connection", check, seeds, WORDS)
