"""Workers that are threads of one process: they end, are replaced and are counted as processes are."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import support
from load import until
from metrics.scraping import Served
from operations.asking import Controlled
from supervisors.clients import Http2Load, Load, Succeeding, ask, ready, replaced
from websockets.sync.client import connect

from fastserve.config import Config
from fastserve.supervisors.thread import Outbox, ThreadProcess

SHARES = r"^WARNING:  Worker threads share one core: "
HAS_LOCK = getattr(sys, "_is_gil_enabled", lambda: True)()
QUIET = ("--no-access-log",)
MEASURED = ("--metrics-bind", "127.0.0.1:0", "--metrics-per-worker")

Start = support.StartCommand


@pytest.fixture
def start(command: support.StartCommand) -> Start:
    """Start a command that serves an application of thread_apps.py on a free port, by two threads."""

    def run(app: str, *args: str, **options: Any) -> support.Command:
        where = ["--app-dir", support.APPS, "--log-level", "debug", "--port", "0"]
        threads = ["--workers", "2", "--worker-class", "thread", "--timeout-worker-healthcheck", "60"]
        return command(f"thread_apps:{app}", *where, *threads, *args, **options)

    return run


def test_a_new_thread_leaves_the_listening_sockets_non_blocking() -> None:
    """accept() in another thread would wait for a client, and its event loop with it."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        os.set_blocking(sock.fileno(), False)  # as the event loop of another thread has done
        config = Config("thread_apps:app")
        ThreadProcess(config, [sock], {}, None, 0, Outbox(lambda: None)).close()
        assert not os.get_blocking(sock.fileno())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_worker_class(start: Start, number: int) -> None:
    """One process imports the application once; each thread has a lifespan of its own; a stop ends all with 0."""
    server = start("app")
    numbers = ready(server, 2)
    assert len({*numbers, server.pid}) == 3
    assert all(Path(f"/proc/{server.pid}/task/{each}").exists() for each in numbers) or sys.platform != "linux"
    assert ask(server) in numbers
    assert server.stop(number) == 0
    lines = [re.sub(r"127\.0\.0\.1:\d+", "ADDRESS", line.removeprefix("INFO:     ")) for line in server.stderr]
    assert lines[:2] == [
        "Fastserve running on http://ADDRESS (Press CTRL+C to quit)",
        f"Started parent process [{server.pid}]",
    ]
    assert f"Received {signal.Signals(number).name}, exiting." in lines
    for each in numbers:
        assert f"Started server process [{each}]" in lines
        assert f"Terminated child process [{each}]" in lines
        assert f"Waiting for child process [{each}]" in lines
        assert f"Finished server process [{each}]" in lines
        assert f"startup in {each}" in server.stdout
        assert f"shutdown in {each}" in server.stdout
    assert lines[-1] == f"Stopping parent process [{server.pid}]"
    assert server.stdout.count(f"imported in {server.pid}") == 1
    assert len(re.findall(SHARES, server.output, re.MULTILINE)) == HAS_LOCK


def test_requests_under_way_are_finished(start: Start, gate: Path) -> None:
    """Also those of a thread whose event loop does not run when the stop comes."""
    server = start("app", *QUIET, env={"GATE": str(gate)})
    ready(server, 2)
    with server.connect() as client:
        client.sendall(b"GET /block HTTP/1.1\r\nHost: test\r\n\r\n")
        blocked = int(server.wait_line(r"^blocking in (\d+)$")[1])
        assert ask(server) != blocked
        server.send_signal(signal.SIGTERM)
        server.wait_line("Terminated child process", count=2)
        os.close(os.open(gate, os.O_WRONLY))
        assert support.read_all(client).startswith(b"HTTP/1.1 200 OK\r\n")
    assert server.wait() == 0


@pytest.mark.parametrize("kind", [Load, Http2Load])
def test_sighup(start: Start, kind: type[Load | Http2Load]) -> None:
    """New threads replace all, without a lost request; they serve the application that there is."""
    server = start("app", *QUIET)
    old = ready(server, 2)
    with kind(server.port) as load:
        server.send_signal(signal.SIGHUP)
        pairs = replaced(server, 2)
        load.wait_for([after for after, _ in pairs])
    assert load.failures == []
    assert sorted(before for _, before in pairs) == sorted(old)
    server.wait_line("Received SIGHUP, restarting processes.")
    server.wait_line("New worker threads serve the application that was imported at the start")
    assert server.stdout.count(f"imported in {server.pid}") == 1
    assert server.stop() == 0


