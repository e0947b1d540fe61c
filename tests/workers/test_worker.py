"""FastserveWorker under a real gunicorn."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import struct
import subprocess
import sys
from pathlib import Path

import pytest
import support
from protocol.wire import response

from .conftest import Gunicorn, Start

GET = "GET {} HTTP/1.1\r\nHost: test\r\nUser-Agent: tester\r\nConnection: close\r\n\r\n"


def ask(server: Gunicorn, path: str = "/") -> str:
    """Return the body of the response."""
    return server.request(GET.format(path).encode()).partition(b"\r\n\r\n")[2].decode()


def pid_of(server: Gunicorn) -> int:
    return int(ask(server).split()[0])


def test_serves_and_stops(start: Start) -> None:
    server = start("app", "--workers", "2", "--worker-tmp-dir", "/tmp")
    workers = server.booted(2)
    assert pid_of(server) in workers
    assert server.stop() == 0
    lines = [line for line in server.lines if "application: shutdown" in line]
    assert len(lines) == 2
    assert len(re.findall(r"\[INFO\] Finished server process", server.output)) == 2
    assert "was sent" not in server.output
    assert "ERROR" not in server.output


def test_children_and_exit_handlers(start: Start) -> None:
    """A child that the application forks can be terminated, and a worker that is told to stop runs exit handlers."""
    server = start("app")
    (worker,) = server.booted()
    assert ask(server, "/child") == f"{worker} /child"
    server.wait_line(f"^application: child ended with {-signal.SIGTERM}$")
    assert server.stop() == 0
    server.wait_line(f"^application: exit handler in {worker}$")


def test_several_binds(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    server = start("app", "--bind", "127.0.0.1:0", "--bind", f"unix:{path}", "--bind", "127.0.0.1:0")
    (worker,) = server.booted()
    ports = re.findall(r"http://127\.0\.0\.1:(\d+)", server.wait_line("Listening at: .*").string)
    assert len(ports) == 2
    for port in ports:
        with socket.create_connection(("127.0.0.1", int(port)), timeout=60) as client:
            client.sendall(GET.format("/").encode())
            assert support.read_all(client).endswith(f"{worker} /".encode())
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(60)
        client.connect(str(path))
        client.sendall(GET.format("/").encode())
        assert support.read_all(client).endswith(f"{worker} /".encode())
    assert server.stop() == 0
    assert not path.exists()


class TestLogs:
    def test_access_log_in_gunicorns_format(self, start: Start, tmp_path: Path) -> None:
        file = tmp_path / "access"
        form = '%(h)s %(m)s %(U)s %(q)s %(s)s %(B)s %(a)s %({x-app}o)s %({user-agent}i)s "%(r)s"'
        server = start("app", "--access-logfile", str(file), "--access-logformat", form)
        size = len(ask(server, "/a%20b?c=d"))
        server.stop()
        line = f'127.0.0.1 GET /a b c=d 200 {size} tester here tester "GET /a%20b?c=d HTTP/1.1"'
        assert file.read_text() == f"{line}\n"

    def test_none_unless_it_is_asked_for(self, start: Start) -> None:
        server = start("app")
        ask(server)
        server.stop()
        assert "GET /" not in server.output

    def test_the_logger_class_gets_each_response(self, start: Start) -> None:
        server = start("app", "--logger-class", "worker_apps.CountingLogger")
        size = len(ask(server, "/x?y"))
        server.wait_line(rf"^logger: 200 {size} /x\?y here 3$")

    @pytest.mark.parametrize("worker", ["FastserveWorker", "FastserveH11Worker"])
    @pytest.mark.parametrize("path", ["/leave", "/notice"])
    def test_none_of_a_client_that_reset(self, start: Start, tmp_path: Path, worker: str, path: str) -> None:
        """Whether the application notices that, or answers as if nothing had happened."""
        file = tmp_path / "access"
        logs = ("--access-logfile", str(file), "--access-logformat", "%(U)s %(s)s %(B)s")
        server = start("starlette", *logs, worker=f"fastserve.workers.{worker}")
        client = server.connect()
        client.sendall(GET.format(path).encode())
        server.wait_line(r"^application: waiting$")
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        server.wait_line(rf"^application: {'answering nobody' if path == '/leave' else 'noticed'}$")
        ask(server, "/nowhere")
        server.stop()
        assert file.read_text() == "/nowhere 404 9\n"

    def test_a_line_is_written_when_the_response_is_complete(self, start: Start, tmp_path: Path) -> None:
        """Not when its background task is, whose time is none of the response's."""
        form = "%(U)s %(s)s %(B)s"
        server = start("starlette", "--access-logfile", "-", "--access-logformat", form)
        assert ask(server, "/background") == "answer"
        server.wait_line(r"^/background 200 6$")
        assert ask(server, "/release") == "released"
        server.stop()
        assert server.output.count("/background") == 1

    def test_a_failure_is_logged_as_what_the_client_got(self, start: Start) -> None:
        server = start("app", "--access-logfile", "-", "--access-logformat", "%(U)s %(s)s")
        assert "500 Internal Server Error" in server.request(GET.format("/fail").encode()).decode()
        server.wait_line(r"^/fail 500$")

    def test_a_logger_class_that_fails(self, start: Start) -> None:
        """The response is complete: the application has nothing to do with it."""
        server = start("app", "--logger-class", "worker_apps.FailingLogger")
        assert ask(server, "/x").endswith(" /x")
        server.wait_line(r"Exception in the access log")
        server.wait_line(r"ValueError: no log")
        assert "Exception in ASGI application" not in server.output

    def test_files_are_opened_anew_at_usr1(self, start: Start, tmp_path: Path) -> None:
        errors, access = tmp_path / "errors", tmp_path / "access"
        path = str(tmp_path / "socket")
        logs = ("--error-logfile", str(errors), "--access-logfile", str(access))
        server = start("app", *logs, "--bind", f"unix:{path}")

        def request() -> None:
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(60)
                while client.connect_ex(path):
                    assert server.process.poll() is None
                client.sendall(GET.format("/").encode())
                support.read_all(client)

        request()
        for file in (errors, access):
            file.rename(f"{file}.1")
        server.send_signal(signal.SIGUSR1)
        while not access.exists() or not access.read_text():  # the arbiter passes the signal on to its worker
            request()
        server.stop()
        assert "Application startup complete." in Path(f"{errors}.1").read_text()
        assert "Finished server process" in errors.read_text()

    def test_log_level(self, start: Start) -> None:
        server = start("app", "--log-level", "warning", env={"START": "failing"})
        assert server.wait() == 3
        assert "Waiting for application startup." not in server.output
        assert "[ERROR] Application startup failed. Exiting." in server.output


