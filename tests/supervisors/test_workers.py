"""Worker processes: what is logged, how they end, and what replaces those that die or hang."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import signal
import socket
import sys
import threading
from pathlib import Path

import pytest
import support
from core.responses import Client
from supervisors.clients import ask, processor_seconds, ready, stopped, wait_for_end

import fastserve
from fastserve.supervisors.process import Process

Start = support.StartCommand

HEALTH = ("--timeout-worker-healthcheck", "1")

GET = b"GET %s HTTP/1.1\r\nHost: test\r\n\r\n"

CHANGING = """
async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": b"served"})
"""


@pytest.mark.parametrize("by_environment", [False, True])
def test_workers(start: Start, by_environment: bool) -> None:
    """The parent binds, logs and waits, and imports no application; SIGTERM ends it with 0, and the workers before."""
    args = [] if by_environment else ["--workers", "2"]
    server = start("app", "--port", "0", *args, env={"WEB_CONCURRENCY": "2"} if by_environment else {})
    pids = ready(server, 2)
    assert ask(server) in pids
    assert server.stop() == 0
    lines = [re.sub(r"127\.0\.0\.1:\d+", "ADDRESS", line.removeprefix("INFO:     ")) for line in server.stderr]
    assert lines[:2] == [
        "Fastserve running on http://ADDRESS (Press CTRL+C to quit)",
        f"Started parent process [{server.pid}]",
    ]
    assert "Received SIGTERM, exiting." in lines
    for pid in pids:
        assert f"Terminated child process [{pid}]" in lines
        assert f"Waiting for child process [{pid}]" in lines
        assert f"Finished server process [{pid}]" in lines
        assert f"imported in {pid}" in server.stdout
    assert lines[-1] == f"Stopping parent process [{server.pid}]"
    assert f"imported in {server.pid}" not in server.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="no other system pins processes")
def test_workers_affinity(start: Start) -> None:
    """Each worker may use one processor, in turn, and so may one that replaces it; the parent may use all."""
    server = start("app", "--port", "0", "--workers", "2", "--workers-affinity")
    pids = ready(server, 2)
    usable = sorted(os.sched_getaffinity(0))
    expected = [{usable[0]}, {usable[1 % len(usable)]}]
    assert sorted(map(os.sched_getaffinity, pids), key=min) == expected
    assert os.sched_getaffinity(server.pid) == set(usable)
    os.kill(pids[0], signal.SIGKILL)
    new = ready(server, 3)[2]
    assert sorted(map(os.sched_getaffinity, (new, pids[1])), key=min) == expected


TO_PIPE = """
import os, runpy, sys
os.dup2(int(sys.argv.pop(1)), 1)
runpy.run_module("fastserve", run_name="__main__")
"""


def test_access_lines_of_workers_that_share_a_pipe() -> None:
    """None is torn, however full the pipe is."""
    reader, writer = os.pipe()
    if hasattr(fcntl, "F_SETPIPE_SZ"):
        fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    args = ["process_apps:app", "--app-dir", support.APPS, "--port", "0", "--workers", "4"]
    args += ["--timeout-worker-healthcheck", "60"]  # for those that are stopped below
    argv = [sys.executable, "-c", TO_PIPE, str(writer), *args, "--log-level", "debug"]
    server = support.Command(argv, pass_fds=(writer,))
    os.close(writer)
    clients = [socket.socket() for _ in range(4)]
    try:
        pids = ready(server, 4)
        for pid, client in zip(pids, clients, strict=True):
            with contextlib.ExitStack() as others:
                for other in set(pids) - {pid}:
                    others.enter_context(stopped(other))
                client.connect(("127.0.0.1", server.port))
                client.sendall(GET % b"/")
                assert Client(client).read().status == 200
        requests = [GET % b"/%d-%s" % (number, b"p" * 370) for number in range(250)]
        senders = [threading.Thread(target=client.sendall, args=(b"".join(requests),)) for client in clients]
        for sender in senders:
            sender.start()
        lines: list[str] = []
        with os.fdopen(reader, encoding="ascii") as pipe:
            while len(lines) < 4 * 251:
                line = pipe.readline()
                if not line.startswith("imported in"):
                    lines.append(line)
        line = r'INFO:     127\.0\.0\.1:\d+ - "GET /(\d+-p{370})? HTTP/1\.1" 200 OK\n'
        assert [each for each in lines if not re.fullmatch(line, each)] == []
        for sender in senders:
            sender.join()
    finally:
        for client in clients:
            client.close()
        server.close()


CLOSED_STREAMS = """
import os, runpy, sys
for number in sys.argv.pop(1):
    os.close(int(number))
