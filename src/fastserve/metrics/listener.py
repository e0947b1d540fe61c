"""A small HTTP server in a thread, for what operators ask: it responds while every worker is busy or hangs.

It serves GET and HEAD, one request a connection, CLIENTS at a time; others wait in the kernel's queue. A request may
have REQUEST_BYTES and take REQUEST_SECONDS. On a loopback address a browser's pages of other sites must not read it by
a name that they have pointed there: a Host that is neither an IP address nor localhost gets 421.
"""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import re
import selectors
import socket
import threading
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import NamedTuple

CLIENTS = 8
WAITING = 64  # in the kernel's queue
REQUEST_BYTES = 8192
REQUEST_SECONDS = 5.0
LAST_SECONDS = 1.0  # that stop() waits for responses under way, such as that to the request for the stop itself
END_SECONDS = 0.1  # that it waits at least for threads whose clients it has cut off

HOST = re.compile(r"(?:\[([^\[\]]*)\]|([^:\[\]]*))(?::[0-9]*)?")
logger = logging.getLogger("fastserve.error")


class Request(NamedTuple):
    """What a client asks for; names of headers are in lower case."""

    method: str
    path: str
    query: str
    headers: dict[str, str]


class Response(NamedTuple):
    status: int
    body: str | bytes = ""
    content_type: str = "text/plain; charset=utf-8"
    headers: tuple[tuple[str, str], ...] = ()


Endpoint = Callable[[Request], Response]


