"""How processes end after a graceful stop: by exit handlers, and then as the signal has it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import support
from supervisors.clients import ask, ended, ready

HERE = Path(support.APPS)

Start = support.StartCommand
Program = Callable[..., support.Command]


@pytest.fixture
def serve(command: support.StartCommand) -> Start:
    """Start a command that serves ending_app.py: serve("--workers", "2")."""

    def run(*args: str, **options: object) -> support.Command:
        where = ["--app-dir", str(HERE), "--log-level", "debug", "--lifespan", "off"]
        port = [] if "--bind" in args else ["--port", "0"]
        return command("ending_app:app", *where, *port, *args, **options)

    return run


@pytest.fixture
def program() -> Iterator[Program]:
    """Start ending_app.py as a program: program("fastserve:run")."""
    running: list[support.Command] = []

    def run(how: str, **environment: str) -> support.Command:
        running.append(support.Command([sys.executable, str(HERE / "ending_app.py"), how], env=environment))
        return running[-1]

    yield run
    for each in running:
        each.close()


def exit_handlers(server: support.Command) -> list[int]:
    """Return in which processes the exit handler has run."""
    return [int(line.rpartition(" ")[2]) for line in server.stdout if line.startswith("exit handler in")]


# A single process


@pytest.mark.parametrize("options", [(), ("--loop", "asyncio"), ("--http", "h11")], ids=["default", "asyncio", "h11"])
def test_sigterm(serve: Start, options: tuple[str, ...]) -> None:
    """Tasks end, exit handlers run, what is printed is written, daemonic children end; then the signal's own action."""
    server = serve(*options)
    assert ask(server, "/task") == server.pid
    child = ask(server, "/daemon")
    server.wait_line(f"^child {child}$")
    assert server.stop() == -signal.SIGTERM
    assert server.stdout[-2:] == [f"task left in {server.pid}", f"exit handler in {server.pid}"]
    assert ended(child)


@pytest.mark.parametrize("how", ["fastserve:run", "fastserve:Server"])
def test_sigterm_to_a_program(program: Program, how: str) -> None:
    """Its finally blocks run, and the code after run() does not."""
    server = program(how)
    assert ask(server) == server.pid
    assert server.stop() == -signal.SIGTERM
    assert server.stdout[-2:] == ["finally", f"exit handler in {server.pid}"]
    assert "after run" not in server.stdout
    assert "Traceback" not in server.output


def test_sigint_to_a_program(program: Program) -> None:
    server = program("fastserve:run")
    assert ask(server) == server.pid
    assert server.stop(signal.SIGINT) == 0
    assert server.stdout[-3:] == ["after run", "finally", f"exit handler in {server.pid}"]


@pytest.mark.parametrize("module", ["fastserve", "uvicorn"])
def test_serve_in_a_program_of_ones_own(program: Program, module: str) -> None:
    """The signal is raised again there and then: to whom it means what is the program's affair."""
    server = program(f"{module}:serve")
    server.wait_line("running on")
    assert server.stop() == -signal.SIGTERM
    assert not {"after run", "finally"} & set(server.stdout)
    assert exit_handlers(server) == []


@pytest.mark.parametrize("blocking", ["thread", "handler"])
def test_watchdog(serve: Start, blocking: str) -> None:
    server = serve(env={"BLOCKING": blocking})
    ask(server, f"/{blocking}")
    assert server.stop() == -signal.SIGTERM
    server.wait_line("^The process is ended: a thread or an exit handler kept it from ending by itself\\.$")
    assert exit_handlers(server) == []  # that of the main thread has not been reached, or what it printed not written


@pytest.mark.parametrize("program", ["fastserve", "uvicorn"])
def test_a_large_program_is_not_taken_down_to_the_end(program: str) -> None:
    """Nothing is left to be waited for, and nothing to be told."""
    argv = ["-m", program, "ending_app:app", "--app-dir", str(HERE), "--port", "0", "--lifespan", "off"]
    server = support.Command([sys.executable, *argv])
    ask(server, "/large")
    assert server.stop() == -signal.SIGTERM
    assert server.stderr[-1].endswith(f"Finished server process [{server.pid}]")
    assert exit_handlers(server) == ([server.pid] if program == "fastserve" else [])
    server.close()


