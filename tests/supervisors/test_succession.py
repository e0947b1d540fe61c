"""SIGUSR2: the parent starts its successor with its sockets; once that serves, nothing is lost, and this one ends."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import support
from load import until
from supervisors.clients import Http2Load, Load, Succeeding, ask, ended, ready, wait_for_end

from fastserve.net.address import Bind
from fastserve.net.socket_activation import HANDOVER
from fastserve.process import handover
from fastserve.supervisors import successor

Start = support.StartCommand

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no SIGUSR2")

QUIET = ("--no-access-log", "--lifespan", "off")

CHANGING = """
import os
async def app(scope, receive, send):
    await send({{"type": "http.response.start", "status": 200}})
    await send({{"type": "http.response.body", "body": b"{version} " + os.environ.get("OF_FILE", "").encode()}})
"""


LIMPING = """
try:
    os.close(os.open("first", os.O_CREAT | os.O_EXCL))
except FileExistsError:
    open({gate!r}).read()
"""


@pytest.fixture
def successors() -> Iterator[Succeeding]:
    with Succeeding() as made:
        yield made


@pytest.mark.parametrize(
    "options",
    [(), ("--reuse-port",), ("--preload",)],
    ids=" ".join,
)
def test_no_connection_is_lost(start: Start, successors: Succeeding, options: tuple[str, ...]) -> None:
    """Neither new connections nor those kept open; and so once more, from the successor to its own."""
    server = start("app", "--port", "0", "--workers", "2", *options, *QUIET)
    ready(server, 2)
    with Load(server.port) as load:
        first = successors.next(server)
        assert server.process.wait(support.PATIENCE) == 0
        second = successors.next(server, 2)
        wait_for_end(first)
        new = ready(server, 6)[4:]
        load.wait_for(new)
    assert load.failures == []
    assert not ended(second)
    assert "Traceback" not in server.output


def test_no_counter_falls(start: Start, successors: Succeeding) -> None:
    """The successor goes on with what its predecessor has counted, whose workers count as long as they live."""
    server = start("app", "--port", "0", "--workers", "2", "--metrics-bind", "127.0.0.1:0", *QUIET)
    ready(server, 2)
    port = int(server.wait_line(r"Metrics on http://127.0.0.1:(\d+)/metrics$")[1])
    counts = [requests_of(port)]
    with Load(server.port) as load:
        successors.begin(server)
        while server.process.poll() is None:
            counts.append(requests_of(port))
    assert counts == sorted(counts)
    assert load.failures == []
    sent = sum(load.answers.values())
    until(lambda: requests_of(port) == sent, f"a count of {sent}")


def test_counts_of_the_oldest_workers(start: Start, successors: Succeeding, gate: Path) -> None:
    """What they serve after a second replacement counts as well, and goes on to count once they have ended."""
    options = ("--port", "0", "--workers", "2", "--metrics-bind", "127.0.0.1:0", *QUIET)
    server = start("app", *options, env={"GATE": str(gate)})
    ready(server, 2)
    port = int(server.wait_line(r"Metrics on http://127.0.0.1:(\d+)/metrics$")[1])
    with server.connect() as client:
        client.sendall(b"GET /gate HTTP/1.1\r\nHost: test\r\n\r\n")
        server.wait_line("waiting in")
        first = successors.next(server)
        successors.next(server, 2)
        until(lambda: ended(first), "the end of the first successor")
        assert server.process.poll() is None
        assert requests_of(port) == 0
        os.close(os.open(gate, os.O_WRONLY))
        assert support.read_all(client).startswith(b"HTTP/1.1 200")
        until(lambda: requests_of(port) == 1, "a count of 1")
    assert server.process.wait(support.PATIENCE) == 0
    until(lambda: 'worker_ends_total{reason="replaced"} 4' in scraped(port), "the ends of four workers")
    assert requests_of(port) == 1


def scraped(port: int) -> str:
    with socket.create_connection(("127.0.0.1", port), timeout=support.PATIENCE) as client:
        client.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
        return support.read_all(client).decode()


def requests_of(port: int) -> int:
    found = re.findall(r"^http_server_request_duration_seconds_count\{.*\} (\d+)$", scraped(port), re.MULTILINE)
    return sum(map(int, found))


def test_over_http2(start: Start, successors: Succeeding) -> None:
    server = start("app", "--port", "0", "--workers", "2", *QUIET)
    ready(server, 2)
    with Http2Load(server.port) as load:
        successors.next(server)
        assert server.process.wait(support.PATIENCE) == 0
    assert load.failures == []


def test_requests_under_way(start: Start, successors: Succeeding, gate: Path) -> None:
    """The old server answers them, however long they take, and ends after them."""
    server = start("app", "--port", "0", "--workers", "2", env={"GATE": str(gate)})
    old = ready(server, 2)
    with server.connect() as client:
        client.sendall(b"GET /gate HTTP/1.1\r\nHost: test\r\n\r\n")
        server.wait_line("waiting in")
        successors.next(server)
        until(lambda: ask(server) not in old, "a response of the successor")
        assert server.process.poll() is None
        os.close(os.open(gate, os.O_WRONLY))
        assert support.read_all(client).startswith(b"HTTP/1.1 200")
    assert server.process.wait(support.PATIENCE) == 0


def test_everything_is_the_successors(command: support.StartCommand, successors: Succeeding, tmp_path: Path) -> None:
    """Addresses, pid file, metrics, control socket, main process of the service: all with new code and environment."""
    (tmp_path / "changing.py").write_text(CHANGING.format(version="old"))
    (tmp_path / "env").write_text("OF_FILE=old\n")
    notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    notify.settimeout(support.PATIENCE)
    notify.bind(str(tmp_path / "notify"))
    options = ["--bind", "127.0.0.1:0", "--bind", "unix:app.sock", "--workers", "2", "--pid-file", "pid"]
    options += ["--metrics-bind", "127.0.0.1:0", "--control-socket", "ctl.sock", "--env-file", "env", "--preload"]
    environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "PYTHONDONTWRITEBYTECODE": "1"}
    server = command("changing:app", *options, "--log-level", "debug", cwd=tmp_path, env=environment)
    with notify:
        ready(server, 2)
        assert notify.recv(4096).startswith(b"READY=1")
        metrics = int(server.wait_line(r"Metrics on http://127.0.0.1:(\d+)/metrics$")[1])
        assert server.get().endswith(b"old old")
        (tmp_path / "changing.py").write_text(CHANGING.format(version="new"))
        (tmp_path / "env").write_text("OF_FILE=new\n")
        pid = successors.next(server)
        message = notify.recv(4096).decode()
        while "MAINPID" not in message:
            message = notify.recv(4096).decode()
        assert message.splitlines()[0] == f"MAINPID={pid}"
        message = notify.recv(4096).decode()
        assert message.splitlines()[:2] == ["READY=1", f"MAINPID={pid}"]
        assert server.process.wait(support.PATIENCE) == 0
        assert (tmp_path / "pid").read_text() == f"{pid}\n"
        assert server.get().endswith(b"new new")
        assert over_unix(tmp_path / "app.sock", "/").endswith("new new")
        assert json.loads(over_unix(tmp_path / "ctl.sock", "/version").splitlines()[-1])["pid"] == pid
        with socket.create_connection(("127.0.0.1", metrics), timeout=support.PATIENCE) as client:
            client.sendall(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert support.read_all(client).endswith(b"\r\n\r\nok\n")
        os.kill(pid, signal.SIGTERM)
        wait_for_end(pid)
    assert not {"pid", "app.sock", "ctl.sock"} & {path.name for path in tmp_path.iterdir()}


def over_unix(path: Path, target: str) -> str:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(support.PATIENCE)
        client.connect(str(path))
        client.sendall(f"GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        return support.read_all(client).decode()


def test_it_takes_over_when_all_its_workers_serve(
    command: support.StartCommand, successors: Succeeding, tmp_path: Path, gate: Path
) -> None:
    (tmp_path / "changing.py").write_text(CHANGING.format(version="old"))
    options = ["--port", "0", "--workers", "2", "--log-level", "debug"]
    server = command("changing:app", *options, cwd=tmp_path, env={"PYTHONDONTWRITEBYTECODE": "1"})
    ready(server, 2)
    (tmp_path / "changing.py").write_text(CHANGING.format(version="new") + LIMPING.format(gate=str(gate)))
    successors.begin(server)
    ready(server, 3)
    for _ in range(50):
        assert server.get().endswith((b"old ", b"new "))
    assert "serves: stopping this server" not in server.output
    gate.write_text("")
    server.wait_line(rf"Successor \[{successors.found[0]}\] serves: stopping this server\.$")
    assert server.process.wait(support.PATIENCE) == 0


@pytest.mark.parametrize("how", ["import", "option", "killed"])
def test_successor_that_fails(command: support.StartCommand, tmp_path: Path, how: str, gate: Path) -> None:
    """The server goes on, with all that it has, and says why; the next successor may succeed."""
    (tmp_path / "changing.py").write_text(CHANGING.format(version="old"))
    options = ["--bind", "127.0.0.1:0", "--bind", "unix:app.sock", "--workers", "2", "--pid-file", "pid"]
    options += ["--control-socket", "ctl.sock", "--log-level", "debug"]
    server = command("changing:app", *options, cwd=tmp_path, env={"PYTHONDONTWRITEBYTECODE": "1"})
    ready(server, 2)
    if how == "import":
        (tmp_path / "changing.py").write_text("import nothing_like_it\n")
    elif how == "option":
        (tmp_path / "fastserve.toml").write_text("prot = 1\n")
    else:
        (tmp_path / "changing.py").write_text(f"open({str(gate)!r}).read()\n")
    server.send_signal(signal.SIGUSR2)
    if how == "killed":
        pid = int(server.wait_line(r"Started parent process \[(\d+)\]", count=2)[1])
        server.send_signal(signal.SIGUSR2)
        server.wait_line(rf"Received SIGUSR2, but the successor \[{pid}\] has not started yet\.$")
        os.kill(pid, signal.SIGKILL)
    fate = {"import": "exit code 3", "option": "exit code 2", "killed": "killed by SIGKILL"}[how]
    server.wait_line(
        rf"^ERROR:    Successor \[\d+\] ended before it was ready \({fate}\); this server keeps running\.$"
    )
    assert (tmp_path / "pid").read_text() == f"{server.pid}\n"
    assert server.get().endswith(b"old ")
    assert over_unix(tmp_path / "app.sock", "/").endswith("old ")
    assert json.loads(over_unix(tmp_path / "ctl.sock", "/version").splitlines()[-1])["pid"] == server.pid
    assert server.stop() == 0


def test_stop_while_a_successor_starts(command: support.StartCommand, tmp_path: Path, gate: Path) -> None:
    """It is stopped as well."""
    (tmp_path / "changing.py").write_text(CHANGING.format(version="old"))
    options = ["--port", "0", "--workers", "2", "--log-level", "debug"]
    server = command("changing:app", *options, cwd=tmp_path, env={"PYTHONDONTWRITEBYTECODE": "1"})
    ready(server, 2)
    (tmp_path / "changing.py").write_text(f"open({str(gate)!r}).read()\n")
    server.send_signal(signal.SIGUSR2)
    pid = int(server.wait_line(r"Started parent process \[(\d+)\]", count=2)[1])
    server.send_signal(signal.SIGTERM)
    assert server.wait() == 0
    wait_for_end(pid)


def test_other_options(command: support.StartCommand, successors: Succeeding, tmp_path: Path) -> None:
    """The configuration is read again: an address more, and one that is not served any more."""
    (tmp_path / "changing.py").write_text(CHANGING.format(version="old"))
    file = tmp_path / "fastserve.toml"
    file.write_text('workers = 2\nbind = ["127.0.0.1:0", "unix:gone.sock"]\nlog-level = "debug"\n')
    server = command("changing:app", cwd=tmp_path)
    ready(server, 2)
    file.write_text('workers = 3\nbind = ["127.0.0.1:0", "unix:new.sock"]\nlog-level = "debug"\n')
    successors.next(server)
    assert server.process.wait(support.PATIENCE) == 0
    assert ready(server, 5)
    assert server.get().endswith(b"old ")
    assert over_unix(tmp_path / "new.sock", "/").endswith("old ")
    with pytest.raises(ConnectionRefusedError):
        over_unix(tmp_path / "gone.sock", "/")


def test_descriptor_of_another_program(start: Start, successors: Succeeding) -> None:
    """The successor gets a socket that was passed to the command, though it has another number there."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        descriptor = sock.fileno()
        server = start("app", "--fd", str(descriptor), "--workers", "2", *QUIET, pass_fds=(descriptor,))
        old = ready(server, 2)
        address = sock.getsockname()
    successors.next(server)
    assert server.process.wait(support.PATIENCE) == 0
    with socket.create_connection(address, timeout=support.PATIENCE) as client:
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert int(support.read_all(client).rpartition(b"\r\n\r\n")[2]) in set(ready(server, 4)[2:]) - set(old)