class TestLife:
    def test_max_requests(self, start: Start) -> None:
        """A worker that has served this many is replaced, and no request is lost with it."""
        server = start("app", "--max-requests", "3")
        first = pid_of(server)
        while (second := pid_of(server)) == first:
            pass
        assert server.booted(2) == [first, second]
        server.wait_line(r"Maximum request limit of 3 exceeded\.")

    def test_hup_replaces_workers(self, start: Start) -> None:
        server = start("app")
        (first,) = server.booted()
        server.send_signal(signal.SIGHUP)
        assert first != server.booted(2)[1]
        server.wait_line(rf"\[{first}\] \[INFO\] Worker exiting")
        assert pid_of(server) == server.booted(2)[1]

    def test_reload(self, start: Start, tmp_path: Path) -> None:
        file = tmp_path / "watched"
        file.write_text("1")
        server = start("app", "--reload", "--reload-engine", "poll", "--reload-extra-file", str(file))
        (first,) = server.booted()
        stamp = 2**31
        while "watched modified" not in server.output:  # it may not have seen the first of them yet
            stamp += 1
            os.utime(file, (stamp, stamp))
            assert pid_of(server)
        assert server.booted(2)[1] != first
        server.wait_line(rf"\[{first}\] \[INFO\] Finished server process")

    def test_a_blocked_worker_is_replaced(self, start: Start) -> None:
        """The arbiter misses its heartbeat; the log says where the worker was."""
        server = start("app", "--timeout", "1")
        (first,) = server.booted()
        with server.connect() as client:
            client.sendall(GET.format("/block").encode())
            server.wait_line(r"WORKER TIMEOUT")
            server.wait_line(r"Aborting worker \(pid:\d+\)\. It was at:")
            server.wait_line(r"threading\.Event\(\)\.wait\(\)")
            assert support.read_all(client) == b""
        assert pid_of(server) == server.booted(2)[1] != first

    def test_a_slow_start_is_no_blocked_worker(self, start: Start) -> None:
        server = start("app", "--timeout", "1", env={"START": "slow", "SECONDS": "2.5"})
        (worker,) = server.booted()
        assert pid_of(server) == worker
        assert "TIMEOUT" not in server.output

    def test_a_worker_whose_arbiter_is_gone_ends(self, start: Start) -> None:
        server = start("app")
        server.booted()
        server.send_signal(signal.SIGKILL)
        server.wait_line(r"Parent changed, shutting down")
        server.wait_line(r"application: shutdown")