def test_second_sigterm_cuts_off_no_exit_handler(serve: Start) -> None:
    """A service manager sends it to the whole group, and the parent to its worker as well."""
    server = serve(env={"BLOCKING": "handler"})
    ask(server)
    server.send_signal(signal.SIGTERM)
    server.wait_line("Finished server process")
    server.send_signal(signal.SIGTERM)
    assert server.wait() == -signal.SIGTERM
    server.wait_line("^The process is ended: ")


# Workers and reload


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_workers(serve: Start, number: int) -> None:
    server = serve("--workers", "2")
    pids = ready(server, 2)
    child = ask(server, "/daemon")
    assert server.stop(number) == 0
    assert sorted(exit_handlers(server)) == sorted(pids)
    assert ended(child)


def test_workers_that_are_replaced(serve: Start) -> None:
    server = serve("--workers", "2")
    pids = ready(server, 2)
    server.send_signal(signal.SIGHUP)
    for pid in pids:
        server.wait_line(rf"^exit handler in {pid}$")
    assert server.stop() == 0
    assert len(exit_handlers(server)) == 4


@pytest.mark.parametrize("blocking", ["", "handler"])
def test_worker_that_has_served_its_requests(serve: Start, blocking: str) -> None:
    server = serve("--workers", "2", "--limit-max-requests", "1", env={"BLOCKING": blocking})
    ready(server, 2)
    pid = ask(server)
    if blocking:
        server.wait_line("^The process is ended: ")
    else:
        server.wait_line(rf"^exit handler in {pid}$")
    assert server.stop() == 0


def test_reload(serve: Start) -> None:
    server = serve("--reload", "--reload-dir", str(HERE))
    pid = ask(server)
    assert server.stop() == 0
    assert exit_handlers(server) == [pid, server.pid] or exit_handlers(server) == [pid]


def test_max_requests_of_a_single_process(serve: Start) -> None:
    server = serve("--limit-max-requests", "1")
    assert ask(server) == server.pid
    assert server.wait() == 0
    assert exit_handlers(server) == [server.pid]


# Children that the application forks, and the first process of a container


@pytest.mark.parametrize("options", [(), ("--workers", "2")], ids=["single", "workers"])
def test_forked_children_can_be_terminated(serve: Start, options: tuple[str, ...]) -> None:
    server = serve(*options)
    if options:
        ready(server, 2)
    assert ask(server, "/terminate") == -signal.SIGTERM


@pytest.mark.parametrize("as_command", [False, True])
def test_sigterm_to_a_first_process_that_imports(program: Program, as_command: bool, tmp_path: Path) -> None:
    """There is no default action for it: it handles the signal from the first moment."""
    if as_command:
        file = tmp_path / "command.py"
        file.write_text(
            "import os, sys\n"
            "os.getpid = lambda: 1\n"
            "from fastserve.__main__ import command\n"
            f"sys.argv = ['fastserve', 'ending_app:app', '--app-dir', {str(HERE)!r}]\n"
            "command()\n"
        )
        server = support.Command([sys.executable, str(file)], env={"SLOW_IMPORT": "1"})
    else:
        file = tmp_path / "program.py"
        file.write_text(
            "import os\n"
            "os.getpid = lambda: 1\n"
            "import fastserve\n"
            f"fastserve.run('ending_app:app', app_dir={str(HERE)!r})\n"
        )
        server = support.Command([sys.executable, str(file)], env={"SLOW_IMPORT": "1"})
    try:
        server.wait_line("^child 1$")
        assert server.stop() == -signal.SIGTERM
        assert server.stdout[-2:] == ["import left", "exit handler in 1"]
        assert "Traceback" not in server.output
    finally:
        server.close()


