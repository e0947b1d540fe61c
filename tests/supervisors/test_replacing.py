"""Workers that are replaced while clients ask: not one request fails, on new connections or on those kept open."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import support
from core.responses import Client
from load import until
from supervisors.clients import Http2Load, Load, ask, processor_seconds, ready, replaced

Start = support.StartCommand

QUIET = ("--no-access-log", "--lifespan", "off")
KEPT = ("--timeout-keep-alive", "60")  # for idle clients, however late a busy machine lets them ask again


@pytest.mark.parametrize("options", [("--loop", "uvloop"), ("--loop", "asyncio"), ("--http", "h11")], ids=" ".join)
def test_sighup(start: Start, options: tuple[str, ...]) -> None:
    """Every worker is replaced, one after the other."""
    server = start("app", "--port", "0", "--workers", "2", *options, *QUIET)
    old = ready(server, 2)
    with Load(server.port) as load:
        server.send_signal(signal.SIGHUP)
        pairs = replaced(server, 2)
        load.wait_for([after for after, _ in pairs])
    assert load.failures == []
    assert sorted(before for _, before in pairs) == sorted(old)
    assert "INFO:     Received SIGHUP, restarting processes." in server.lines
    assert server.stop() == 0


def test_sighup_over_http2(start: Start) -> None:
    """Each connection is told to go elsewhere in time, and what it has asked for is answered."""
    server = start("app", "--port", "0", "--workers", "2", *QUIET)
    old = ready(server, 2)
    with Http2Load(server.port) as load:
        server.send_signal(signal.SIGHUP)
        pairs = replaced(server, 2)
        load.wait_for([after for after, _ in pairs])
    assert load.failures == []
    assert sorted(before for _, before in pairs) == sorted(old)
    assert server.stop() == 0


@pytest.mark.programs
def test_sighup_under_h2load(start: Start) -> None:
    """It opens no second connection, and counts what it has not begun as failed: of what it has, nothing does."""
    program = shutil.which("h2load")
    if program is None:
        pytest.skip("h2load is not installed")
    server = start("app", "--port", "0", "--workers", "2", *QUIET)
    old = ready(server, 2)
    argv = [program, "-n", "5000000", "-c", "8", "-m", "8", server.url]
    used = sum(map(processor_seconds, old))
    load = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        until(lambda: sum(map(processor_seconds, old)) > used + 0.3, "no load")
        server.send_signal(signal.SIGHUP)
        replaced(server, 2)
        out, _ = load.communicate(timeout=support.PATIENCE)
    finally:
        load.kill()
        load.wait()
    match = re.search(r"(\d+) started, (\d+) done, (\d+) succeeded, .* 0 timeout", out)
    assert match, out
    assert int(match[1]) == int(match[2]) == int(match[3]) > 0
    assert f"status codes: {match[1]} 2xx, 0 3xx, 0 4xx, 0 5xx" in out
    assert server.stop() == 0


@pytest.mark.parametrize("options", [(), ("--preload",)], ids=" ".join)
def test_sigttin_and_sigttou(start: Start, options: tuple[str, ...]) -> None:
    server = start("app", "--port", "0", "--workers", "1", "--workers-lifetime", "1000", *options, *QUIET)
    (first,) = ready(server, 1)
    with Load(server.port) as load:
        server.send_signal(signal.SIGTTIN)
        second = ready(server, 2)[1]
        server.send_signal(signal.SIGTTOU)
        server.wait_line(rf"Finished server process \[{second}\]")
        server.send_signal(signal.SIGTTOU)
        server.wait_line("Already reached one process, cannot decrease the number of processes anymore.")
    assert load.failures == []
    assert set(load.answers) <= {first, second}
    assert ask(server) == first
    assert "INFO:     Received SIGTTIN, increasing the number of processes." in server.lines
    assert "INFO:     Received SIGTTOU, decreasing number of processes." in server.lines


@pytest.mark.parametrize(
    ("more", "kind"), [((), Load), (("--preload",), Load), ((), Http2Load)], ids=["plain", "preload", "http2"]
)
def test_limit_max_requests(start: Start, more: tuple[str, ...], kind: type[Load | Http2Load]) -> None:
    """The worker serves on until its replacement is there; the limit of each is its own."""
    options = [*more, "--limit-max-requests", "400", "--limit-max-requests-jitter", "200"]
    server = start("app", "--port", "0", "--workers", "2", *options, *QUIET)
    ready(server, 2)
    with kind(server.port) as load:
        replaced(server, 3)
    assert load.failures == []
    matches = [
        server.wait_line(r"Replacing worker \[\d+\]: maximum request limit of (\d+) exceeded$", count=each)
        for each in (1, 2, 3)
    ]
    limits = [int(match[1]) for match in matches]
    assert min(limits) >= 400 and max(limits) <= 600
    assert sum(load.answers.values()) >= sum(limits)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_workers_lifetime(start: Start, workers: str) -> None:
    """One worker with a lifetime has a parent, too."""
    options = ["--workers", workers, "--workers-lifetime", "0.5", "--workers-lifetime-jitter", "0.2"]
    server = start("app", "--port", "0", *options, *QUIET)
    ready(server, int(workers))
    with Load(server.port) as load:
        replaced(server, 2)
    assert load.failures == []
    server.wait_line(r"Replacing worker \[\d+\]: lifetime of \d s is over$")


def test_workers_lifetime_jitter(start: Start) -> None:
    server = start("app", "--workers-lifetime-jitter", "1")
    assert server.wait() == 2
    assert "workers_lifetime_jitter has no effect without workers_lifetime: add --workers-lifetime, " in server.output


@pytest.mark.parametrize("workers", ["1", "2"])
def test_workers_max_rss(start: Start, workers: str) -> None:
    server = start("app", "--port", "0", "--workers", workers, "--workers-max-rss", "160M", *QUIET)
    ready(server, int(workers))
    with Load(server.port) as load:
        grown = ask(server, "/grow/160")
        pairs = replaced(server, 1)
    assert load.failures == []
    assert [before for _, before in pairs] == [grown]
    server.wait_line(r"Replacing worker \[\d+\]: resident memory of \d{9} bytes exceeds 167772160$")


def test_new_code(command: support.StartCommand, tmp_path: Path) -> None:
    """SIGHUP serves what is in the files now; what does not start leaves the old workers where they are."""
    file = tmp_path / "changing.py"
    source = """
