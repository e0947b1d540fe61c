"""Where a server listens: many addresses, UNIX sockets, sockets and news of the service manager, the pid file."""

from __future__ import annotations

import fcntl
import os
import re
import signal
import socket
import stat
import sys
from collections.abc import Iterator
from multiprocessing import Pipe
from pathlib import Path

import pytest
import support
from core.responses import Client
from supervisors.clients import ask, ready

import fastserve
from fastserve.net.listeners import Listeners
from fastserve.options.table import OptionError
from fastserve.serving.life import Phase
from fastserve.supervisors.link import Link

Start = support.StartCommand

REQUEST = b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"
BOTH = pytest.mark.parametrize("workers", ["1", "2"])


def asked(family: int, address: object, request: bytes = REQUEST) -> bytes:
    with socket.socket(family) as client:
        client.settimeout(60)
        client.connect(address)  # type: ignore[arg-type]
        client.sendall(request)
        return support.read_all(client)


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


def serves(server: support.Command) -> None:
    """Wait until the server listens."""
    server.wait_line("Press CTRL")


@pytest.mark.parametrize("args", [["--workers", "2"], ["--workers", "2", "--reuse-port"], ["--reload"]])
def test_who_connects_at_the_line_is_served(command: support.StartCommand, tmp_path: Path, args: list[str]) -> None:
    """The line is there before any worker has imported the application: connections wait for it."""
    gate = tmp_path / "gate"
    (tmp_path / "gated.py").write_text(
        f"import fcntl\nfcntl.flock(open({str(gate)!r}), fcntl.LOCK_SH)\nfrom process_apps import app\n"
    )
    path = tmp_path / "socket"
    options = [] if "--reuse-port" in args else ["--bind", f"unix:{path}"]
    folders = os.pathsep.join([str(tmp_path), support.APPS])
    binds = ["--bind", "127.0.0.1:0", *options]
    with gate.open("w") as closed:
        fcntl.flock(closed, fcntl.LOCK_EX)
        server = command("gated:app", *binds, *args, cwd=tmp_path, env={"PYTHONPATH": folders})
        clients = [server.connect()]
        if options:
            clients.append(socket.socket(socket.AF_UNIX))
            clients[-1].connect(str(path))
        for client in clients:
            client.settimeout(60)
            client.sendall(REQUEST)
    for client in clients:
        with client:
            assert support.read_all(client).startswith(b"HTTP/1.1 200 OK")
    assert server.stop() == 0


def test_an_address_that_another_process_has_begun_to_listen_on() -> None:
    """Two can bind it, as long as none listens."""
    listeners = Listeners.bind_one(fastserve.Config("a:b", port=0, log_config=None))
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(listeners.sockets[0].getsockname())
        other.listen()
        with pytest.raises(OSError, match=r"bind on address \('127.0.0.1', \d+\): address already in use"):
            listeners.listen(1)
    listeners.close()


@BOTH
@pytest.mark.parametrize("option", ["--bind", "--metrics-bind"])
def test_an_address_that_is_given_in_two_ways(start: Start, option: str, workers: str) -> None:
    """Both can be bound; the second cannot listen."""
    with socket.socket() as free:
        free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        free.bind(("127.0.0.1", 0))  # and never listens
        port = free.getsockname()[1]
        server = start("app", "--bind", f"127.0.0.1:{port}", option, f"127.1:{port}", "--workers", workers)
        assert server.wait() == 3
    where = re.escape(f"address ('127.0.0.1', {port})")
    server.wait_line(rf"^ERROR:    \[Errno \d+\] error while attempting to bind on {where}: address already in use$")
    assert "Traceback" not in server.output


@BOTH
def test_bind(start: Start, tmp_path: Path, workers: str) -> None:
    """All of them at once, with a line each."""
    path = tmp_path / "socket"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        fd = listener.fileno()
        binds = ["127.0.0.1:0", "127.0.0.2:0", f"unix:{path}", f"fd://{fd}", *(["[::1]:0"] if has_ipv6() else [])]
        args = [part for bind in binds for part in ("--bind", bind)]
        server = start("app", *args, "--workers", workers, pass_fds=(fd,))
        serves(server)
        for host in ("127.0.0.1", "127.0.0.2"):
            port = server.wait_line(rf"running on http://{re.escape(host)}:(\d+) \(Press")[1]
            assert asked(socket.AF_INET, (host, int(port))).startswith(b"HTTP/1.1 200")
        server.wait_line(rf"running on unix socket {re.escape(str(path))} \(Press")
        assert asked(socket.AF_UNIX, str(path)).startswith(b"HTTP/1.1 200")
        server.wait_line(rf"running on socket \('127\.0\.0\.1', {listener.getsockname()[1]}\) \(Press")
        assert asked(socket.AF_INET, listener.getsockname()).startswith(b"HTTP/1.1 200")
        if has_ipv6():
            port = server.wait_line(r"running on http://\[::1\]:(\d+) \(Press")[1]
            assert asked(socket.AF_INET6, ("::1", int(port))).startswith(b"HTTP/1.1 200")
        server.stop()
    assert not path.exists()