runpy.run_module("fastserve", run_name="__main__")
"""
TELLS_STREAMS = """
import os
null = os.stat(os.devnull).st_rdev
async def app(scope, receive, send):
    found = bytes(ord("n" if os.fstat(number).st_rdev == null else "x") for number in range(3))
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": found})
"""


@pytest.mark.parametrize("how", [["--workers", "2"], ["--reload"]], ids=" ".join)
@pytest.mark.parametrize("closed", ["0", "012"])
def test_standard_streams_that_are_closed(tmp_path: Path, closed: str, how: list[str]) -> None:
    """No pipe and no socket of a worker gets their numbers."""
    (tmp_path / "closed.py").write_text(TELLS_STREAMS)
    with socket.create_server(("127.0.0.1", 0)) as sock:
        args = ["closed:app", "--fd", str(sock.fileno()), "--lifespan", "off", *how]
        argv = [sys.executable, "-c", CLOSED_STREAMS, closed, *args]
        server = support.Command(argv, cwd=tmp_path, pass_fds=(sock.fileno(),))
        try:
            with socket.create_connection(sock.getsockname(), timeout=60) as client:
                client.sendall(b"GET / HTTP/1.0\r\n\r\n")
                found = support.read_all(client).rpartition(b"\r\n\r\n")[2].decode()
            assert [found[int(number)] for number in closed] == ["n"] * len(closed)
            assert server.stop() == 0
        finally:
            server.close()


def test_directory_that_is_deleted(start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "deleted").mkdir()
    monkeypatch.chdir(tmp_path / "deleted")
    (tmp_path / "deleted").rmdir()
    server = start("app", "--port", "0", "--workers", "2")
    assert server.process.wait(support.PATIENCE) == 3
    assert server.stderr == [
        "ERROR:    the working directory has been deleted: start in one that exists, since child processes need it"
    ]


def test_web_concurrency_that_is_no_number(start: Start) -> None:
    server = start("app", env={"WEB_CONCURRENCY": "many"})
    assert server.wait() == 2
    assert server.lines[-1] == "Error: WEB_CONCURRENCY: 'many': expected a whole number or auto"


@pytest.mark.parametrize(
    ("path", "fate"), [("/leave/7", "exit code 7"), ("/die/SIGKILL", "killed by SIGKILL"), ("/die/SIGABRT", "SIGABRT")]
)
def test_worker_that_dies_is_replaced(start: Start, path: str, fate: str) -> None:
    server = start("app", "--port", "0", "--workers", "2")
    pids = ready(server, 2)
    assert server.get(path) == b""
    died = int(server.wait_line(rf"^WARNING:  Child process \[(\d+)\] died: .*{fate}$")[1])
    assert died in pids
    new = ready(server, 3)[2]
    os.kill((set(pids) - {died}).pop(), signal.SIGSTOP)  # the new one must answer now
    assert ask(server) == new
    os.kill((set(pids) - {died}).pop(), signal.SIGCONT)


def test_worker_told_to_stop_by_itself_is_replaced(start: Start) -> None:
    """Somebody sends SIGTERM to a worker: it ends as a server does, and there is another one."""
    server = start("app", "--port", "0", "--workers", "2")
    first, _ = ready(server, 2)
    os.kill(first, signal.SIGTERM)
    server.wait_line(rf"Finished server process \[{first}\]")
    server.wait_line(rf"Child process \[{first}\] died: killed by SIGTERM$")
    ready(server, 3)
    assert server.stop() == 0


def is_killed(server: support.Command, path: str, what: str) -> None:
    """Wait until the worker that this path makes hang is killed, and has said where, and what it was working on."""
    (hung,) = ready(server, 1)
    with server.connect() as waiting, server.connect() as client:
        waiting.sendall(GET % b"/wait")
        server.wait_line(f"waiting in {hung}")
        client.sendall(GET % path.encode())
        server.wait_line(rf"^ERROR:    Child process \[{hung}\] {what}\. Killing it\. It was at:$")
        server.wait_line(rf"process_apps\.py\", line \d+ in {path[1:]}$")
        server.wait_line(r"^It was working on:$")
        server.wait_line(r"^  GET /wait for \d+\.\d s$")
        server.wait_line(rf"^  GET {path} for \d\.\d s$")
        assert any(re.match(r"(Current t|T)hread 0x", line) for line in server.lines)
    server.wait_line(rf"Child process \[{hung}\] died: killed by SIGKILL$")
    assert ask(server) == ready(server, 2)[1]


@pytest.mark.parametrize("options", [(), ("--preload",)], ids=" ".join)
def test_timeout_worker_healthcheck(start: Start, options: tuple[str, ...]) -> None:
    """A worker may run no Python at all, and still says where it hangs."""
    server = start("app", "--port", "0", "--workers-lifetime", "1000", *HEALTH, *options)
    is_killed(server, "/hold", r"has not answered for \d\.\d s")


def test_timeout_worker_blocked(start: Start) -> None:
    """One worker that is to be killed in time has a parent, too."""
    server = start("app", "--port", "0", "--timeout-worker-blocked", "1")
    is_killed(server, "/block", r"has an event loop that has been blocked for \d\.\d s")


def test_blocked_event_loop(start: Start, gate: Path) -> None:
    """A synchronous call in a coroutine is logged while it holds up all others, and it may go on to its end."""
    server = start("app", "--port", "0", "--workers", "2", *HEALTH, env={"GATE": str(gate)})
    pids = ready(server, 2)
    with server.connect() as client:
        client.sendall(GET % b"/synchronous")
        blocked = int(
            server.wait_line(
                r"^WARNING:  Child process \[(\d+)\] has an event loop that has been blocked for \d\.\d s\. It is at:$"
            )[1]
        )
        server.wait_line(r"process_apps\.py\", line \d+ in synchronous$")
        server.wait_line(r"^  GET /synchronous for \d\.\d s$")
        os.close(os.open(gate, os.O_WRONLY))
        assert Client(client).read().body == str(blocked).encode()
    assert blocked in pids
    assert server.stop() == 0
    assert "died" not in server.output


def test_a_block_is_noted_once() -> None:
    """However long it lasts; the next one is another."""
    process = Process(fastserve.Config("a:b", log_config=None), [])
    process.ready = True
    noted = []
    for silence in (None, 0.2, 4.9, 5.1, 8.0, 60.0, 0.1, 5.2, None):
        process.loop_silence = silence
        noted.append(process.new_block(5))
        assert process.silence(5) is None
    assert noted == [None, None, None, 5.1, None, None, None, 5.2, None]
    process.close()


def test_worker_that_hangs_while_the_parent_stops(start: Start) -> None:
    server = start("app", "--port", "0", "--workers", "2", *HEALTH)
    ready(server, 2)
    with server.connect() as client:
        client.sendall(GET % b"/hold")
        server.wait_line("holding in")
        server.send_signal(signal.SIGTERM)
        assert server.wait() == 0
    server.wait_line("Killing it")


def test_crash_loop_backs_off(start: Start) -> None:
    """The first time at once, then after a time that doubles."""
    server = start("leaving", "--factory", "--port", "0", "--workers-lifetime", "1000")
    server.wait_line(r"died: exit code 5$")
    server.wait_line(r"died: exit code 5; starting the next one in 0\.5 s$")
    server.wait_line(r"died: exit code 5; starting the next one in 1 s$")
    assert server.stop() == 0


@pytest.mark.parametrize(
    ("app", "options", "line"),
    [
        ("failing", (), r"^ERROR:    no database$"),
        (
            "nothing",
            (),
            r'^ERROR:    Error loading ASGI app\. Attribute "nothing" not found in module "process_apps"\.$',
        ),
        (
            "not_there",
            ("--factory",),
            r"^ERROR:    Error loading ASGI app factory: RuntimeError: the factory is broken",
        ),
        ("app", ("--loop", "process_apps:nothing"), r'^ERROR:    .*Attribute "nothing" not found'),
        ("app", ("--loop", "process_apps:app"), r'^ERROR:    .*"process_apps:app": TypeError: app\(\) missing 3'),
    ],
)
def test_startup_failure_stops_the_parent(start: Start, app: str, options: tuple[str, ...], line: str) -> None:
    server = start(app, "--port", "0", "--workers", "2", *options)
    assert server.wait() == 3
    server.wait_line(line)
    server.wait_line(r"^ERROR:    Child process \[\d+\] failed to start, stopping the parent process\.$")
    assert "Traceback" not in server.output or app == "not_there"


def test_interrupt_of_the_process_group(start: Start, gate: Path) -> None:
    """CTRL+C reaches parent and workers alike: the request under way is answered, and nobody prints a traceback."""
    environment = {"GATE": str(gate)}
    server = start("app", "--port", "0", "--workers", "2", start_new_session=True, env=environment)
    ready(server, 2)
    with server.connect() as client:
        client.sendall(GET % b"/gate")
        server.wait_line("waiting in")
        os.killpg(server.pid, signal.SIGINT)
        server.wait_line("Waiting for connections to close")
        os.close(os.open(gate, os.O_WRONLY))
        assert support.read_all(client).startswith(b"HTTP/1.1 200")
    assert server.wait() == 0
    assert "Traceback" not in server.output


def test_interrupt_while_workers_start(start: Start) -> None:
    server = start("app", "--port", "0", "--workers", "2", start_new_session=True)
    server.wait_line("Started parent process")
    os.killpg(server.pid, signal.SIGINT)
    assert server.wait() == 0
    assert "Traceback" not in server.output


def test_second_interrupt_of_the_parent(start: Start) -> None:
    """It is passed on to the workers, which stop at once."""
    server = start("app", "--port", "0", "--workers", "2")
    ready(server, 2)
    with server.connect() as client:
        client.sendall(GET % b"/wait")
        server.wait_line("waiting in")
        server.send_signal(signal.SIGINT)
        server.wait_line("Waiting for connections to close")
        server.send_signal(signal.SIGINT)
        assert support.read_all(client) == b""
    assert server.wait() == 0


def test_workers_outlive_no_parent(start: Start, gate: Path) -> None:
    """The parent is killed: its workers answer what is under way, and end."""
    server = start("app", "--port", "0", "--workers", "2", env={"GATE": str(gate)})
    pids = ready(server, 2)
    with server.connect() as client:
        client.sendall(GET % b"/gate")
        server.wait_line("waiting in")
        server.process.kill()
        server.wait_line(r"^WARNING:  The parent process is gone: stopping\.$", count=2)
        os.close(os.open(gate, os.O_WRONLY))
        assert support.read_all(client).startswith(b"HTTP/1.1 200")
    for pid in pids:
        server.wait_line(rf"Finished server process \[{pid}\]")
    server.wait()  # the outputs end with the last of the processes that hold them
    wait_for_end(*pids)


LAMBDA = """
import fastserve
if __name__ == "__main__":
    fastserve.run("a:b", workers=2, port=0, callback_notify=lambda: None)
