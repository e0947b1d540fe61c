"""What the options of metrics and health change, seen from outside."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
import support
from core.responses import Client
from metrics.conftest import Serve
from metrics.scraping import Scrape
from support import StartCommand

TWO = ("--workers", "2")


@pytest.mark.parametrize("args", [(), TWO, ("--reload",)], ids=["single", "workers", "reload"])
def test_metrics_bind(served: Serve, args: tuple[str, ...]) -> None:
    """The listener has three paths, whoever serves the application."""
    server = served(*args)
    assert server.command.get("/").endswith(b"ok")
    server.until(lambda found: found.requests(200) == 1)
    assert server.fetch("/livez") == (200, "ok\n")
    until(lambda: server.fetch("/readyz")[1], lambda text: text == "ok\n")
    assert server.fetch("/other")[0] == 404
    assert server.scrape().value("fastserve_workers", state="ready") >= 1


def test_metrics_bind_to_a_unix_socket(command: StartCommand, tmp_path: Path) -> None:
    path = tmp_path / "metrics"
    server = command("metrics_app:app", "--app-dir", support.APPS, "--port", "0", "--metrics-bind", f"unix:{path}")
    server.wait_line(r"Metrics on unix socket")
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        client.sendall(b"GET /livez HTTP/1.1\r\nHost: any.thing\r\n\r\n")
        assert support.read_all(client).endswith(b"ok\n")
    assert stat.S_ISSOCK(path.stat().st_mode)
    server.stop()
    assert not path.exists()


@pytest.mark.parametrize("args", [(), TWO], ids=["single", "workers"])
def test_metrics_bind_to_a_taken_address(command: StartCommand, args: tuple[str, ...]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        bind = f"127.0.0.1:{taken.getsockname()[1]}"
        server = command("metrics_app:app", "--app-dir", support.APPS, "--port", "0", "--metrics-bind", bind, *args)
        assert server.wait() == 3
    assert "address already in use" in server.output


def test_metrics_routes(served: Serve) -> None:
    """Requests are counted by the route that is in the scope, and by the class of their status."""
    server = served("--metrics-routes", "--health", "/healthz")
    for path in ("/items/1", "/items/2", "/404", "/raise", "/healthz"):
        server.command.get(path)
    found = server.until(lambda found: found.value("fastserve_route_requests_total") == 4)
    assert found.value("fastserve_route_requests_total", route="/items/{id}", method="GET", code="2xx") == 2
    assert found.value("fastserve_route_requests_total", route="unmatched", code="4xx") == 1
    assert found.value("fastserve_route_requests_total", route="unmatched", code="5xx") == 1
    assert found.value("fastserve_route_duration_seconds_count", route="/items/{id}") == 2
    assert not served().scrape().has("fastserve_route_requests_total")


def test_metrics_per_worker(served: Serve) -> None:
    server = served("--metrics-per-worker", *TWO)
    for _ in range(4):
        server.command.get("/")
    found = server.until(lambda found: found.requests(200) == 4)
    assert sum(found.requests(200, worker=place) for place in "01") == 4
    by_worker = [found.value("fastserve_worker_requests_total", worker=place) for place in "01"]
    assert by_worker == [found.requests(200, worker=place) for place in "01"]


@pytest.mark.parametrize("args", [(), ("--http", "h11")], ids=["core", "h11"])
def test_health(served: Serve, args: tuple[str, ...]) -> None:
    """It is 200 until the server is told to stop, and 503 from then on; not in the access log."""
    server = served("--health", "/healthz", "--shutdown-delay", "60", *args)
    with server.connect() as client:
        wire = Client(client)
        for method in ("GET", "HEAD"):
            wire.send(f"{method} /healthz HTTP/1.1\r\nHost: test\r\n\r\n".encode())
            response = wire.read(method)
            assert (response.status, response.get(b"content-length")) == (200, b"2")
        assert wire.ask(b"POST /healthz HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n").body == b"ok"
        client.sendall(
            b"GET /healthz HTTP/1.1\r\nHost: test\r\nContent-Length: 1\r\n\r\nxGET /404 HTTP/1.1\r\nHost: a\r\n\r\n"
        )
        assert [wire.read().status for _ in range(2)] == [200, 404]
    server.command.send_signal(signal.SIGTERM)
    server.command.wait_line("Serving on for")
    drained = server.command.get("/healthz")
    assert drained.startswith(b"HTTP/1.1 503 "), drained
    assert drained.endswith(b"draining")
    assert server.fetch("/livez")[0] == 200
    assert server.fetch("/readyz")[0] == 503
    server.command.send_signal(signal.SIGTERM)
    server.command.wait()
    server.command.wait_line(r'"POST /healthz HTTP/1\.1" 200')
    assert not [line for line in server.command.lines if '"GET /healthz' in line]


def test_health_over_http2(served: Serve) -> None:
    server = served("--health", "/healthz")
    with httpx.Client(http1=False, http2=True, base_url=server.command.url, timeout=support.PATIENCE) as client:
        for method in ("GET", "HEAD"):
            response = client.request(method, "/healthz")
            assert (response.status_code, response.headers["content-length"]) == (200, "2")
        assert client.get("/healthz").text == "ok"
        assert client.post("/healthz").text == "ok"  # the application's
    server.until(lambda found: found.requests(200, network_protocol_version="2") == 4)
    server.command.wait_line(r'"POST /healthz HTTP/2" 200')
    assert not [line for line in server.command.lines if '"GET /healthz' in line]


OTHERS = ("--http", "uvicorn.protocols.http.h11_impl:H11Protocol")


def test_health_with_a_class_of_others(served: Serve) -> None:
    """It passes --limit-requests and --allowed-hosts by. The class writes its own access log."""
    limits = ("--limit-requests", "1", "--queue", "0", "--allowed-hosts", "test", "--shutdown-delay", "60")
    server = served("--health", "/healthz", *OTHERS, *limits)
    with server.connect() as busy:
        busy.sendall(b"GET /wait HTTP/1.1\r\nHost: test\r\n\r\n")
        busy.recv(65536)
        for method, body in (("GET", b"ok"), ("HEAD", b"")):
            with server.connect() as client:
                client.sendall(f"{method} /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
                head, _, rest = support.read_all(client).partition(b"\r\n\r\n")
                assert (head[:13], rest) == (b"HTTP/1.1 200 ", body)
                assert b"content-length: 2" in head.lower()
        with server.connect() as client:
            client.sendall(b"POST /healthz HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n")
            assert support.read_until(client).startswith(b"HTTP/1.1 503 ")  # the application's
        server.command.send_signal(signal.SIGTERM)
        server.command.wait_line("Serving on for")
        response = server.command.get("/healthz")
        assert response.startswith(b"HTTP/1.1 503 ") and response.endswith(b"draining")
        server.command.send_signal(signal.SIGTERM)


def test_health_with_a_class_of_others_below_a_root_path(served: Serve) -> None:
    server = served("--health", "/healthz", "--root-path", "/api", *OTHERS)
    assert b"cache-control: no-store\r\n" in server.command.get("/healthz")  # not the application's


def test_health_with_workers(served: Serve) -> None:
    server = served("--health", "/healthz", "--shutdown-delay", "60", *TWO)
    server.until(lambda found: found.value("fastserve_workers", state="ready") == 2)
    assert server.command.get("/healthz").endswith(b"ok")
    server.command.send_signal(signal.SIGTERM)
    server.command.wait_line("Serving on for", count=2)
    assert server.command.get("/healthz").endswith(b"draining")
    server.command.send_signal(signal.SIGTERM)
    server.command.wait()


def test_health_stays_green_while_workers_are_replaced(served: Serve) -> None:
    """A probe's open connection to a worker that leaves is not told of a stop: there is none."""
    server = served("--health", "/healthz", "--workers", "2", "--timeout-keep-alive", "60")
    connections = [Client(server.connect()) for _ in range(4)]
    for client in connections:
        assert client.ask(b"GET /healthz HTTP/1.1\r\nHost: test\r\n\r\n").body == b"ok"
    server.command.send_signal(signal.SIGHUP)
    server.command.wait_line("takes over", count=2)
    for client in connections:
        assert client.ask(b"GET /healthz HTTP/1.1\r\nHost: test\r\n\r\n").status == 200
        client.sock.close()
    server.until(lambda found: found.value("fastserve_reloads_total", result="ok") == 1)