# Listening sockets


def refused(port: int) -> bool:
    """Return whether a client is refused, and another server can listen there."""
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=60).close()
    socket.create_server(("127.0.0.1", port)).close()
    return True


@pytest.mark.parametrize(
    "options",
    [("--workers", "2"), ("--workers", "2", "--reuse-port"), ("--reload", "--reload-dir", str(HERE)), ()],
    ids=["workers", "reuse-port", "reload", "single"],
)
def test_nobody_listens_while_requests_are_finished(serve: Start, gate: Path, options: tuple[str, ...]) -> None:
    server = serve(*options, env={"GATE": str(gate)})
    if "--workers" in options:
        ready(server, 2)
    with server.connect() as client:
        client.sendall(b"GET /gate HTTP/1.1\r\nHost: test\r\n\r\n")
        server.wait_line("^waiting in")
        server.send_signal(signal.SIGTERM)
        server.wait_line("Waiting for connections to close" if not options else "connections are refused")
        assert refused(server.port)
        os.close(os.open(gate, os.O_WRONLY))
        assert support.read_all(client).startswith(b"HTTP/1.1 200")
    assert server.wait() == (0 if options else -signal.SIGTERM)


def test_a_reloader_hears_at_once_that_its_process_listens_no_more(gate: Path) -> None:
    """Clients are reset, and not refused, for as long as it does not."""
    patient = (
        "import fastserve.supervisors.basereload as module; module.POLL_SECONDS = 1000.0; module.LOOK_SECONDS = 0.1"
    )
    code = f"{patient}\nfrom fastserve.cli import main\nmain()"
    options = ["--port", "0", "--app-dir", str(HERE), "--log-level", "debug", "--lifespan", "off"]
    command = [sys.executable, "-c", code, "ending_app:app", "--reload", "--reload-dir", str(HERE), *options]
    with contextlib.closing(support.Command(command, env={"GATE": str(gate)})) as server, server.connect() as client:
        client.sendall(b"GET /gate HTTP/1.1\r\nHost: test\r\n\r\n")
        server.wait_line("^waiting in")
        server.send_signal(signal.SIGTERM)
        server.wait_line("connections are refused")
        os.close(os.open(gate, os.O_WRONLY))
        assert support.read_all(client).startswith(b"HTTP/1.1 200")
        assert server.wait() == 0


def test_unix_socket_and_pid_file_of_the_next_server(serve: Start, gate: Path, tmp_path: Path) -> None:
    """It starts while the one before it finishes a request, and the files are its own from then on."""
    path, pid_file = tmp_path / "socket", tmp_path / "pid"
    options = ["--workers", "2", "--bind", f"unix:{path}", "--pid-file", str(pid_file)]
    server = serve(*options, "--bind", "127.0.0.1:0", env={"GATE": str(gate)})
    ready(server, 2)
    with server.connect() as client:
        client.sendall(b"GET /gate HTTP/1.1\r\nHost: test\r\n\r\n")
        server.wait_line("^waiting in")
        server.send_signal(signal.SIGTERM)
        server.wait_line("connections are refused")
        following = serve(*options)
        ready(following, 2)
        os.close(os.open(gate, os.O_WRONLY))
        assert support.read_all(client).startswith(b"HTTP/1.1 200")
    assert server.wait() == 0
    assert path.is_socket()
    assert pid_file.read_text() == f"{following.pid}\n"


def test_the_parent_listens_during_the_shutdown_delay(serve: Start) -> None:
    server = serve("--workers", "2", "--shutdown-delay", "1000")
    pids = ready(server, 2)
    server.send_signal(signal.SIGTERM)
    server.wait_line("Serving on for 1000", count=2)
    assert ask(server) in pids
    server.send_signal(signal.SIGTERM)
    assert server.wait() == 0


