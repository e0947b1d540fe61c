"""The reference implementation beside the compiled one: the same verdict on the heads of the corpus, its own option."""

from __future__ import annotations

from typing import Any

import pytest
import support
from protocol.apps import static
from protocol.corpus import load
from protocol.wire import GOOD, Wire

from fastserve import Config
from fastserve._core.errors import ProtocolError
from fastserve._core.parser import parse
from fastserve._core.settings import Settings
from fastserve.protocols.http.rules import check_head, without_empty_lines

# What the two say of a head, where it is not the same.
DIFFERENCES = {
    "coding: tab behind chunked, which llhttp does not take for it": ("400", "head"),
    "request_line: TLS client hello": ("400", "more"),  # h11 itself refuses it
    "request_line: preface of HTTP/2": ("505", "501"),
}


def verdict_of_core(data: bytes) -> str:
    """Return "head", the status of a refusal, or "more" where the head has not ended."""
    for event in parse(Settings(), [data]):
        return "head" if event[0] == "head" else str(event[1])
    return "more"


def verdict_of_rules(data: bytes, config: Config) -> str:
    try:
        return "head" if check_head(without_empty_lines(data), config) else "more"
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