def test_health_needs_no_place(served: Serve) -> None:
    """It passes --limit-concurrency by."""
    server = served("--health", "/healthz", "--limit-concurrency", "2")
    with server.connect() as busy:
        busy.sendall(b"GET /wait HTTP/1.1\r\nHost: test\r\n\r\n")
        busy.recv(65536)
        assert server.command.get("/").startswith(b"HTTP/1.1 503 ")
        assert server.command.get("/healthz").startswith(b"HTTP/1.1 200 ")
        refused = {"status": "503", "reason": "limit"}
        server.until(lambda found: found.value("fastserve_refused_requests_total", **refused) == 1)


def test_shutdown_green(served: Serve) -> None:
    server = served("--health", "/healthz", "--shutdown-green", "60", "--shutdown-delay", "60")
    server.command.send_signal(signal.SIGTERM)
    server.command.wait_line("before health is red")
    assert server.command.get("/healthz").endswith(b"ok")
    server.command.send_signal(signal.SIGTERM)  # ends both
    server.command.wait()
    server = served("--health", "/healthz", "--shutdown-green", "0.3", "--shutdown-delay", "60")
    server.command.send_signal(signal.SIGTERM)
    server.command.wait_line("Serving on for 60")
    assert server.command.get("/healthz").endswith(b"draining")