def test_user_signals_do_not_end_a_reloader(serve: Start) -> None:
    server = serve("--reload", "--reload-dir", str(HERE))
    pid = ask(server)
    server.send_signal(signal.SIGUSR1)
    server.wait_line("Received SIGUSR1, but there are no log files to open again")
    server.send_signal(signal.SIGUSR2)
    server.wait_line("Received SIGUSR2, which has no effect here")
    assert ask(server) == pid
    assert server.stop() == 0


@pytest.mark.parametrize(
    "options", [("--workers", "2"), ("--reload", "--reload-dir", str(HERE))], ids=["workers", "reload"]
)
def test_sigusr1_opens_the_log_files_of_every_process_again(
    serve: Start, tmp_path: Path, options: tuple[str, ...]
) -> None:
    """What the processes that serve log after it is in the new file."""
    file, moved, settings = tmp_path / "server.log", tmp_path / "server.log.1", tmp_path / "log.json"
    handlers = {
        "file": {"class": "logging.FileHandler", "filename": str(file)},
        "console": {"class": "logging.StreamHandler"},
    }
    logger = {"handlers": ["file", "console"], "level": "INFO"}
    settings.write_text(json.dumps({"version": 1, "handlers": handlers, "loggers": {"fastserve": logger}}))
    server = serve(*options, "--log-config", str(settings))
    count = 2 if "--workers" in options else 1
    server.wait_line("Started server process", count=count)
    file.rename(moved)
    server.send_signal(signal.SIGUSR1)
    server.wait_line(r"\d log file\(s\) opened again", count=1 + count)
    ask(server, "/moved")
    server.wait_line("GET /moved")
    assert "GET /moved" in file.read_text()
    assert "GET /moved" not in moved.read_text()
    assert server.stop() == 0


# Signals to all processes of a server, as of its control group


GROUP = """
print("importing", flush=True)
open({gate!r}).read(1)
async def app(scope, receive, send):
    await send({{"type": "http.response.start", "status": 200, "headers": []}})
    await send({{"type": "http.response.body", "body": b"served"}})
"""


@pytest.mark.parametrize(
    ("options", "number"),
    [
        (("--workers", "1", "--workers-lifetime", "9999"), signal.SIGUSR1),
        (("--workers", "1", "--preload"), signal.SIGUSR1),
        (("--reload",), signal.SIGUSR1),
        (("--reload",), signal.SIGUSR2),  # which starts a successor of a parent of workers
    ],
    ids=["workers", "preload", "reload", "reload SIGUSR2"],
)
def test_user_signals_end_no_process_that_imports(
    command: support.StartCommand, tmp_path: Path, gate: Path, options: tuple[str, ...], number: int
) -> None:
    """The parent passes them on: a process that it has started ignores its own."""
    (tmp_path / "group_app.py").write_text(GROUP.format(gate=str(gate)))
    where = ["--app-dir", str(tmp_path), "--lifespan", "off", "--port", "0", "--reload-dir", str(tmp_path)]
    server = command("group_app:app", *where[: None if "--reload" in options else -2], *options, start_new_session=True)
    server.wait_line("importing")
    os.killpg(server.pid, number)
    server.wait_line(f"Received {signal.Signals(number).name}")
    opened = os.open(gate, os.O_RDWR)  # which waits for nobody
    try:
        os.write(opened, b"x")
        assert server.get().endswith(b"served")
        os.killpg(server.pid, number)
        server.wait_line(f"Received {signal.Signals(number).name}", count=2)
        assert server.get().endswith(b"served")
        server.stop()
    finally:
        os.close(opened)
    assert server.stdout.count("importing") == 1
    assert "killed by" not in server.output


def test_a_hangup_of_all_processes(serve: Start) -> None:
    """It restarts the server process, and ends nothing else: multiprocessing would warn of what it lacks then."""
    server = serve("--reload", "--reload-dir", str(HERE), start_new_session=True)
    first = ask(server)
    os.killpg(server.pid, signal.SIGHUP)
    server.wait_line("Started server process", count=2)
    assert ask(server) != first
    server.stop()
    assert "resource_tracker" not in server.output