class Listener:
    """Serves endpoints, by their path, on bound sockets: start(), then stop(), which closes the sockets."""

    name = "metrics"  # of its threads, and in its log lines

    def __init__(self, sockets: list[socket.socket], endpoints: Mapping[str, Endpoint]) -> None:
        self.sockets = sockets
        self.endpoints = endpoints
        self._places = threading.Semaphore(CLIENTS)
        self._stopped = threading.Event()
        self._reader, self._writer = socket.socketpair()  # readable once it is stopped
        self._threads: list[threading.Thread] = []  # that accept
        self._clients: dict[threading.Thread, socket.socket] = {}  # by their threads, some of which have ended
        self._responding = 0  # threads
        self._responded = threading.Condition()

    def start(self) -> None:
        """Listen, each socket in a thread of its own. Raises OSError."""
        for sock in self.sockets:
            sock.listen(WAITING)
            sock.setblocking(False)  # another process may accept what is announced here
            thread = threading.Thread(target=self._accept, args=(sock,), name=f"fastserve {self.name}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._writer.close()
        until = time.monotonic() + LAST_SECONDS
        for _ in self._threads:
            self._places.release()  # one may wait for a place
        for thread in self._threads:
            thread.join()
        for sock in self.sockets:
            sock.close()
        self._reader.close()
        with self._responded:
            self._responded.wait_for(lambda: not self._responding, LAST_SECONDS)
        self._cut_off(max(until, time.monotonic() + END_SECONDS))

    def _cut_off(self, until: float) -> None:
        """End the threads that wait for clients: before 3.14, CPython may crash where one wakes up while it ends."""
        clients = list(self._clients.items())
        for _, client in clients:
            with contextlib.suppress(OSError):  # it has just been closed, or its client has gone
                client.shutdown(socket.SHUT_RDWR)
        for thread, _ in clients:
            thread.join(max(until - time.monotonic(), 0.0))

    def _accept(self, sock: socket.socket) -> None:
        strict = is_loopback(sock)
        selector = selectors.DefaultSelector()
        with selector:
            selector.register(sock, selectors.EVENT_READ)
            selector.register(self._reader, selectors.EVENT_READ)
            self._accept_all(sock, selector, strict)

    def _accept_all(self, sock: socket.socket, selector: selectors.BaseSelector, strict: bool) -> None:
        while not self._stopped.is_set():
            self._places.acquire()
            selector.select()
            if self._stopped.is_set():
                self._places.release()  # another thread may wait for one
                return
            try:
                client, _ = sock.accept()
                client.setblocking(True)
            except BlockingIOError:
                self._places.release()
                continue
            except OSError as exc:
                self._places.release()
                if self._stopped.is_set():
                    return
                logger.debug("The %s listener cannot accept: %s", self.name, exc)
                self._stopped.wait(0.1)
                continue
            arguments = (client, strict)
            thread = threading.Thread(target=self._serve, args=arguments, name=f"fastserve {self.name}", daemon=True)
            try:
                self._begin(thread, client)
            except RuntimeError:  # no thread can be started
                client.close()
                self._places.release()

    def _begin(self, thread: threading.Thread, client: socket.socket) -> None:
        with self._responded:
            for each in [each for each in self._clients if not each.is_alive()]:
                del self._clients[each]
            thread.start()
            self._clients[thread] = client

    def _serve(self, client: socket.socket, strict: bool) -> None:
        try:
            with client:
                until = time.monotonic() + REQUEST_SECONDS
                head = read_head(client, until)
                if head:
                    self._send(client, head, strict, until)
                    finish(client, until)
        except OSError:
            pass  # the client has gone, or is too slow
        finally:
            self._places.release()

    def _send(self, client: socket.socket, head: bytes, strict: bool, until: float) -> None:
        with self._responded:
            self._responding += 1
        try:
            response, with_body = self.respond_to(client, head, strict)
            client.settimeout(max(until - time.monotonic(), 0.1))
            client.sendall(encoded(response, with_body))
        finally:
            with self._responded:
                self._responding -= 1
                self._responded.notify_all()

    def respond_to(self, client: socket.socket, head: bytes, strict: bool) -> tuple[Response, bool]:
        """As respond(), for those that look at who asks."""
        return self.respond(head, strict)

    def respond(self, head: bytes, strict: bool) -> tuple[Response, bool]:
        """Return the response to the head of a request, and whether its body is sent."""
        request = parsed(head)
        if request is None:
            return Response(431 if len(head) > REQUEST_BYTES else 400, "Bad request\n"), True
        with_body = request.method != "HEAD"
        if strict and not is_own_name(request.headers.get("host", "")):
            return Response(421, "Use an IP address or localhost.\n"), with_body
        endpoint = self.endpoints.get(request.path)
        if endpoint is None:
            return Response(404, "Not found\n"), with_body
        if request.method not in ("GET", "HEAD"):
            return Response(405, "Only GET\n", headers=(("Allow", "GET, HEAD"),)), True
        try:
            return endpoint(request), with_body
        except Exception:
            logger.exception("Exception in the metrics listener, at %s", request.path)
            return Response(500, "Internal server error\n"), with_body


def read_head(client: socket.socket, until: float) -> bytes:
    """Return what comes up to the empty line, or somewhat more than REQUEST_BYTES; nothing where the client is late."""
    head = b""
    while b"\r\n\r\n" not in head and b"\n\n" not in head and len(head) <= REQUEST_BYTES:
        left = until - time.monotonic()
        if left <= 0:
            return b""
        client.settimeout(left)
        piece = client.recv(REQUEST_BYTES)
        if not piece:
            return b""
        head += piece
    return head


def parsed(head: bytes) -> Request | None:
    """Return the request of a complete head, None for a malformed one."""
    if len(head) > REQUEST_BYTES:
        return None
    line, *lines = head.decode("latin-1").replace("\r\n", "\n").partition("\n\n")[0].split("\n")
    parts = line.split(" ")
    if len(parts) != 3 or not parts[2].startswith("HTTP/1.") or not parts[1].startswith("/"):
        return None
    headers = {}
    for each in lines:
        name, colon, value = each.partition(":")
        if not colon or not name or name != name.strip():
            return None
        headers[name.lower()] = value.strip()
    path, _, query = parts[1].partition("?")
    return Request(parts[0], path, query, headers)


def encoded(response: Response, with_body: bool) -> bytes:
    body = response.body.encode() if isinstance(response.body, str) else response.body
    lines = [
        f"HTTP/1.1 {response.status} {HTTPStatus(response.status).phrase}",
        f"Content-Type: {response.content_type}",
        f"Content-Length: {len(body)}",
        "Cache-Control: no-store",
        "X-Content-Type-Options: nosniff",
        *(f"{name}: {value}" for name, value in response.headers),
        "Connection: close",
    ]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (body if with_body else b"")


def finish(client: socket.socket, until: float) -> None:
    """End the connection so that a client that still sends gets its response, not a reset."""
    client.shutdown(socket.SHUT_WR)
    while time.monotonic() < until:
        client.settimeout(max(min(until - time.monotonic(), 1.0), 0.01))
        if not client.recv(REQUEST_BYTES):
            return


def is_loopback(sock: socket.socket) -> bool:
    if sock.family not in (socket.AF_INET, socket.AF_INET6):
        return False
    return ipaddress.ip_address(sock.getsockname()[0].partition("%")[0]).is_loopback


def is_own_name(host: str) -> bool:
    """Return whether a Host names an IP address or localhost."""
    found = HOST.fullmatch(host)
    if found is None:
        return False
    literal, name = found.groups()
    try:
        if literal is not None:
            ipaddress.IPv6Address(literal)
        elif name.lower() != "localhost":
            ipaddress.IPv4Address(name)
    except ValueError:
        return False
    return True