async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": b"version %d"})
"""
    file.write_text(source % 1)
    # A .pyc file of the same second and size would hide the change.
    environment = {"PYTHONDONTWRITEBYTECODE": "1"}
    args = ["--app-dir", str(tmp_path), "--log-level", "debug", "--port", "0", "--workers", "2", *QUIET]
    server = command("changing:app", *args, env=environment)
    old = ready(server, 2)
    assert server.get().endswith(b"version 1")
    file.write_text("import nothing_like_it\n")
    server.send_signal(signal.SIGHUP)
    kept = server.wait_line(
        r"New child process \[\d+\] ended before it was ready \(exit code 3\); "
        r"keeping worker \[(\d+)\] and aborting the restart\.$"
    )
    assert int(kept[1]) in old
    assert server.get().endswith(b"version 1")
    file.write_text(source % 2)
    server.send_signal(signal.SIGHUP)
    replaced(server, 2)
    assert server.get().endswith(b"version 2")


def test_replacement_that_is_not_ready_in_time(start: Start, tmp_path: Path) -> None:
    options = ["--port", "0", "--workers-lifetime", "1000", "--timeout-worker-healthcheck", "1", "--no-access-log"]
    server = start("stay", *options, env={"STARTS": str(tmp_path)})
    (old,) = ready(server, 1)
    server.send_signal(signal.SIGHUP)
    server.wait_line(
        rf"New child process \[\d+\] was not ready in time; keeping worker \[{old}\] and aborting the restart\.$"
    )
    assert ask(server) == old


def test_clients_of_an_old_worker(start: Start, gate: Path) -> None:
    """A request under way is finished; a connection that waits is told on its next response that it was the last."""
    server = start("app", "--port", "0", "--workers-lifetime", "1000", *KEPT, env={"GATE": str(gate)})
    (old,) = ready(server, 1)
    with server.connect() as busy, server.connect() as idle:
        assert Client(idle).ask(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n").get(b"connection") is None
        busy.sendall(b"GET /gate HTTP/1.1\r\nHost: test\r\n\r\n")
        server.wait_line(f"waiting in {old}")
        server.send_signal(signal.SIGHUP)
        server.wait_line(r"Retiring: ")
        idle.sendall(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")  # at once: it has 5 s
        last = support.read_all(idle)
        assert b"connection: close" in last
        assert last.endswith(str(old).encode())
        pid = ask(server)
        assert pid != old
        os.close(os.open(gate, os.O_WRONLY))
        assert support.read_all(busy).endswith(str(old).encode())
    server.wait_line(rf"Finished server process \[{old}\]")
    assert ask(server) == pid


@pytest.mark.parametrize("hurried", [False, True])
@pytest.mark.parametrize("http", ["auto", "h11"])
def test_client_of_a_stream(start: Start, gate: Path, http: str, hurried: bool) -> None:
    """The head said nothing of a close: the connection serves one more request, also if the worker drains already."""
    options = ["--port", "0", "--workers-lifetime", "1000", "--http", http, *KEPT]
    server = start("app", *options, env={"GATE": str(gate)})
    (old,) = ready(server, 1)
    with server.connect() as client:
        client.sendall(b"GET /stream HTTP/1.1\r\nHost: test\r\n\r\n")
        server.wait_line(f"waiting in {old}")
        server.send_signal(signal.SIGHUP)
        server.wait_line(r"Retiring: ")
        if hurried:
            os.kill(old, signal.SIGTERM)
            server.wait_line("Waiting for connections to close")
        os.close(os.open(gate, os.O_WRONLY))
        body = b""
        while not body.endswith(b"\r\n0\r\n\r\n"):
            body += (piece := client.recv(4096))
            assert piece
        assert b"connection: close" not in body
        client.sendall(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
        last = support.read_all(client)
        assert b"connection: close" in last
        assert last.endswith(str(old).encode())
    server.wait_line(rf"Finished server process \[{old}\]")


def test_reuse_port(start: Start) -> None:
    """Each worker has a socket of its own; a replacement inherits it, so that nothing in its queue is lost."""
    if sys.platform != "linux":
        pytest.skip("the kernel spreads connections on Linux")
    server = start("app", "--port", "0", "--workers", "2", "--reuse-port", *QUIET)
    pids = set(ready(server, 2))
    with Load(server.port) as load:
        while set(load.answers) != pids:
            assert ask(server) in pids
        server.send_signal(signal.SIGHUP)
        pairs = replaced(server, 2)
        load.wait_for([after for after, _ in pairs])
    assert load.failures == []
    assert {before for _, before in pairs} == pids
    inodes = {inode for pid in (after for after, _ in pairs) for inode in listening(pid, server.port)}
    assert len(inodes) == 2


def test_fewer_workers_with_reuse_port(start: Start) -> None:
    """The sockets of the one that goes are another one's before it goes, and go to the next one that is added."""
    if sys.platform != "linux":
        pytest.skip("the kernel spreads connections on Linux")
    server = start("app", "--port", "0", "--workers", "2", "--reuse-port", *QUIET)
    pids = ready(server, 2)
    inodes = {inode for pid in pids for inode in listening(pid, server.port)}
    assert len(inodes) == 2
    with Load(server.port) as load:
        for count in (1, 2):
            server.send_signal(signal.SIGTTOU)
            (*_, (receiver, _)) = replaced(server, count)
            server.wait_line("Finished server process", count=2 * count)
            assert listening(receiver, server.port) == inodes
            server.send_signal(signal.SIGTTIN)
            (*_, added) = ready(server, 2 + 2 * count)
            assert len(listening(added, server.port) & inodes) == 1
    assert load.failures == []
    assert server.stop() == 0


def listening(pid: int, port: int) -> set[str]:
    """Return the inodes of the sockets on which a process listens."""
    found = set()
    listed = {}
    for line in Path(f"/proc/{pid}/net/tcp").read_text("ascii").splitlines()[1:]:
        fields = line.split()
        if fields[3] == "0A" and int(fields[1].partition(":")[2], 16) == port:
            listed[f"socket:[{fields[9]}]"] = fields[9]
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # of a connection that has ended since
            target = os.readlink(descriptor)  # noqa: PTH115
            if target in listed:
                found.add(listed[target])
    return found