@pytest.mark.skipif(not has_ipv6(), reason="no IPv6 here")
@pytest.mark.parametrize("args", [("--host", "", "--port", "0"), ("--bind", ":0")])
@BOTH
def test_both_families(start: Start, args: tuple[str, ...], workers: str) -> None:
    server = start("app", *args, "--workers", workers)
    serves(server)
    port = int(server.wait_line(r"running on http://0\.0\.0\.0:(\d+) \(Press")[1])
    assert asked(socket.AF_INET, ("127.0.0.1", port)).startswith(b"HTTP/1.1 200")
    assert asked(socket.AF_INET6, ("::1", port)).startswith(b"HTTP/1.1 200")


@pytest.mark.skipif(not has_ipv6(), reason="no IPv6 here")
@pytest.mark.parametrize(
    "args", [["--workers", "1"], ["--workers", "2"], ["--workers", "2", "--reuse-port"], ["--reload"]]
)
def test_ipv4_over_the_address_of_all(start: Start, args: list[str]) -> None:
    server = start("app", "--host", "::", "--port", "0", *args)
    port = int(server.wait_line(r"running on http://\[::\]:(\d+) \(Press")[1])
    for _ in range(4):
        assert asked(socket.AF_INET, ("127.0.0.1", port)).startswith(b"HTTP/1.1 200")
    assert asked(socket.AF_INET6, ("::1", port)).startswith(b"HTTP/1.1 200")
    server.wait_line(r'^INFO:     127\.0\.0\.1:\d+ - "GET / HTTP/1\.1" 200 OK$', count=4)


@pytest.mark.skipif(not has_ipv6(), reason="no IPv6 here")
@pytest.mark.parametrize("host", [None, ""])
def test_bind_socket_for_both_families(host: str | None) -> None:
    """It is one socket, and yet takes connections of both."""
    with fastserve.Config("a:b", host=host, port=0, log_config=None).bind_socket() as sock:
        sock.listen()
        port = sock.getsockname()[1]
        for address in ("127.0.0.1", "::1"):
            socket.create_connection((address, port), timeout=60).close()


@BOTH
def test_uds_permissions(start: Start, tmp_path: Path, workers: str) -> None:
    path = tmp_path / "socket"
    server = start("app", "--uds", str(path), "--uds-permissions", "600", "--workers", workers)
    serves(server)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert asked(socket.AF_UNIX, str(path)).startswith(b"HTTP/1.1 200")
    server.process.kill()
    server.wait()
    assert path.is_socket()  # left over; the next one takes its place, keeps its mode, and leaves it there
    server = start("app", "--uds", str(path), "--workers", workers)
    serves(server)
    assert asked(socket.AF_UNIX, str(path)).startswith(b"HTTP/1.1 200")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    other = start("app", "--uds", str(path))  # but not of one that serves
    assert other.wait() == 3
    line = f"error while attempting to bind on unix socket '{path}': another server listens there"
    assert other.lines[-1].endswith(line) or line in other.output
    assert asked(socket.AF_UNIX, str(path)).startswith(b"HTTP/1.1 200")
    server.stop()
    assert path.is_socket()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_unix_path_that_is_too_long(tmp_path: Path) -> None:
    path = str(tmp_path / ("x" * 120))
    config = fastserve.Config("a:b", uds=path, log_config=None)
    why = rf"bind on unix socket '{path}': the path has {len(path)} bytes, the limit is 10[37]$"
    with pytest.raises(OSError, match=why):
        Listeners.bind(config)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"uds": "x", "fd": 3}, "uds and fd name two places to listen on: leave one out"),
        ({"bind": "h:1", "uds": "x"}, "bind and uds name two places to listen on: give uds's as one more --bind"),
        ({"bind": "h:1", "fd": 3}, "bind and fd name two"),
        ({"bind": "h:1", "port": 80}, "bind and port name two"),
        ({"bind": "h:1", "host": "x"}, "bind and host name two"),
        ({"reuse_port": True, "uds": "x"}, "reuse_port and uds: only a host and port .* leave out --reuse-port"),
        ({"reuse_port": True, "bind": ["h:1", "fd://3"]}, "reuse_port and fd: "),
        ({"uds_permissions": 0o600}, "uds_permissions has no effect without a UNIX socket: add --uds or"),
        ({"reload": True, "workers_max_rss": 1}, "reload and workers_max_rss: "),
        ({"reload": True, "workers_lifetime": 1}, "reload and workers_lifetime: "),
    ],
)
def test_contradictions(given: dict[str, object], text: str) -> None:
    with pytest.raises(OptionError, match=text):
        fastserve.Config("a:b", log_config=None, **given)  # type: ignore[arg-type]