"""
UNGUARDED = """
import fastserve
fastserve.run("a:b", workers=2, port=0)
"""


@pytest.mark.parametrize(
    ("program", "line"),
    [
        pytest.param(LAMBDA, "cannot send the configuration to another process: .*lambda", id="no pickle"),
        pytest.param(UNGUARDED, ".* put the call under if __name__ == '__main__':$", id="no guard"),
    ],
)
def test_programs_whose_workers_cannot_be_started(tmp_path: Path, program: str, line: str) -> None:
    file = tmp_path / "program.py"
    file.write_text(program)
    process = support.Command([sys.executable, str(file)])
    try:
        assert process.wait() == 3
        process.wait_line(f"^ERROR:    {line}")
        assert "Traceback" not in process.output
    finally:
        process.close()


@pytest.mark.parametrize("given", ["workers=2", "reload=True"])
def test_application_that_is_no_import_string(tmp_path: Path, given: str) -> None:
    file = tmp_path / "program.py"
    file.write_text(f"import fastserve\nfastserve.run(lambda scope: None, {given}, port=0)\n")
    program = support.Command([sys.executable, str(file)])
    try:
        assert program.wait() == 3
        line = "You must pass the application as an import string to enable 'reload' or 'workers'."
        assert program.lines == [f"WARNING:  {line}"]
    finally:
        program.close()


def test_port_in_use(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = start("app", "--workers", "2", "--port", str(taken.getsockname()[1]))
        assert server.wait() == 3
    assert "address already in use" in server.output
    assert "Started parent" not in server.output


def test_standard_input_is_the_workers(start: Start) -> None:
    server = start("app", "--port", "0", "--workers", "2")
    ready(server, 2)
    server.get("/stdin")
    server.wait_line("^read ''$")


@pytest.mark.skipif(sys.platform != "linux", reason="no prlimit")
@pytest.mark.parametrize("number", [signal.SIGTTIN, signal.SIGHUP])
def test_no_room_for_another_worker(start: Start, number: int) -> None:
    """Those that serve go on, and the other one is started once there is room."""
    import resource

    server = start("app", "--port", "0", "--workers", "1", "--workers-lifetime", "1000")
    ready(server, 1)
    before = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)
    opened = [int(entry.name) for entry in Path(f"/proc/{server.pid}/fd").iterdir()]
    resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (max(opened) + 1, before[1]))
    server.send_signal(number)
    server.wait_line(r"^ERROR:    Cannot start worker: .*Too many open files; retrying in 1 s$")
    assert ask(server)
    resource.prlimit(server.pid, resource.RLIMIT_NOFILE, before)
    if number == signal.SIGTTIN:
        ready(server, 2)
    else:
        server.wait_line(r"Child process \[\d+\] takes over")
    assert server.stop() == 0


def test_one_more_worker_of_broken_code(command: support.StartCommand, tmp_path: Path) -> None:
    """It is no reason to stop those that serve, and it is started once the code is mended."""
    file = tmp_path / "changing.py"
    file.write_text(CHANGING)
    args = ["--app-dir", str(tmp_path), "--log-level", "debug", "--port", "0", "--workers-lifetime", "1000"]
    # A .pyc file of the same second and size would hide the change.
    server = command("changing:app", *args, env={"PYTHONDONTWRITEBYTECODE": "1"})
    ready(server, 1)
    file.write_text("import nothing_like_it\n")
    server.send_signal(signal.SIGTTIN)
    server.wait_line(r"died: exit code 3$")
    assert server.get().endswith(b"served")
    file.write_text(CHANGING)
    ready(server, 2)
    assert server.stop() == 0


def test_blocked_worker_outlives_no_parent(start: Start) -> None:
    """It says where it is blocked before it ends itself."""
    server = start("app", "--port", "0", "--workers", "2", *HEALTH, "--timeout-worker-blocked", "1")
    pids = ready(server, 2)
    with server.connect() as client:
        client.sendall(GET % b"/block")
        server.process.kill()
        server.wait_line(r"^Timeout \(0:00:01\)!$")
        server.wait_line(r"process_apps\.py\", line \d+ in block$")
        server.wait()  # the outputs end with the last of the processes that hold them
    wait_for_end(*pids)


@pytest.mark.skipif(sys.platform != "linux", reason="no /proc")
def test_parent_is_idle_while_a_replacement_loads(command: support.StartCommand, tmp_path: Path) -> None:
    """Each of two takes a second to import, and the other one waits for it."""
    (tmp_path / "slow.py").write_text("import time\ntime.sleep(1)\nfrom process_apps import app\n")
    path = os.pathsep.join([str(tmp_path), support.APPS])
    server = command("slow:app", "--port", "0", "--workers", "2", "--log-level", "debug", env={"PYTHONPATH": path})
    pids = ready(server, 2)
    before = processor_seconds(server.pid)
    server.send_signal(signal.SIGHUP)
    for pid in pids:
        server.wait_line(rf"takes over from child process \[{pid}\]")
    assert processor_seconds(server.pid) - before < 0.15
    assert server.stop() == 0


@pytest.mark.skipif(sys.platform != "linux", reason="no /proc")
def test_parent_is_idle_while_workers_finish(start: Start) -> None:
    """A response without an end is waited for, two seconds here."""
    server = start("app", "--port", "0", "--workers", "2", "--timeout-graceful-shutdown", "2")
    ready(server, 2)
    with server.connect() as client:
        client.sendall(GET % b"/wait")
        server.wait_line("waiting in")
        before = processor_seconds(server.pid)
        server.send_signal(signal.SIGTERM)
        server.wait_line("timeout graceful shutdown exceeded")
        assert processor_seconds(server.pid) - before < 0.15
    assert server.wait() == 0