class TestStop:
    def test_term_waits_for_requests(self, start: Start, tmp_path: Path) -> None:
        gate = tmp_path / "gate"
        os.mkfifo(gate)
        server = start("app", env={"GATE": str(gate)})
        with server.connect() as client:
            client.sendall(GET.format("/gate").encode())
            server.wait_line(r"^application: working$")
            server.send_signal(signal.SIGTERM)
            server.wait_line(r"Waiting for connections to close\.")
            gate.write_bytes(b"open")
            assert support.read_all(client).endswith(b" /gate")
        assert server.wait() == 0

    def test_term_waits_for_the_graceful_timeout(self, start: Start) -> None:
        """And the worker has ended by then: it need not be killed."""
        server = start("app", "--graceful-timeout", "2")
        with server.connect() as client:
            client.sendall(GET.format("/hang").encode())
            server.wait_line(r"^application: hanging$")
            assert server.stop() == 0
        server.wait_line(r"Cancel 1 running task\(s\), timeout graceful shutdown exceeded")
        server.wait_line(r"application: shutdown")
        assert "SIGKILL" not in server.output

    def test_term_lets_an_idle_client_ask_once_more(self, start: Start) -> None:
        """The response says that it is the last, so that no request meets a closed connection; then the worker ends."""
        server = start("app", "--log-level", "debug", "--keep-alive", "30")
        request = GET.format("/").replace("Connection: close\r\n", "").encode()
        with server.connect() as client, client.makefile("rb") as file:
            client.sendall(request)
            assert not response(file).closes
            server.send_signal(signal.SIGTERM)
            server.wait_line(r"\[DEBUG\] Retiring: ")
            client.sendall(request)
            last = response(file)
            assert (last.status, last.closes) == (200, True)
        assert server.wait() == 0

    @pytest.mark.parametrize("number", [signal.SIGQUIT, signal.SIGINT])
    def test_quit_does_not_wait(self, start: Start, number: int) -> None:
        server = start("app", "--graceful-timeout", "15")
        with server.connect() as client:
            client.sendall(GET.format("/hang").encode())
            server.wait_line(r"^application: hanging$")
            server.send_signal(number)
            assert server.wait(60) == 0
        server.wait_line(r"^application: shutdown$")

    @pytest.mark.parametrize(
        ("whom", "number", "path"),
        [
            ("group", signal.SIGINT, None),
            ("group", signal.SIGINT, "/hang"),
            ("worker", signal.SIGINT, None),
            ("arbiter", signal.SIGINT, "/hang"),
            ("arbiter", signal.SIGQUIT, None),
        ],
    )
    def test_a_quick_stop_runs_the_lifespans_shutdown(
        self, start: Start, whom: str, number: int, path: str | None
    ) -> None:
        """Ctrl-C is SIGINT to all of them, and then SIGQUIT from the arbiter."""
        server = start("starlette", start_new_session=True)
        (worker,) = server.booted()
        with contextlib.ExitStack() as stack:
            if path is not None:
                client = stack.enter_context(server.connect())
                client.sendall(GET.format(path).encode())
                server.wait_line(r"^application: hanging$")
            if whom == "group":
                os.killpg(server.pid, number)
            else:
                os.kill(worker if whom == "worker" else server.pid, number)
            server.wait_line(r"^application: shutdown$")
            server.wait_line(rf"Worker exiting \(pid: {worker}\)")
        if whom == "worker":
            server.booted(2)
            server.send_signal(signal.SIGTERM)
        assert server.wait() == 0
        assert "Traceback" not in server.output and "[ERROR]" not in server.output

    def test_a_quick_stop_does_not_wait_for_a_shutdown_without_end(self, start: Start) -> None:
        server = start("starlette", env={"END": "never"})
        (worker,) = server.booted()
        server.send_signal(signal.SIGQUIT)
        assert server.wait(60) == 0
        server.wait_line(
            rf"\[{worker}\] \[ERROR\] Cancelling application shutdown: a quick shutdown allows 1\.8 seconds"
        )
        server.wait_line(rf"Worker exiting \(pid: {worker}\)")
        assert "Traceback" not in server.output and "SIGKILL" not in server.output

    def test_a_quick_stop_cuts_a_slow_one_short(self, start: Start) -> None:
        """And the worker ends before the arbiter kills it, two seconds after the second signal."""
        server = start("starlette", "--graceful-timeout", "30", env={"END": "never"})
        (worker,) = server.booted()
        server.send_signal(signal.SIGTERM)
        server.wait_line(r"Waiting for application shutdown\.")
        server.send_signal(signal.SIGINT)
        assert server.wait(60) == 0
        server.wait_line(rf"\[{worker}\] \[INFO\] Finished server process")
        assert "SIGKILL" not in server.output

    def test_a_quick_stop_while_the_application_starts(self, start: Start) -> None:
        server = start("app", env={"START": "slow", "SECONDS": "60"}, start_new_session=True)
        server.wait_line(r"Waiting for application startup\.")
        os.killpg(server.pid, signal.SIGINT)
        assert server.wait(60) == 0
        assert "failed to boot" not in server.output

    def test_a_quick_stop_just_after_the_application_has_started(self, start: Start) -> None:
        """It has begun its lifespan, and there is no server yet to stop."""
        server = start("app", env={"START": "quit"})
        server.wait_line(r"^application: shutdown$")
        server.wait_line(r"Worker exiting")
        assert server.stop() == 0
        assert "failed to boot" not in server.output


