"""What the clients of the soak do: conversations made up from a seed, cut off anywhere by some."""

from __future__ import annotations

import random
from typing import NamedTuple

BAD = (
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloX\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc",
    b"GET /" + b"a" * 20000 + b" HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"b" * 70000 + b"\r\n\r\n",
    b"NOTHING / HTTP/1.1\r\nHost: a\r\n\r\n",
)


class Step(NamedTuple):
    """Bytes to send, and how many final responses to wait for then; 0 responses with `take`: that many bytes."""

    data: bytes
    methods: tuple[str, ...] = ()
    interim: bool = False  # wait for 100 (Continue) after these bytes
    take: int = 0


class Conversation(NamedTuple):
    steps: list[Step]
    end: str  # close, half-close (and read to the end), reset, or server: it closes first
    cut: int  # bytes of all that is to be sent after which the client resets; -1 for none
    pieces: int  # how many writes the bytes of a step are sent in


def get(path: str, more: str = "") -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: soak\r\n{more}\r\n".encode()


def post(path: str, body: bytes, more: str = "") -> bytes:
    return f"POST {path} HTTP/1.1\r\nHost: soak\r\nContent-Length: {len(body)}\r\n{more}\r\n".encode() + body


def chunked(path: str, body: bytes, size: int) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: soak\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    return head + b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def exchange(choose: random.Random) -> list[Step]:
    """One request that leaves the connection usable."""
    body = bytes(choose.randrange(256) for _ in range(8)) * choose.choice((0, 1, 10, 100, 3000))
    kind = choose.randrange(10)
    if kind == 0:
        return [Step(post("/echo", body), ("POST",))]
    if kind == 1:
        return [Step(chunked("/echo", body, choose.choice((1000, 7, 64))), ("POST",))] if len(body) < 2000 else []
    if kind == 2 and body:
        head = post("/echo", body, "Expect: 100-continue\r\n").removesuffix(body)
        return [Step(head, (), True), Step(body, ("POST",))]
    if kind == 3:
        return [Step(post("/unread", body), ("POST",))]
    if kind == 4:
        return [Step(get("/slow"), ("GET",))]
    if kind == 5:
        return [Step(b"HEAD /large HTTP/1.1\r\nHost: soak\r\n\r\n", ("HEAD",))]
    if kind == 6:
        return [Step(get("/bytewise"), ("GET",))]
    if kind == 7:
        return [Step(get("/large"), ("GET",))]
    if kind == 8:
        count = choose.randint(2, 12)
        return [Step(get("/") * count, ("GET",) * count)]
    return [Step(get("/"), ("GET",))]


def last_exchange(choose: random.Random) -> tuple[list[Step], str]:
    """What the conversation ends with, and who ends it."""
    kind = choose.randrange(12)
    if kind == 0:
        return [Step(get("/failing"), ("GET",))], "server"
    if kind == 1:
        return [Step(get("/failing-late"))], "server"
    if kind == 2:
        return [Step(choose.choice(BAD), ("GET",))], "server"
    if kind == 3:
        return [Step(get("/stream"), (), take=choose.randint(1, 3000))], choose.choice(("close", "reset"))
    if kind == 4:
        return [Step(get("/waiting"))], choose.choice(("close", "reset"))
    if kind == 5:
        return [Step(get("/", "Connection: close\r\n"), ("GET",))], "server"
    if kind == 6:
        return [Step(get("/large"))], "half-close"
    if kind == 7:
        return [Step(get("/large"), (), take=choose.randint(1, 5000))], "reset"
    if kind == 8:
        return [Step(post("/failing", b"x" * 100), ("POST",))], "server"
    return [], choose.choice(("close", "reset"))


def conversation(seed: int, number: int) -> Conversation:
    """The `number`-th conversation of a run with this seed."""
    choose = random.Random(f"{seed}.{number}")
    steps: list[Step] = []
    for _ in range(choose.choice((0, 1, 2, 8, 20))):
        steps += exchange(choose)
    last, end = last_exchange(choose)
    steps += last
    size = sum(len(step.data) for step in steps)
    cut = choose.randint(0, size) if choose.random() < 0.3 else -1
    return Conversation(steps, end, cut, choose.choice((1, 1, 1, 2, 5)))