@BOTH
def test_pid_file(start: Start, tmp_path: Path, workers: str) -> None:
    """It names the process to signal while that runs; what another process runs under is left alone."""
    path = tmp_path / "pid"
    path.write_text("999999999\n")  # of a process that is gone
    server = start("app", "--port", "0", "--pid-file", str(path), "--workers", workers)
    serves(server)
    assert path.read_text() == f"{server.pid}\n"
    other = start("app", "--port", "0", "--pid-file", str(path), "--workers", workers)
    assert other.wait() == 3
    line = f"ERROR:    [Errno 17] pid file '{path}' belongs to running process {server.pid}: stop it first"
    assert line in other.lines
    assert path.read_text() == f"{server.pid}\n"
    server.stop()
    assert not path.exists()
    server = start("app", "--port", "0", "--pid-file", str(tmp_path / "no" / "pid"), "--workers", workers)
    assert server.wait() == 3
    assert f"cannot write pid file '{tmp_path / 'no' / 'pid'}': No such file" in server.output


@BOTH
def test_application_that_changes_the_directory(command: support.StartCommand, tmp_path: Path, workers: str) -> None:
    """Relative paths stay what they were at the start."""
    where = ["--app-dir", support.APPS, "--log-level", "debug", "--workers", workers]
    args = ["--bind", "unix:socket", "--pid-file", "pid", *where]
    server = command("process_apps:app", *args, cwd=tmp_path)
    server.wait_line("running on unix socket socket")
    assert {path.name for path in tmp_path.iterdir()} == {"socket", "pid"}
    assert asked(socket.AF_UNIX, str(tmp_path / "socket"), REQUEST.replace(b" / ", b" /chdir ")).startswith(
        b"HTTP/1.1 200"
    )
    server.stop()
    assert list(tmp_path.iterdir()) == []


ACTIVATE = """
import os, runpy, sys
os.environ["LISTEN_PID"] = str(os.getpid())
fds = [int(text) for text in os.environ.pop("PASS").split()]
for number, fd in enumerate(fds):
    os.dup2(fd, 100 + number)
for number in range(len(fds)):
    os.dup2(100 + number, 3 + number)
    os.close(100 + number)
os.environ["LISTEN_FDS"] = str(len(fds))
sys.argv = ["fastserve", *sys.argv[1:]]
runpy.run_module("fastserve", run_name="__main__")
"""


@pytest.fixture
def listeners() -> Iterator[list[socket.socket]]:
    """Two listening sockets, as systemd makes them."""
    made = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    yield made
    for each in made:
        each.close()


@BOTH
def test_socket_activation(listeners: list[socket.socket], workers: str) -> None:
    """The sockets that systemd passes are those that are listened on."""
    fds = tuple(each.fileno() for each in listeners)
    args = ["process_apps:app", "--app-dir", support.APPS, "--workers", workers, "--log-level", "debug"]
    environment = {"PASS": " ".join(map(str, fds))}
    server = support.Command([sys.executable, "-c", ACTIVATE, *args], env=environment, pass_fds=fds)
    try:
        serves(server)
        for each in listeners:
            server.wait_line(rf"running on socket \('127\.0\.0\.1', {each.getsockname()[1]}\) \(Press")
            assert asked(socket.AF_INET, each.getsockname()).startswith(b"HTTP/1.1 200")
        server.stop()
    finally:
        server.close()