class TestBootErrors:
    def test_application_that_does_not_start(self, start: Start) -> None:
        server = start("app", env={"START": "failing"})
        assert server.wait() == 3
        server.wait_line(r"\[ERROR\] no database")
        server.wait_line(r"Worker failed to boot\.")

    def test_wrong_options(self, start: Start) -> None:
        server = start("app", worker="worker_apps.WrongWorker")
        assert server.wait() == 3
        server.wait_line(r"WrongWorker: loop: 'nonsense' is not one of auto, asyncio, uvloop")
        assert "Traceback" not in server.output

    def test_without_gunicorn(self) -> None:
        code = "import sys; sys.modules['gunicorn'] = None; import fastserve.workers"
        result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert result.returncode == 1
        last = result.stderr.splitlines()[-1]
        assert last == "ImportError: fastserve.workers needs gunicorn: install it, or fastserve[gunicorn]."


@pytest.mark.parametrize(
    ("worker", "lasts"), [("FastserveWorker", True), ("FastserveH11Worker", False)], ids=["core", "h11"]
)
def test_h11(start: Start, worker: str, lasts: bool) -> None:
    """It is the implementation over h11 that responds: that one ends the connection after each request of HTTP/1.0."""
    server = start("app", worker=f"fastserve.workers.{worker}")
    with server.connect() as client, client.makefile("rb") as file:
        client.sendall(b"GET / HTTP/1.0\r\nHost: test\r\nConnection: keep-alive\r\n\r\n")
        answer = response(file)
    assert (answer.status, answer.get(b"connection")) == (200, b"keep-alive" if lasts else b"close")
    assert server.stop() == 0


def test_config_kwargs_come_first(start: Start) -> None:
    server = start("app", worker="worker_apps.RootedWorker")
    assert ask(server, "/x").endswith(" /api/x")


@pytest.mark.parametrize(
    ("options", "flags"), [((), "[True, False]"), (("--threads", "3", "--workers", "2"), "[True, True]")]
)
def test_wsgi(start: Start, options: tuple[str, ...], flags: str) -> None:
    server = start("wsgi", *options, worker="worker_apps.WSGIWorker")
    assert ask(server) == f"wsgi-1 {flags}"
    server.booted(2 if options else 1)  # gunicorn does not tell one to stop that it boots at that moment
    assert server.stop() == 0
