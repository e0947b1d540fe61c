"""Serves bench/exchanges.py over sockets, so that a build that counts sees what servers do most. setup.py runs this.

It needs fastserve, bench and what fastserve requires on the path, listens on 127.0.0.1, and ends by itself. Exit code 1
after a wrong response.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
from collections.abc import Iterator
from typing import Any, BinaryIO

from bench.exchanges import EXCHANGES, UPGRADE, Exchange
from fastserve import Config, Server

_SECONDS = 30.0  # that a response may take
# Connections at a time and exchanges on each: one alone is served otherwise than one of several.
_CROWDS = ((1, 300), (32, 20))


class Wrong(Exception):
    """A response is not what the exchange asks for."""


def main() -> int:
    for exchange in EXCHANGES:
        try:
            served(exchange)
        except Exception as error:
            print(f"{exchange.name}: {error!r}", file=sys.stderr)
            return 1
        print(exchange.name, flush=True)
    return 0


def served(exchange: Exchange) -> None:
    """Serve this kind of exchange to clients. Raises what keeps one of them from its responses."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listening:
        server = Server(_config(exchange))
        errors: list[Exception] = []
        clients = threading.Thread(target=_clients, args=(exchange, listening.getsockname(), server, errors))
        clients.start()
        server.run(sockets=[listening])
        clients.join()
    for error in errors:
        raise error


def _config(exchange: Exchange) -> Config:
    options: dict[str, Any] = {**exchange.options, **({"wsgi_threads": 0} if exchange.inline else {})}
    return Config(
        exchange.app,
        interface="wsgi" if exchange.wsgi else "asgi3",
        lifespan="off",
        log_level="error",
        access_log=exchange.access_log,
        access_log_format=exchange.log_format,
        access_log_file=os.devnull,
        **options,
    )


def _clients(exchange: Exchange, address: tuple[str, int], server: Server, errors: list[Exception]) -> None:
    try:
        for connections, rounds in _CROWDS:
            _crowd(exchange, address, connections, rounds)
    except Exception as error:
        errors.append(error)
    finally:
        server.should_exit = True


def _crowd(exchange: Exchange, address: tuple[str, int], connections: int, rounds: int) -> None:
    with contextlib.ExitStack() as stack:
        if not exchange.fresh:
            clients = [stack.enter_context(_connected(exchange, address)) for _ in range(connections)]
        for number in range(rounds):
            with contextlib.ExitStack() as once:
                if exchange.fresh:
                    clients = [once.enter_context(_connected(exchange, address)) for _ in range(connections)]
                for client, _ in clients:
                    for read in exchange.reads_of(number):
                        client.sendall(read)
                for _, answers in clients:
                    _receive(exchange, answers)


@contextlib.contextmanager
def _connected(exchange: Exchange, address: tuple[str, int]) -> Iterator[tuple[socket.socket, BinaryIO]]:
    """Yield a connection, after the handshake if there is one, and what it is read by."""
    with socket.create_connection(address, _SECONDS) as client, client.makefile("rb") as answers:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if exchange.websocket:
            client.sendall(UPGRADE)
            _head(answers, b"101")
        yield client, answers


def _receive(exchange: Exchange, answers: BinaryIO) -> None:
    missing = exchange.answers
    while missing:
        if exchange.websocket:
            _message(answers)
        elif exchange.http2 and not _frame(answers):
            continue
        elif not exchange.http2:
            _response(answers)
        missing -= 1


def _head(answers: BinaryIO, status: bytes) -> bytes:
    line = answers.readline()
    if not line.startswith(b"HTTP/1.1 " + status):
        raise Wrong(f"the response begins with {line!r}")
    fields = []
    while (line := answers.readline()) not in (b"\r\n", b""):
        fields.append(line.lower())
    return b"".join(fields)


def _response(answers: BinaryIO) -> None:
    head = _head(answers, b"200")
    _, announced, length = head.partition(b"content-length: ")
    if announced:
        _exactly(answers, int(length.partition(b"\r\n")[0]))
        return
    size = -1
    while size:
        size = int(answers.readline() or b"0", 16)
        _exactly(answers, size + 2)


def _message(answers: BinaryIO) -> None:
    size = _exactly(answers, 2)[1]
    _exactly(answers, size if size < 126 else int.from_bytes(_exactly(answers, 2), "big"))


def _frame(answers: BinaryIO) -> bool:
    """Read a frame of HTTP/2; return whether it ends a stream."""
    head = _exactly(answers, 9)
    _exactly(answers, int.from_bytes(head[:3], "big"))
    if head[3] in (3, 7):
        raise Wrong("a stream was reset, or the connection is closed")
    return head[3] in (0, 1) and bool(head[4] & 1)


def _exactly(answers: BinaryIO, size: int) -> bytes:
    data = answers.read(size)
    if len(data) != size:
        raise Wrong("a response is not complete")
    return data


if __name__ == "__main__":
    sys.exit(main())