def test_limit_max_requests(start: Start) -> None:
    """A thread serves on until its replacement is there; no request is lost, and each is counted once."""
    server = start("app", *QUIET, "--limit-max-requests", "300", *MEASURED)
    figures = Served(server)
    ready(server, 2)
    with Load(server.port) as load:
        replaced(server, 3)
    assert load.failures == []
    sent = sum(load.answers.values())
    scrape = figures.until(lambda found: found.requests(200) == sent)
    assert scrape.value("served_total") == sent >= 900
    assert scrape.requests(worker="0") + scrape.requests(worker="1") == sent
    assert min(scrape.requests(worker="0"), scrape.requests(worker="1")) > 0
    assert scrape.value("fastserve_worker_ends_total", reason="requests") >= 3
    assert scrape.value("fastserve_workers", state="ready") == 2
    used = scrape.value("fastserve_worker_cpu_seconds_total")
    assert 0 < used <= scrape.value("process_cpu_seconds_total") + 0.1
    assert not scrape.has("fastserve_worker_rss_bytes")  # they share that of the process
    assert server.stop() == 0


def test_sigttin_and_sigttou(start: Start) -> None:
    server = start("app", *QUIET)
    numbers = ready(server, 2)
    with Load(server.port) as load:
        server.send_signal(signal.SIGTTIN)
        third = ready(server, 3)[2]
        server.send_signal(signal.SIGTTOU)
        server.wait_line(rf"Finished server process \[{third}\]")
    assert load.failures == []
    assert set(load.answers) <= {*numbers, third}
    assert server.stop() == 0


@pytest.mark.parametrize(
    ("app", "line"),
    [
        ("failing", r"Child process \[\d+\] failed to start, stopping the parent process\."),
        ("nothing", 'Error loading ASGI app. Attribute "nothing" not found in module "thread_apps".'),
    ],
)
def test_startup_failure(start: Start, app: str, line: str) -> None:
    server = start(app)
    server.wait_line(line)
    assert server.wait() == 3
    assert server.output.count("Error loading") == (app == "nothing")


def test_thread_that_hangs(start: Start, gate: Path) -> None:
    """It cannot be killed: another one takes its place, and what it was doing comes to its end."""
    server = start("app", *QUIET, "--timeout-worker-blocked", "1", env={"GATE": str(gate)})
    numbers = ready(server, 2)
    with server.connect() as client:
        client.sendall(b"GET /block HTTP/1.1\r\nHost: test\r\n\r\n")
        line = r"^ERROR:    Child process \[(\d+)\] has an event loop that has been blocked for \d+\.\d s\. A thread"
        hung = int(server.wait_line(line)[1])
        assert hung in numbers
        server.wait_line(r"thread_apps\.py\", line \d+ in app$")
        server.wait_line(r"^  GET /block for \d+\.\d s$")
        third = ready(server, 3)[2]
        assert {ask(server) for _ in range(8)} <= {*numbers, third} - {hung}
        os.close(os.open(gate, os.O_WRONLY))
        server.wait_line(rf"Finished server process \[{hung}\]")
    assert server.stop() == 0
    assert "died" not in server.output


def test_stop_beside_a_thread_that_hangs(start: Start, gate: Path) -> None:
    server = start("app", *QUIET, "--timeout-worker-blocked", "1", env={"GATE": str(gate)})
    ready(server, 2)
    with server.connect() as client:
        client.sendall(b"GET /block HTTP/1.1\r\nHost: test\r\n\r\n")
        server.wait_line("A thread cannot be killed")
        assert server.stop() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_stop_while_the_application_is_imported(
    command: Start, tmp_path: Path, gate: Path, number: signal.Signals
) -> None:
    """The import, in the main thread, is broken off."""
    (tmp_path / "slow.py").write_text(f"print('importing', flush=True)\nopen({str(gate)!r}).read()\n")
    pid_file = tmp_path / "pid"
    options = ["--app-dir", str(tmp_path), "--port", "0", "--pid-file", str(pid_file)]
    server = command("slow:app", *options, "--workers", "2", "--worker-class", "thread")
    server.wait_line("importing")
    assert server.stop(number) == 0
    server.wait_line(f"Received {number.name}, exiting")
    server.wait_line("Stopping parent process")
    assert not pid_file.exists()
    assert "Traceback" not in server.output


def test_factory_is_called_once(start: Start) -> None:
    server = start("factory", "--factory")
    assert ask(server) in ready(server, 2)
    assert server.stop() == 0
    assert server.stdout.count("made") == 1


@pytest.mark.parametrize("threads", ["0", "1"])
def test_wsgi(start: Start, threads: str) -> None:
    """An application is told that other threads call it, and no other process."""
    server = start("wsgi", "--interface", "wsgi", "--wsgi-threads", threads)
    ready(server, 2)
    assert server.get().endswith(b"\r\n\r\nTrue False")
    assert server.stop() == 0


