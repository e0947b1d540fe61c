"""Many connections of one client, none of which blocks."""

from __future__ import annotations

import selectors
import time
from collections.abc import Callable, Iterator

from load import LoadedServer, until

ANSWER_SECONDS = 2.0  # in which a server under load answers someone else
HELLO = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


class Crowd:
    """So many connections to a server; a context that closes them."""

    def __init__(self, server: LoadedServer, count: int) -> None:
        self.server = server
        self.sockets = [server.connect() for _ in range(count)]
        for sock in self.sockets:
            sock.setblocking(False)

    def __enter__(self) -> Crowd:
        return self

    def __exit__(self, *_: object) -> None:
        for sock in self.sockets:
            sock.close()

    def send(self, data: bytes) -> None:
        """Send this on every connection; it is short enough for the kernel to take it."""
        for sock in self.sockets:
            assert sock.send(data) == len(data)

    def pour(self, head: bytes) -> list[int]:
        """Send `head` and then zeros on every connection, until none takes any more for half a second; return sizes."""
        self.send(head)
        sent = [0] * len(self.sockets)
        piece = bytes(1 << 16)
        with selectors.DefaultSelector() as selector:
            for index, sock in enumerate(self.sockets):
                selector.register(sock, selectors.EVENT_WRITE, index)
            while ready := selector.select(0.5):
                for key, _ in ready:
                    try:
                        sent[key.data] += self.sockets[key.data].send(piece)
                    except BlockingIOError:
                        continue
                    assert sent[key.data] < 1 << 26, "the server takes everything"
        return sent

    def read(self, seconds: float, enough: Callable[[bytes], bool]) -> Iterator[bytes]:
        """Yield what each connection has received, once that is enough or its end; AssertionError after so long."""
        deadline = time.monotonic() + seconds
        for sock in self.sockets:
            data = b""
            while not enough(data):
                sock.settimeout(max(deadline - time.monotonic(), 0.001))
                try:
                    chunk = sock.recv(65536)
                except ConnectionResetError:
                    break
                except TimeoutError:
                    raise AssertionError(f"only {data!r} after {seconds} s") from None
                if not chunk:
                    break
                data += chunk
            yield data


def assert_answers(server: LoadedServer) -> None:
    """Someone else is served in time."""
    began = time.monotonic()
    assert server.ask(HELLO.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")) == b"ok"
    assert time.monotonic() - began < ANSWER_SECONDS


def settled(server: LoadedServer, count: Callable[[], int], what: str) -> int:
    """Return a count that does not change any more."""
    before = [count()]

    def same() -> bool:
        now = [count() for _ in range(5)]
        done = all(each == before[0] for each in now)
        before[0] = now[-1]
        return done

    until(same, what)
    return before[0]