def test_a_worker_that_hangs_is_still_counted(served: Serve) -> None:
    """The listener responds at once, and liveness is the parent's; the health of the worker itself does not respond."""
    server = served("--workers", "1", "--workers-lifetime", "1000", "--health", "/healthz")
    server.command.get("/")
    with server.connect() as client:
        client.sendall(b"GET /spin HTTP/1.1\r\nHost: test\r\n\r\n")
        found = server.until(lambda found: found.value("http_server_active_requests") == 1)
        assert found.requests(200) == 1
        assert server.fetch("/livez") == (200, "ok\n")
        with server.connect() as probe:
            probe.settimeout(0.5)
            probe.sendall(b"GET /healthz HTTP/1.1\r\nHost: test\r\n\r\n")
            with pytest.raises(TimeoutError):
                probe.recv(65536)
        # It grows while the loop stands still, not only once it goes on.
        server.until(lambda found: found.value("fastserve_worker_lag_seconds", worker="0") > 0.5)
        assert json.loads(server.fetch("/status.json")[1])["workers"][0]["lag"] > 0.5
        pid = int(server.command.wait_line(r"Started server process \[(\d+)\]")[1])
        os.kill(pid, signal.SIGKILL)
        server.until(lambda found: found.value("fastserve_worker_ends_total", reason="signal") == 1)


def test_log_blocked(tmp_path: Path) -> None:
    """A log that nobody reads stops the loop, and that shows once it goes on."""
    read, write = os.pipe()
    errors = tmp_path / "errors"
    arguments = ["-m", "fastserve", "metrics_app:app", "--app-dir", support.APPS, "--port", "0"]
    arguments += ["--metrics-bind", "127.0.0.1:0"]
    with errors.open("wb") as file:
        process = subprocess.Popen([sys.executable, *arguments], stdout=write, stderr=file)
    os.close(write)
    try:
        text = until(errors.read_text, lambda text: "running on" in text)
        port = int(text.partition("running on http://127.0.0.1:")[2].partition(" ")[0])
        metrics = text.partition("Metrics on ")[2].partition("\n")[0]
        sender = threading.Thread(target=send_long_paths, args=(port,), daemon=True)
        sender.start()

        def scrape() -> Scrape:
            with urllib.request.urlopen(metrics, timeout=support.PATIENCE) as response:
                return Scrape(response.read().decode())

        seen = [-1.0, 0.0]
        while seen[-1] != seen[-2] or not seen[-1]:  # until nothing moves
            seen.append(scrape().requests())
            sender.join(0.3)
        assert sender.is_alive()
        before = scrape().value("fastserve_log_blocked_seconds_total")
        reader = threading.Thread(target=read_all, args=(read,), daemon=True)
        reader.start()
        sender.join(support.PATIENCE)
        assert scrape().value("fastserve_log_blocked_seconds_total") > before + 0.2
    finally:
        process.kill()
        process.wait()
    reader.join(support.PATIENCE)
    os.close(read)


def send_long_paths(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as client:
        for _ in range(200):
            client.sendall(b"GET /" + b"x" * 1000 + b" HTTP/1.1\r\nHost: a\r\n\r\n")
            client.recv(65536)


def read_all(descriptor: int) -> None:
    while os.read(descriptor, 1 << 20):
        pass


def until(read: Callable[[], str], true: Callable[[str], bool]) -> str:
    end = time.monotonic() + support.PATIENCE
    while not true(text := read()):
        assert time.monotonic() < end, text
        time.sleep(0.01)
    return text