@BOTH
def test_socket_activation_with_reuse_port(workers: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        environment = {"PASS": str(sock.fileno())}
        args = ["process_apps:app", "--app-dir", support.APPS, "--workers", workers, "--reuse-port"]
        argv = [sys.executable, "-c", ACTIVATE, *args]
        server = support.Command(argv, env=environment, pass_fds=(sock.fileno(),))
        try:
            assert server.wait() == 2
            line = "Error: reuse_port and LISTEN_FDS: systemd has bound the sockets; leave out --reuse-port"
            assert server.lines == [line]
        finally:
            server.close()


def test_sockets_of_another_process(start: Start) -> None:
    """LISTEN_PID names another process: the variables were not meant for this one."""
    server = start("app", "--port", "0", env={"LISTEN_PID": "1", "LISTEN_FDS": "1"})
    assert ask(server) == server.pid


class Manager:
    """The service manager's end of NOTIFY_SOCKET."""

    def __init__(self, address: str) -> None:
        self.environment = {"NOTIFY_SOCKET": address}
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.settimeout(60)
        self.socket.bind(f"\0{address[1:]}" if address.startswith("@") else address)

    def wait_for(self, line: str) -> dict[str, str]:
        """Return the first message with such a line, letting others go."""
        while True:
            message = self.socket.recv(4096).decode()
            if line in message.split("\n"):
                return dict(each.split("=", 1) for each in message.split("\n"))


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    if request.param == "abstract" and sys.platform != "linux":
        pytest.skip("abstract sockets are Linux's")
    made = Manager(str(tmp_path / "notify") if request.param == "path" else f"@fastserve-test-{os.getpid()}")
    yield made
    made.socket.close()


@BOTH
def test_service_manager(start: Start, manager: Manager, workers: str) -> None:
    """READY, WATCHDOG and STOPPING at the time of each, from the process that was started."""
    environment = {**manager.environment, "WATCHDOG_USEC": "400000"}
    server = start("app", "--port", "0", "--workers", workers, env=environment)
    message = manager.wait_for("READY=1")
    assert message["MAINPID"] == str(server.pid)
    assert "Serving" in message["STATUS"]
    assert ask(server)
    manager.wait_for("WATCHDOG=1")
    manager.wait_for("WATCHDOG=1")
    server.send_signal(signal.SIGTERM)
    assert manager.wait_for("STOPPING=1")["STATUS"] == "Stopping"
    server.wait()


def test_watchdog_of_another_process(start: Start, tmp_path: Path) -> None:
    manager = Manager(str(tmp_path / "notify"))
    with manager.socket:
        environment = {**manager.environment, "WATCHDOG_USEC": "2000", "WATCHDOG_PID": "1"}
        server = start("app", "--port", "0", env=environment)
        manager.wait_for("READY=1")
        server.stop()
        assert manager.socket.recv(4096).startswith(b"STOPPING=1\n")


def test_service_manager_is_told_of_reloading(start: Start, tmp_path: Path) -> None:
    manager = Manager(str(tmp_path / "notify"))
    with manager.socket:
        server = start("app", "--port", "0", "--workers", "2", env=manager.environment)
        manager.wait_for("READY=1")
        ready(server, 2)
        server.send_signal(signal.SIGHUP)
        message = manager.wait_for("RELOADING=1")
        assert int(message["MONOTONIC_USEC"]) > 0
        assert manager.wait_for("READY=1")["STATUS"] == "Serving with 2 worker processes"
        server.wait_line(r"Child process \[\d+\] takes over", count=2)


@BOTH
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_shutdown_delay(start: Start, number: int, workers: str) -> None:
    """Until it is over, or the same signal comes again, new connections are served, and each response is the last."""
    options = ["--timeout-keep-alive", "60", "--shutdown-delay", "1000", "--workers", workers]
    server = start("app", "--port", "0", *options)
    serves(server)
    if workers == "2":
        ready(server, 2)
    with server.connect() as kept:
        assert Client(kept).ask(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n").get(b"connection") is None
        server.send_signal(number)
        server.wait_line(r"Serving on for 1000 s\. \(CTRL\+C to stop now\)$", count=int(workers))
        kept.sendall(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
        assert b"connection: close" in support.read_all(kept)
    with server.connect() as new:
        new.sendall(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
        assert b"connection: close" in support.read_all(new)
    assert server.stop(number) in (0, -number)
    assert "Traceback" not in server.output


def test_shutdown_delay_that_is_over(start: Start) -> None:
    server = start("app", "--port", "0", "--shutdown-delay", "0.2", start_new_session=True)
    assert ask(server)
    assert server.stop() == -signal.SIGTERM
    assert server.lines.index("INFO:     Shutting down") > 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_shutdown_delay_and_a_signal_to_the_process_group(start: Start, number: int) -> None:
    """It comes to the workers twice, from the terminal or systemd and by their parent: that is one signal to stop."""
    server = start("app", "--port", "0", "--shutdown-delay", "1000", "--workers", "2", start_new_session=True)
    ready(server, 2)
    os.killpg(server.pid, number)
    server.wait_line("Serving on for 1000 s", count=2)
    server.wait_line("Waiting for child process", count=2)
    assert ask(server)
    os.killpg(server.pid, number)
    assert server.wait() == 0
    assert "Traceback" not in server.output


def test_shutdown_delay_of_a_worker_is_ended_by_its_parent() -> None:
    """However often the worker itself is told to stop, unless the parent is gone."""
    server = fastserve.Server(fastserve.Config("a:b", shutdown_delay=1000, log_config=None))
    reader, writer = Pipe()
    with reader, writer:
        server.link = Link(reader, replaces=True)
        for _ in range(2):
            server.handle_exit(signal.SIGTERM, None)
        assert server._life.told == {Phase.LINGERING}
        server.link.orphaned = True
        server.handle_exit(signal.SIGTERM, None)
        assert server._life.told == {Phase.LINGERING, Phase.DRAINING}
