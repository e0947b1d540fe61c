"""That what is counted is what clients did, over every protocol, with the access log off."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from functools import partial

import httpx
import pytest
import support
from bridge import Bridge
from metrics.conftest import Serve
from metrics.scraping import Key, Scrape, Served
from tls.pki import Pki
from websockets.sync.client import connect as connect_websocket

GET = b"GET /%b HTTP/1.1\r\nHost: test\r\n\r\n"


def statuses(client: socket.socket, count: int) -> list[int]:
    """Read the status lines of so many responses with bodies of two bytes."""
    received = b""
    while received.count(b"HTTP/1.1 ") < count or not received.endswith((b"ok", b"\r\n\r\n")):
        piece = client.recv(65536)
        assert piece, received
        received += piece
    return [int(each[:3]) for each in received.split(b"HTTP/1.1 ")[1:]]


@pytest.mark.parametrize("http", ["auto", "h11"])
def test_http1(served: Serve, http: str) -> None:
    """Pipelined and refused requests, applications that fail, clients that leave: each is counted once."""
    server = served("--no-access-log", "--http", http)
    with server.connect() as client:
        client.sendall(GET % b"200" * 5 + GET % b"404")
        assert Counter(statuses(client, 6)) == {200: 5, 404: 1}
        client.sendall(b"POST /201 HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\n\r\nab")
        assert statuses(client, 1) == [201]
        found = server.until(lambda found: found.value("fastserve_connections", state="idle") == 1)
        assert found.value("fastserve_connections") == 1
    for path in ("raise", "missing", "half"):
        server.command.get(f"/{path}")
    for request, status in (
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: x\r\n\r\n", 501),
        (b"NONSENSE / HTTP/1.1\r\nHost: a\r\n\r\n", 501),
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n", 400),
        (b"GET /" + b"x" * 20000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
    ):
        with server.connect() as client:
            client.sendall(request)
            assert f" {status} " in support.read_all(client).decode().partition("\r\n")[0]
    with server.connect() as client:
        client.sendall(GET % b"wait")
        assert b" 200 " in support.read_until(client)
        found = server.until(lambda found: found.value("http_server_active_requests") == 1)
        assert found.value("fastserve_connections", state="active") == 1
    found = server.until(lambda found: found.requests(499) == 1 and found.value("fastserve_connections") == 0)
    labels = {"http_request_method": "GET", "network_protocol_version": "1.1", "url_scheme": "http"}
    assert found.requests(200, **labels) == 6  # one of them broke off
    assert [found.requests(status, **labels) for status in (404, 500, 499)] == [1, 2, 1]
    assert found.requests(201, http_request_method="POST") == 1
    assert found.requests() == 11
    refused = {reason: found.value("fastserve_refused_requests_total", reason=reason) for reason in REASONS}
    assert refused == {"host": 1, "framing": 2, "method": 1, "limit": 1, "syntax": 0}
    errors = [found.value("fastserve_application_errors_total", stage=each) for each in ("before", "after", "missing")]
    assert errors == [1, 1, 1]
    assert found.value("fastserve_request_wait_seconds_count") == 11
    assert found.value("fastserve_connections_accepted_total") == 10
    assert found.value("fastserve_connections_closed_total") == 10
    assert found.value("fastserve_connections_closed_total", reason="error") >= 5
    assert found.value("http_server_active_requests") == 0


REASONS = ("host", "framing", "method", "limit", "syntax")


@pytest.mark.parametrize("http", ["auto", "h11"])
def test_why_connections_are_closed(served: Serve, http: str) -> None:
    times = ("--timeout-keep-alive", "0.1", "--timeout-request-head", "0.1", "--timeout-request-body", "0.1")
    server = served("--no-access-log", "--http", http, *times)
    for request in (GET % b"200", b"GET / HT", b"POST /200 HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nab"):
        with server.connect() as client:
            client.sendall(request)
            support.read_all(client)
    found = server.until(lambda found: found.value("fastserve_connections_closed_total") == 3)
    reasons = ("keep_alive", "head", "body")
    assert [found.value("fastserve_connections_closed_total", reason=each) for each in reasons] == [1, 1, 1]
    assert found.value("fastserve_refused_requests_total", status="408", reason="timeout") == 1
    assert found.requests(499) == 1  # whose body did not come


def test_bytes(served: Serve) -> None:
    """All that is sent and received on plain connections."""
    server = served("--no-access-log")
    request = b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"
    response = server.command.request(request)
    found = server.until(lambda found: found.value("fastserve_connections_closed_total") == 1)
    assert found.value("fastserve_received_bytes_total") == len(request)
    assert found.value("fastserve_sent_bytes_total") == len(response)


def test_http2(served: Serve) -> None:
    server = served("--no-access-log")
    with httpx.Client(http1=False, http2=True, base_url=server.command.url, timeout=support.PATIENCE) as client:
        for path in ("/200", "/200", "/503", "/raise", "/missing"):
            client.get(path)
        client.post("/201", content=b"x" * 1000)
        server.until(lambda found: found.value("fastserve_connections", state="idle") == 1)
    found = server.until(lambda found: found.value("fastserve_connections") == 0)
    assert found.requests(network_protocol_version="2") == found.requests() == 6
    assert [found.requests(status) for status in (200, 503, 500, 201)] == [2, 1, 2, 1]
    assert found.value("fastserve_application_errors_total") == 2


@pytest.mark.parametrize("implementation", ["auto", "websockets"])
def test_websocket(served: Serve, implementation: str) -> None:
    server = served("--no-access-log", "--ws", implementation)
    check_websocket(server, server.command.port, 101)


def test_websocket_over_http2(served: Serve) -> None:
    server = served("--no-access-log")
    bridge = Bridge(server.command.port).start()
    try:
        check_websocket(server, bridge.port, 200)
    finally:
        bridge.stop()


def check_websocket(server: Served, port: int, status: int) -> None:
    url = f"ws://127.0.0.1:{port}/"
    with connect_websocket(url, compression=None) as client:
        for text in ("hello", "é"):
            client.send(text)
            assert client.recv() == text
        assert server.scrape().value("fastserve_connections", state="websocket") == 1
        client.close(1001)
    found = server.until(lambda found: found.value("fastserve_connections") == 0)
    for direction in ("received", "sent"):
        assert found.value("fastserve_websocket_messages_total", direction=direction) == 2
        assert found.value("fastserve_websocket_bytes_total", direction=direction) == 7
    assert found.value("fastserve_websocket_handshakes_total", result="accepted") == 1
    assert found.value("fastserve_websocket_closed_total", code="1001") == 1
    assert found.value("fastserve_websocket_closed_total") == 1
    assert found.requests(status) == found.requests() == 1


def test_wsgi(served: Serve) -> None:
    server = served("--no-access-log", "--interface", "wsgi", app="wsgi")
    for _ in range(3):
        server.command.get("/")
    found = server.until(lambda found: found.value("fastserve_wsgi_threads") > 0 and found.requests() == 3)
    assert found.requests(200) == found.requests() == 3


def test_proxy_wait(served: Serve) -> None:
    """What a trusted proxy says, unless it cannot be."""
    import time

    server = served("--no-access-log")
    for value in (f"t={time.time() - 1:.3f}", f"{(time.time() - 1) * 1000:.0f}", f"t={(time.time() - 1) * 1e6:.0f}"):
        server.command.get("/", f"X-Request-Start: {value}\r\n")
    for value in ("t=1", "x", f"{time.time() + 100:.0f}", "nan"):
        server.command.get("/", f"X-Queue-Start: {value}\r\n")
    found = server.scrape()
    assert found.value("fastserve_proxy_wait_seconds_count") == 3
    assert 3 <= found.value("fastserve_proxy_wait_seconds_sum") < 3 + support.PATIENCE
    server = served("--no-access-log", "--forwarded-allow-ips", "10.0.0.1")
    server.command.get("/", f"X-Request-Start: t={time.time():.3f}\r\n")
    assert server.scrape().value("fastserve_proxy_wait_seconds_count") == 0


def test_many_series(served: Serve) -> None:
    """Statuses and methods beyond the room for series go to one, and nothing is lost."""
    server = served("--no-access-log")
    methods = [b"GET", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"TRACE", b"PROPFIND", b"MKCOL", b"REPORT"]
    sent = 0
    with server.connect() as client:
        for status in range(200, 900):
            if status in (204, 205, 304):
                continue
            client.sendall(b"%b /%d HTTP/1.1\r\nHost: test\r\n\r\n" % (methods[status % len(methods)], status))
            statuses(client, 1)
            sent += 1
    found = server.until(lambda found: found.requests() == sent)
    assert found.requests("_OTHER") == sent - 63
    exact = {key for key in found.samples if key[0] == "http_server_request_duration_seconds_count"}
    assert len(exact) == 64


@contextlib.contextmanager
def clients(server: Served, count: int) -> Iterator[Counter[int]]:
    """Have clients send one request after the other; give the statuses that have come, complete at the end."""
    seen: Counter[int] = Counter()
    stop = threading.Event()
    lock = threading.Lock()

    def go() -> None:
        while not stop.is_set():
            with contextlib.suppress(OSError), server.connect() as client:
                while not stop.is_set():
                    client.sendall(GET % b"200")
                    data = b""
                    while not data.endswith(b"ok") and (piece := client.recv(65536)):
                        data += piece
                    if not data:
                        break
                    with lock:
                        seen[int(data[9:12])] += 1

    threads = [threading.Thread(target=go, daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield seen
    finally:
        stop.set()
        for thread in threads:
            thread.join(support.PATIENCE)


def test_sums_while_workers_come_and_go(served: Serve) -> None:
    """Workers are killed, replaced, added and removed under load: no counter falls, and no request is missed."""
    server = served("--no-access-log", "--workers", "3")
    server.until(lambda found: found.value("fastserve_workers", state="ready") == 3)
    before: dict[Key, float] = {}
    with clients(server, 4) as seen:
        for step in range(12):
            kind = step % 4
            starts = server.scrape().value("fastserve_worker_starts_total")
            if kind == 0:
                pid = int(server.command.get("/pid").rpartition(b"\r\n\r\n")[2] or 0)
                if pid:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
            elif kind == 1:
                server.command.send_signal(signal.SIGTTIN)
            elif kind == 2:
                server.command.send_signal(signal.SIGTTOU)
            else:
                server.command.send_signal(signal.SIGHUP)
            if kind != 2:
                server.until(partial(has_started, starts))
            for _ in range(5):
                found = server.scrape()
                assert_no_fall(before, found)
                before = dict(found.counters())
    found = server.until(lambda found: found.value("http_server_active_requests") == 0)
    assert_no_fall(before, found)
    # A worker that is killed may have counted a response that its client did not get, one a client and kill at most.
    pids = 3
    assert sum(seen.values()) + pids <= found.requests() <= sum(seen.values()) + pids + 3 * 5
    ends = [found.value("fastserve_worker_ends_total", reason=each) for each in ("signal", "replaced")]
    assert sum(ends) >= 3  # one that was killed may have been leaving


def has_started(starts: float, found: Scrape) -> bool:
    return found.value("fastserve_worker_starts_total") > starts


def assert_no_fall(before: dict[Key, float], now: Scrape) -> None:
    counters = now.counters()
    for key, value in before.items():
        assert counters[key] >= value, key


def test_tls(served: Serve, tmp_path_factory: pytest.TempPathFactory) -> None:
    pki = Pki(tmp_path_factory.mktemp("pki"))
    server = served("--no-access-log", *pki.arguments)
    with pki.trusting().wrap_socket(server.connect(), server_hostname="localhost") as client:
        client.sendall(GET % b"200")
        assert client.recv(65536)
    with server.connect() as client:
        client.sendall(b"no TLS at all\r\n\r\n")
        support.read_all(client)
    found = server.until(lambda found: found.value("fastserve_tls_handshakes_total", result="failed") == 1)
    assert found.value("fastserve_tls_handshakes_total", result="ok") == 1
    assert found.requests(200, url_scheme="https") == 1
    assert found.value("fastserve_tls_certificate_not_after_seconds") > 1e9