def test_directory_by_its_name(command: support.StartCommand, successors: Succeeding, tmp_path: Path) -> None:
    """A link that leads to the new code: the successor starts where it leads by then."""
    for version in ("old", "new"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "changing.py").write_text(CHANGING.format(version=version))
    link = tmp_path / "current"
    link.symlink_to("old")
    options = ["--port", "0", "--workers", "2", "--log-level", "debug"]
    server = command("changing:app", *options, cwd=link, env={"PWD": str(link)})
    ready(server, 2)
    link.unlink()
    link.symlink_to("new")
    successors.next(server)
    assert server.process.wait(support.PATIENCE) == 0
    assert server.get().endswith(b"new ")


def test_where_there_can_be_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert successor.impossible() is None
    monkeypatch.setattr(os, "getpid", lambda: 1)
    assert re.search("process 1", str(successor.impossible()))
    monkeypatch.undo()
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    assert "does not run in an interpreter" in str(successor.impossible())


def test_handover_of_another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an application starts inherits no variables of it, and what is not for this process is left alone."""
    monkeypatch.setenv(HANDOVER, json.dumps({"sockets": [["bind", "h:1"]]}))
    monkeypatch.setenv("LISTEN_PID", "1")
    monkeypatch.setenv("LISTEN_FDS", "1")
    assert handover.Handover.from_environment() is None
    assert not {HANDOVER, "LISTEN_PID", "LISTEN_FDS"} & set(os.environ)


@pytest.mark.parametrize("text", ["h:1", "unix:/x", "fd://3", "[::1]:80"])
def test_keys(text: str) -> None:
    """An address keeps its socket with and without TLS."""
    assert handover.key(Bind.parse(text)) == handover.key(Bind.parse(f"http://{text}"))