def test_log_names_the_thread(start: Start) -> None:
    server = start("app", "--log-format", "json", "--access-log-format", "worker %(wk)s")
    server.wait_line("is ready", count=2)
    places: Counter[str] = Counter()
    while len(places) < 2:
        ask(server)
        places.update(server.wait_line(r"worker (\d)$", count=sum(places.values()) + 1)[1])
    assert set(places) == {"0", "1"}
    assert server.stop() == 0
    started = [json.loads(line) for line in server.stderr if "Started server" in line]
    assert {each["worker"] for each in started} == {0, 1}


def test_control_socket(start: Start, gate: Path, tmp_path: Path) -> None:
    """It shows threads by the numbers that the system has given them."""
    path = tmp_path / "control"
    command = start("app", *QUIET, "--control-socket", str(path), env={"GATE": str(gate)})
    numbers = ready(command, 2)
    server = Controlled(command, path)
    assert sorted(server.pids()) == sorted(numbers)
    with command.connect() as client:
        client.sendall(b"GET /block HTTP/1.1\r\nHost: test\r\n\r\n")
        places = range(2)
        busy = server.until(lambda: [each for each in places if server.get(f"/workers/{each}/requests")])
        assert len(busy) == 1
        (request,) = server.get(f"/workers/{busy[0]}/requests")
        assert (request["method"], request["path"]) == ("GET", "/block")
        assert " in app\n" in server.text(f"/workers/{busy[0]}/stacks", "POST")[1]
        os.close(os.open(gate, os.O_WRONLY))
        assert support.read_until(client).startswith(b"HTTP/1.1 200")
    assert server.post("/workers?count=3") == {"workers": 3}
    third = ready(command, 3)[2]
    server.post("/workers/2/replace")
    replacement = replaced(command, 1)[0]
    assert replacement[1] == third
    assert server.get("/config")["worker_class"] == "thread"
    server.post("/stop?mode=graceful")
    assert command.wait() == 0


def test_new_code_by_a_successor(start: Start) -> None:
    """SIGUSR2 starts another process, which imports the application anew; no request is lost and no counter falls."""
    server = start("app", *QUIET, "--metrics-bind", "127.0.0.1:0")
    figures = Served(server)
    ready(server, 2)
    with Succeeding() as successors:
        with Load(server.port) as load:
            following = successors.next(server)
            assert server.process.wait(support.PATIENCE) == 0
            before = sum(load.answers.values())
            until(lambda: sum(load.answers.values()) > before + 50, "answers of the successor")
        assert load.failures == []
        sent = sum(load.answers.values())
        figures.until(lambda found: found.requests(200) == sent)
        assert f"imported in {following}" in server.stdout


def test_topics(start: Start) -> None:
    """A message reaches the clients of every thread, and each subscription is counted by its own."""
    server = start("publishing", "--lifespan", "off", "--reuse-port", *MEASURED)
    figures = Served(server)
    ready(server, 2)
    with contextlib.ExitStack() as stack:
        clients: list[Any] = []
        while len({each.response.headers["x-thread"] for each in clients}) < 2:
            clients.append(stack.enter_context(connect(f"ws://127.0.0.1:{server.port}/")))
            assert clients[-1].recv(support.PATIENCE) == "subscribed"
        assert server.get().startswith(b"HTTP/1.1 200")
        assert [each.recv(support.PATIENCE) for each in clients] == ["news"] * len(clients)
        name = "fastserve_topics_subscriptions"
        places = ("0", "1")
        scrape = figures.until(lambda found: found.value(name) == len(clients))
        assert all(scrape.value(name, worker=each) for each in places)
    assert server.stop() == 0


PROGRAM = """
import threading
import fastserve

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        return
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": b"%d" % threading.get_native_id()})

fastserve.run(app, workers=2, worker_class="thread", port=0, log_level="debug")
print("returned")
"""


def test_program_that_passes_its_application(tmp_path: Path) -> None:
    """Threads need neither an import string nor a guard against a second import."""
    file = tmp_path / "program.py"
    file.write_text(PROGRAM)
    program = support.Command([sys.executable, str(file)])
    try:
        numbers = ready(program, 2)
        assert ask(program) in numbers
        assert program.stop() == 0
        assert program.stdout[-1] == "returned"
    finally:
        program.close()


def test_reload_runs_one_process(start: Start, tmp_path: Path) -> None:
    server = start("app", "--workers", "1", "--reload", "--reload-dir", str(tmp_path))
    assert ask(server) != server.pid
    server.send_signal(signal.SIGHUP)
    server.wait_line("imported in", count=2)
    assert server.stop() == 0
