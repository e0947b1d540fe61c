"""Many connections of one client, none of which blocks."""

from __future__ import annotations

import contextlib
import os
import resource
import selectors
import socket
import time
from collections.abc import Callable, Iterator

from load import LoadedServer, until
from protocol.wire import Wire

SPARE = 256  # descriptors that the process has for other things
PROMPT = 0.05  # seconds of the server's processor time until another client has its response
HELLO = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
CLOCK = b"GET /clock HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


class Crowd:
    """So many connections to a server; a context that closes them."""

    def __init__(self, server: LoadedServer, count: int, receive_buffer: int = 0) -> None:
        self.limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        needed = len(os.listdir("/proc/self/fd")) + count + SPARE  # noqa: PTH208
        if self.limits[0] < needed:
            resource.setrlimit(resource.RLIMIT_NOFILE, (needed, self.limits[1]))
        self.sockets: list[socket.socket] = []
        for _ in range(count):
            self.sockets.append(server.connect(receive_buffer=receive_buffer))
            self.sockets[-1].setblocking(False)

    def __enter__(self) -> Crowd:
        return self

    def __exit__(self, *_: object) -> None:
        for sock in self.sockets:
            sock.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, self.limits)

    def send(self, data: bytes) -> None:
        """Send this on every connection; it is short enough for the kernel to take it."""
        for sock in self.sockets:
            assert sock.send(data) == len(data)

    def pour(self, head: bytes, piece: bytes = bytes(1 << 16)) -> list[int]:
        """Send `head` and then pieces on each connection until none takes more for half a second; return sizes."""
        self.send(head)
        sent = [0] * len(self.sockets)
        left = [piece] * len(self.sockets)
        with selectors.DefaultSelector() as selector:
            for index, sock in enumerate(self.sockets):
                selector.register(sock, selectors.EVENT_WRITE, index)
            while ready := selector.select(0.5):
                for key, _ in ready:
                    try:
                        size = self.sockets[key.data].send(left[key.data])
                    except BlockingIOError:
                        continue
                    left[key.data] = left[key.data][size:] or piece
                    sent[key.data] += size
                    assert sent[key.data] < 1 << 26, "the server takes everything"
        return sent

    def dribble(self, byte: bytes, seconds: float) -> list[bytes]:
        """Send a byte again and again until the server closes each connection; return what it sent."""
        found = dict.fromkeys(self.sockets, b"")
        deadline = time.monotonic() + seconds
        with selectors.DefaultSelector() as selector:
            for sock in self.sockets:
                selector.register(sock, selectors.EVENT_READ, sock)
            left = set(self.sockets)
            while left:
                assert time.monotonic() < deadline, f"{len(left)} connections are open after {seconds} s"
                for key, _ in selector.select(0.02):
                    sock = key.data
                    with contextlib.suppress(ConnectionResetError):
                        if data := sock.recv(65536):
                            found[sock] += data
                            continue
                    selector.unregister(sock)
                    left.remove(sock)
                for each in left:
                    with contextlib.suppress(ConnectionResetError, BrokenPipeError):
                        each.send(byte)
        return list(found.values())

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


def answer_seconds(server: LoadedServer) -> float:
    """Ask as somebody else, and return how long the response took."""
    began = time.monotonic()
    assert server.ask(HELLO.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")) == b"ok"
    return time.monotonic() - began


def processor_seconds(server: LoadedServer, first: Callable[[], object] = lambda: None) -> float:
    """Ask as somebody else, and return how much processor time the server took from then until the response had left.

    Unlike the time that passes, that does not depend on what else the machine does. The server is stopped while the
    request comes (`first` is called before that), so none of its time is missed.
    """
    with contextlib.ExitStack() as stack:
        with server.stopped():
            first()
            wire = stack.enter_context(Wire(server.connect()))
            wire.send(CLOCK)
            began = server.processor_time()
        response = wire.response()
    assert response.status == 200, response
    return float(response.body) - began


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
