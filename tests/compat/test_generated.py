"""Applications made up of messages at random, always the same ones, with uvicorn as the control.

Each case sends some messages in a situation, a client that waits or has closed, and notes what became of each. The
messages are right ones and wrong ones. What is compared is what an application can tell: None or the kind of error.
"""

from __future__ import annotations

import contextlib
import http.client
import random
import threading
from typing import Any

import pytest
import uvicorn
from support import PATIENCE, set_once_listening
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

import fastserve

CASES = 100
Message = dict[str, Any]
Outcomes = dict[str, list[str]]

ACCEPT = {"type": "websocket.accept"}
CLOSE = {"type": "websocket.close"}
SEND = {"type": "websocket.send"}
START = {"type": "http.response.start", "status": 200}
BODY = {"type": "http.response.body"}

MESSAGES: list[Message] = [
    SEND | {"text": "text"},
    SEND | {"bytes": b"bytes"},
    SEND | {"bytes": bytearray(b"bytes"), "text": None},
    SEND | {"bytes": None, "text": ""},
    SEND | {"text": "both", "bytes": b"both", "unknown": 1},
]
CLOSES: list[Message] = [CLOSE, CLOSE | {"code": 4000, "reason": "because"}, CLOSE | {"code": None, "reason": None}]
WEBSOCKET: list[Message] = [
    ACCEPT,
    ACCEPT | {"subprotocol": None, "headers": [(b"x", b"1")]},
    ACCEPT | {"headers": ((b"X-Y", b"1"),), "unknown": 1},
    *MESSAGES,
    *MESSAGES,
    *CLOSES,
    SEND,
    SEND | {"text": 5},
    SEND | {"bytes": "text"},
    CLOSE | {"code": 1005},
    {"type": "http.response.start", "status": 200},
    {"type": "websocket.receive", "text": "text"},
    {},
]
HTTP: list[Message] = [
    START,
    START | {"headers": [(b"Content-Type", b"text/plain")], "unknown": 1},
    START | {"headers": ([b"x", b"1"], (b"x", b"2"))},
    START | {"headers": None},
    START | {"headers": [(b"x",)]},
    START | {"headers": [(b"x y", b"1")]},
    START | {"headers": [(b"x", b"1\r\ny: 2")]},
    START | {"status": "200"},
    {"type": "http.response.start"},
    *[BODY] * 8,
    BODY | {"body": b"body", "more_body": True},
    BODY | {"body": bytearray(b"body"), "more_body": 1},
    BODY | {"body": memoryview(b"body"), "more_body": None},
    BODY | {"body": None, "more_body": True},
    BODY | {"body": "", "more_body": True},
    BODY | {"body": "text", "more_body": True},
    BODY | {"body": 5},
    {"type": "http.request"},
    {"type": "websocket.send", "text": "text"},
    {},
]


def cases(pool: list[Message], first: Message, seed: int) -> list[list[Message]]:
    """Cases of up to five messages, most of them after `first`."""
    made = random.Random(seed)
    return [([first] if index % 4 else []) + made.choices(pool, k=made.randint(1, 5)) for index in range(CASES)]


SITUATIONS = {
    "open": cases(WEBSOCKET, ACCEPT, 1),
    "closed": cases([*MESSAGES, *CLOSES], CLOSE, 2),
    "http": cases(HTTP, START, 3),
}


class Application:
    """Sends the messages of the case that the path names, and notes what becomes of each."""

    def __init__(self) -> None:
        self.outcomes: Outcomes = {}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        _, situation, index = scope["path"].split("/")
        outcome = self.outcomes.setdefault(scope["path"], [])
        if situation != "http":
            await receive()
        if situation == "closed":
            await send(ACCEPT)
            outcome.append((await receive())["type"])
        for message in SITUATIONS[situation][int(index)]:
            try:
                outcome.append(str(await send(message)))
            except Exception as error:
                outcome.append(kind(error, situation))
                if situation == "http" and "None" not in outcome and message.get("type") == "http.response.start":
                    return  # fastserve would take another, uvicorn has begun the response


def kind(error: Exception, situation: str) -> str:
    if situation == "http":
        return "error"
    return next((each.__name__ for each in (RuntimeError, OSError) if isinstance(error, each)), "error")


def messages_of(address: str, closes: bool) -> list[str]:
    """Return what a client of this WebSocket gets."""
    got: list[str] = []
    try:
        with connect(f"ws://{address}", close_timeout=PATIENCE, compression=None) as client:
            if not closes:
                got.extend(repr(message) for message in client)
                with contextlib.suppress(ConnectionClosed):
                    client.recv()
    except InvalidStatus as denied:
        got.append(f"denied: {denied.response.status_code}")
    except ConnectionClosed:
        pass
    return got


def response_to(address: str) -> list[str]:
    """Return the response to this request, if it is complete. Else fastserve sends a 500, uvicorn not always."""
    connection = http.client.HTTPConnection(address.partition("/")[0], timeout=PATIENCE)
    try:
        connection.request("GET", "/" + address.partition("/")[2])
        response = connection.getresponse()
        return [str(response.status), repr(response.read())] if response.status != 500 else ["incomplete"]
    except (http.client.HTTPException, OSError):
        return ["incomplete"]
    finally:
        connection.close()


def run(package: Any, situation: str, **options: Any) -> Outcomes:
    """Run each case of a situation, one after the other."""
    app = Application()
    server = package.Server(package.Config(app, port=0, lifespan="off", log_config=None, **options))
    listens = threading.Event()
    set_once_listening(server, listens)
    thread = threading.Thread(target=server.run)
    thread.start()
    seen: Outcomes = {}
    try:
        assert listens.wait(PATIENCE)
        port = server.servers[0].sockets[0].getsockname()[1]
        for index in range(CASES):
            path = f"/{situation}/{index}"
            address = f"127.0.0.1:{port}{path}"
            seen[path] = response_to(address) if situation == "http" else messages_of(address, situation == "closed")
    finally:
        server.should_exit = True
        thread.join(PATIENCE)
    assert not thread.is_alive()
    return {path: [*app.outcomes[path], "|", *seen[path]] for path in seen}


@pytest.fixture(scope="module")
def expected() -> dict[str, Outcomes]:
    return {situation: run(uvicorn, situation) for situation in SITUATIONS}


@pytest.mark.parametrize(
    ("situation", "options"),
    [
        *((situation, {}) for situation in SITUATIONS),
        *((situation, {"http": "h11"}) for situation in SITUATIONS),
        *((situation, {"ws": ws}) for situation in ("open", "closed") for ws in ("websockets", "wsproto")),
    ],
    ids=str,
)
def test_outcomes(expected: dict[str, Outcomes], situation: str, options: dict[str, Any]) -> None:
    theirs = expected[situation]
    different = {
        path: (SITUATIONS[situation][int(path.rpartition("/")[2])], outcome, theirs[path])
        for path, outcome in run(fastserve, situation, **options).items()
        if outcome != theirs[path]
    }
    assert not different
