"""The control socket: who may ask, what it responds, and what its verbs do to workers."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import support
from operations.asking import Controlled, until
from operations.conftest import Start

from fastserve._version import VERSION
from fastserve.metrics.processes import reading_of
from fastserve.operations.configuration import configuration, masked_url
from fastserve.options.table import Options

TWO = ("--workers", "2")
GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
UPGRADE = (
    b"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
KINDS = pytest.mark.parametrize("args", [(), TWO, ("--reload",)], ids=["single", "workers", "reload"])
OTHER_UID = 12345
# Connects as another user, and prints the status of the response.
ASK_AS = """
import os, socket, sys
path, uid, gid, line = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
os.setgroups([])
os.setgid(gid)
os.setuid(uid)
with socket.socket(socket.AF_UNIX) as client:
    try:
        client.connect(path)
    except PermissionError:
        print("refused")
    else:
        client.sendall(f"{line} HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n".encode())
        print(client.makefile("rb").readline().split()[1].decode())
"""


@KINDS
def test_control_socket(controlled: Start, args: tuple[str, ...]) -> None:
    """Each GET responds with JSON in every way of serving, while nothing shows metrics elsewhere."""
    server = controlled(*args)
    assert server.command.get("/500").startswith(b"HTTP/1.1 500")
    assert server.command.get("/").endswith(b"ok")
    found = until(
        lambda: (now := server.get("/status"))["requests"] == 2 and now["ready"] and not now["active"] and now
    )
    assert (found["version"], found["errors"]) == (VERSION, 1)
    assert sum(found["durations"]) == 2
    assert found["listeners"] == server.get("/listeners")
    assert found["listeners"][0]["listener"] == f"127.0.0.1:{server.command.port}"
    workers = server.get("/workers")
    assert [each["worker"] for each in workers] == list(range(2 if args == TWO else 1))
    assert sum(each["requests"] for each in workers) == 2
    assert server.get("/workers/0")["pid"] == workers[0]["pid"]
    assert server.get("/version")["pid"] == server.command.pid
    assert 'http_response_status_code="500"' in server.text("/metrics")[1]
    assert server.get("/workers/0/requests") == []
    assert server.refusal("/workers/7", "GET") == (404, "there is no worker 7")
    assert server.refusal("/workers/7/requests", "GET") == (404, "there is no worker 7")


def test_config_masks_secrets(controlled: Start) -> None:
    server = controlled("--header", "X-Api-Key: hidden", "--header", "X-Other: shown", "--root-path", "/a")
    found = server.get("/config")
    assert (found["app"], found["root_path"], found["control_socket"]) == ("metrics_app:app", "/a", str(server.path))
    assert found["headers"] == ["X-Api-Key: ********", "X-Other: shown"]
    assert "hidden" not in json.dumps(found)


def test_password_of_a_key_is_masked() -> None:
    found = configuration(Options("a:b", ssl_keyfile_password="hidden", topics="redis://user:hidden@host"))
    assert found["ssl_keyfile_password"] == "********"
    assert "hidden" not in json.dumps(found)


def test_passwords_in_urls() -> None:
    assert masked_url("redis://user:secret@host:1/0") == "redis://user:********@host:1/0"
    assert masked_url("rediss://:p@ss@host") == "rediss://:********@host"
    for text in ("redis://host", "unix:/a@b", "redis://user@host"):
        assert masked_url(text) == text


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("GET /other", 404),
        ("GET /workers/x", 404),
        ("GET /reload", 405),
        ("POST /status", 405),
        ("PUT /workers", 405),
        ("POST /stop?mode=slow", 400),
        ("POST /stop?other=1", 400),
        ("POST /workers", 400),
        ("POST /workers?count=0", 400),
        ("POST /workers?count=99999", 400),
        ("POST /log-level?level=silly", 400),
        ("HEAD /version", 200),
    ],
)
def test_statuses(shared: Controlled, line: str, status: int) -> None:
    method, target = line.split()
    assert shared.text(target, method)[0] == status


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Controlled]:
    """A server that stays as it is."""
    path = tmp_path_factory.mktemp("control") / "control"
    made = support.command(
        "metrics_app:app", "--app-dir", support.APPS, "--port", "0", *TWO, "--control-socket", str(path)
    )
    try:
        made.wait_line("Application startup complete", count=2)
        yield Controlled(made, path)
    finally:
        made.close()


# The socket


def test_mode_and_removal(controlled: Start) -> None:
    server = controlled()
    assert stat.S_IMODE(server.path.stat().st_mode) == 0o600
    server.command.stop()
    assert not server.path.exists()


def test_socket_of_another_server_is_not_removed(controlled: Start) -> None:
    """It is removed by its inode."""
    server = controlled(*TWO)
    server.path.unlink()
    server.path.write_text("another's", "utf-8")
    server.command.stop()
    assert server.path.read_text("utf-8") == "another's"


@pytest.mark.parametrize("args", [(), TWO], ids=["single", "workers"])
def test_socket_of_a_live_server_is_left_alone(
    controlled: Start, command: support.StartCommand, args: tuple[str, ...]
) -> None:
    server = controlled()
    inode = server.path.stat().st_ino
    second = command(
        "metrics_app:app", "--app-dir", support.APPS, "--port", "0", "--control-socket", str(server.path), *args
    )
    assert second.wait() == 3
    assert "another server listens there" in second.output
    assert server.path.stat().st_ino == inode
    assert server.get("/version")["pid"] == server.command.pid


def test_stale_socket_is_replaced(controlled: Start, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(tmp_path / "control"))
    (tmp_path / "control").chmod(0o666)
    server = controlled()
    assert server.get("/version")["pid"] == server.command.pid
    assert stat.S_IMODE(server.path.stat().st_mode) == 0o600


def test_directory_that_others_can_write_to(command: support.StartCommand, tmp_path: Path) -> None:
    """Without the sticky bit anybody could put a socket of their own there."""
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o777)
    arguments = ("metrics_app:app", "--app-dir", support.APPS, "--port", "0", "--control-socket", str(folder / "c"))
    server = command(*arguments)
    assert server.wait() == 3
    assert "not sticky" in server.output
    folder.chmod(0o1777)
    server = command(*arguments)
    server.wait_line("Control socket at ")


def test_cannot_bind(command: support.StartCommand, tmp_path: Path) -> None:
    server = command("metrics_app:app", "--app-dir", support.APPS, "--control-socket", str(tmp_path / "no" / "c"), *TWO)
    assert server.wait() == 3
    assert "error while attempting to bind on unix socket" in server.output


# Who asks


as_root = pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="only root can ask as others")


def asked_as(server: Controlled, uid: int, gid: int, line: str) -> str:
    arguments = [sys.executable, "-I", "-c", ASK_AS, str(server.path), str(uid), str(gid), line]
    return subprocess.run(arguments, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users reach: pytest closes its own to them, at the start of each session on the machine."""
    with tempfile.TemporaryDirectory(prefix="fastserve-control-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        yield folder


@as_root
def test_other_users(controlled: Start, open_folder: Path) -> None:
    """The mode admits nobody else; those that it does may look, and only the group of 660 may use verbs."""
    server = controlled(folder=open_folder)
    assert asked_as(server, OTHER_UID, OTHER_UID, "GET /status") == "refused"
    server.path.chmod(0o666)
    assert asked_as(server, OTHER_UID, OTHER_UID, "GET /status") == "200"
    assert asked_as(server, OTHER_UID, OTHER_UID, "POST /drain") == "403"
    assert asked_as(server, 0, 0, "POST /drain") == "200"
    assert re_line(server, "Control: POST /drain refused to pid", f"uid {OTHER_UID}")
    assert re_line(server, "Control: POST /drain from pid", "uid 0")


def re_line(server: Controlled, *parts: str) -> str:
    return server.command.wait_line(".*".join(parts)).string


@as_root
def test_control_socket_mode(controlled: Start, open_folder: Path) -> None:
    server = controlled("--control-socket-mode", "660", folder=open_folder)
    assert stat.S_IMODE(server.path.stat().st_mode) == 0o660
    group = server.path.stat().st_gid
    assert asked_as(server, OTHER_UID, OTHER_UID, "GET /status") == "refused"
    assert asked_as(server, OTHER_UID, group, "GET /status") == "200"
    assert asked_as(server, OTHER_UID, group, "POST /reopen") == "200"
    server.path.chmod(0o666)
    assert asked_as(server, OTHER_UID, OTHER_UID, "POST /reopen") == "403"


# Limits


def test_ninth_client_waits(shared: Controlled) -> None:
    held = [shared.connect() for _ in range(8)]
    for client in held:
        client.sendall(b"GET /version HTTP/1.1\r\n")  # and no more: each holds one of the places
    ninth = shared.connect()
    ninth.sendall(b"GET /version HTTP/1.1\r\nHost: localhost\r\n\r\n")
    ninth.settimeout(0.3)
    with pytest.raises(TimeoutError):
        ninth.recv(1)
    held[0].sendall(b"\r\n")
    assert support.read_all(held[0]).startswith(b"HTTP/1.1 200")
    held[0].close()
    ninth.settimeout(support.PATIENCE)
    assert support.read_all(ninth).startswith(b"HTTP/1.1 200")
    for client in (*held, ninth):
        client.close()


def test_long_request_is_cut(shared: Controlled) -> None:
    """What is beyond 8 KiB is refused; the server neither keeps it nor waits for its end."""
    before = reading_of(shared.command.pid).rss
    with shared.connect() as client:
        client.sendall(b"GET /" + b"x" * 9000)
        assert support.read_until(client).startswith(b"HTTP/1.1 431")
        sent = 0
        try:
            while sent < 10_000_000:
                sent += client.send(b"x" * 65536)
        except OSError:
            pass
    after = reading_of(shared.command.pid).rss
    if before is not None and after is not None:
        assert after - before < 5_000_000
    assert shared.text("/version")[0] == 200


def test_memory_stays_flat(shared: Controlled) -> None:
    """Of a leak of 200 bytes a call this would see more than twice what it allows."""

    def calls(count: int) -> int:
        for _ in range(count):
            assert shared.text("/log-level?level=info", "POST")[0] == 200
            assert shared.text("/status")[0] == 200
        return reading_of(shared.command.pid).rss or 0

    before = calls(150)
    assert calls(1000) - before < 400_000


# Verbs


def test_scale_and_replace(controlled: Start) -> None:
    server = controlled(*TWO)
    first = until(lambda: len(pids := server.pids()) == 2 and pids)
    assert server.post("/workers?count=4") == {"workers": 4}
    until(lambda: len(server.pids()) == 4)
    assert server.post("/workers/1/replace") == {"replacing": first[1]}
    assert server.refusal("/workers/1/replace")[0] == 409
    after = until(lambda: first[1] not in (pids := server.pids()) and len(pids) == 4 and pids)
    assert first[0] in after
    assert server.post("/workers?count=1") == {"workers": 1}
    until(lambda: server.pids() == first[:1])
    until(lambda: (server.get("/status")["last_end"] or {}).get("reason") == "replaced")
    assert server.command.get("/").endswith(b"ok")


def test_verbs_during_a_reload(controlled: Start) -> None:
    """While workers are replaced each verb is carried out, and the reload comes to its end."""
    server = controlled(*TWO)
    first = until(lambda: len(pids := server.pids()) == 2 and pids)
    assert server.post("/reload") == {"reloading": 2}
    assert server.post("/workers?count=3") == {"workers": 3}
    assert server.post("/drain") == {"draining": True}
    assert server.post("/reload") == {"reloading": 3}
    assert server.post("/log-level?level=debug") == {"level": "debug"}
    assert server.text("/workers/2/replace", "POST")[0] in (200, 409)
    after = until(lambda: len(pids := server.pids()) == 3 and not set(first) & set(pids) and pids)
    until(lambda: server.get("/status")["reloads"].get("ok"))
    assert len(set(after)) == 3
    assert not server.get("/status")["ready"]
    assert server.post("/undrain") == {"draining": False}
    assert server.get("/status")["ready"]


def test_reload_of_the_reloader(controlled: Start) -> None:
    server = controlled("--reload")
    first = until(server.pids)
    assert server.post("/reload") == {"reloading": 1}
    until(lambda: (pids := server.pids()) and pids != first)
    assert server.refusal("/workers?count=2")[0] == 409


@KINDS
def test_drain(controlled: Start, args: tuple[str, ...]) -> None:
    """--health is red and the server goes on; workers that start meanwhile are red as well."""
    server = controlled(*args, "--health", "/healthz")
    until(lambda: server.command.get("/healthz").endswith(b"ok"))
    assert server.post("/drain") == {"draining": True}
    until(lambda: server.command.get("/healthz").endswith(b"draining"))
    assert server.command.get("/").endswith(b"ok")
    if args:
        before = until(lambda: len(pids := set(server.pids())) == (2 if args == TWO else 1) and pids)
        server.post("/reload")
        until(lambda: (pids := set(server.pids())) and not pids & before and len(pids) == len(before))
        until(lambda: server.command.get("/healthz").endswith(b"draining"))
    assert server.post("/undrain") == {"draining": False}
    until(lambda: server.command.get("/healthz").endswith(b"ok"))


@KINDS
def test_log_level(controlled: Start, args: tuple[str, ...]) -> None:
    """It reaches every process: each says at debug level what it does not say at info."""
    server = controlled(*args)
    invalid = b"GET / HTTP/1.1\r\n\r\n"
    assert b"400" in server.command.request(invalid)
    assert "missing Host" not in server.command.output
    assert server.post("/log-level?level=debug") == {"level": "debug"}
    until(lambda: server.command.request(invalid) and "DEBUG" in server.command.output)
    assert server.post("/log-level?level=error") == {"level": "error"}


@pytest.mark.parametrize("args", [(), TWO, (*TWO, "--worker-class", "thread")], ids=["single", "workers", "threads"])
def test_log_level_trace(controlled: Start, args: tuple[str, ...]) -> None:
    """New connections are shown as with --log-level trace, and what is asked on older ones."""
    server = controlled(*args)
    output = server.command
    with output.connect() as before:
        before.sendall(GET)
        before.recv(65536)
        port = before.getsockname()[1]
        server.post("/log-level?level=trace")
        until(lambda: output.get("/") and "HTTP connection lost" in output.output)
        before.sendall(GET.replace(b"\r\n\r\n", UPGRADE))
        output.wait_line(f"{port} - ASGI .*Started scope=")
    output.wait_line("[0-9] - HTTP connection made")
    output.wait_line("ASGI .* Completed")
    server.post("/log-level?level=info")
    server.post("/log-level?level=trace")
    made = output.output.count("HTTP connection made")
    until(lambda: output.get("/") and output.output.count("HTTP connection made") > made)
    assert "Traceback" not in output.output
    assert f"{port} - HTTP connection" not in output.output


@KINDS
def test_reopen(controlled: Start, args: tuple[str, ...], tmp_path: Path) -> None:
    log = tmp_path / "access"
    server = controlled(*args, "--access-log-file", str(log))
    log.rename(tmp_path / "old")
    server.post("/reopen")
    until(lambda: server.command.get("/") and log.exists() and log.stat().st_size)


@KINDS
@pytest.mark.parametrize("mode", ["", "?mode=graceful", "?mode=quick"])
def test_stop(controlled: Start, args: tuple[str, ...], mode: str) -> None:
    """A request under way ends first, or is broken off."""
    server = controlled(*args)
    with server.command.connect() as client:
        client.sendall(b"GET /wait HTTP/1.1\r\nHost: localhost\r\n\r\n")
        support.read_until(client, b"\r\nx\r\n")
        assert server.post(f"/stop{mode}")["stopping"] == (mode.partition("=")[2] or "graceful")
        if "quick" not in mode:
            server.command.wait_line("Waiting for connections to close|Shutting down")
            client.close()
        assert server.command.wait() == 0
    assert not server.path.exists()


def test_quick_after_graceful(controlled: Start) -> None:
    """The socket responds until the last worker has ended."""
    server = controlled(*TWO)
    with server.command.connect() as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\n")
        until(lambda: server.get("/status")["active"])
        server.post("/stop")
        server.command.wait_line("Waiting for connections to close")
        assert server.refusal("/reload") == (409, "the server stops")
        server.post("/stop?mode=quick")
        assert server.command.wait() == 0


@KINDS
def test_requests_and_stacks(controlled: Start, args: tuple[str, ...]) -> None:
    server = controlled(*args)
    until(lambda: len(server.pids()) == (2 if args == TWO else 1))
    with server.command.connect() as client:
        client.sendall(b"GET /wait?secret HTTP/1.1\r\nHost: localhost\r\n\r\n")
        client.recv(1)
        numbers = range(2 if args == TWO else 1)
        found = until(lambda: [each for number in numbers for each in server.get(f"/workers/{number}/requests")])
        assert [(each["method"], each["path"]) for each in found] == [("GET", "/wait")]
        assert found[0]["seconds"] >= 0
        texts = [server.text(f"/workers/{number}/stacks", "POST")[1] for number in numbers]
        assert all("Thread 0x" in text or "Current thread" in text for text in texts)
        assert sum("GET /wait" in text for text in texts) == 1


@pytest.mark.parametrize("args", [(), TWO], ids=["single", "workers"])
def test_hung_worker(controlled: Start, args: tuple[str, ...]) -> None:
    """What hangs is seen, with its request and its stack; what a hung loop cannot carry out is not done later."""
    server = controlled(*args, "--timeout-worker-healthcheck", "60")
    pids = until(lambda: len(pids := server.pids()) == (2 if args else 1) and pids)
    with server.command.connect() as client:
        client.sendall(b"GET /spin HTTP/1.1\r\nHost: localhost\r\n\r\n")
        until(lambda: server.get("/status")["active"])
        place = next(each["worker"] for each in server.get("/workers") if each["active"])
        (request,) = until(lambda: server.get(f"/workers/{place}/requests"))
        assert request["path"] == "/spin"
        until(lambda: "in spin" in server.text(f"/workers/{place}/stacks", "POST")[1])
        if not args:
            assert server.refusal("/drain")[0] == 503
    for pid in {server.command.pid, *pids}:
        os.kill(pid, signal.SIGKILL)
    server.command.wait()


def test_single_process_has_no_workers(controlled: Start) -> None:
    server = controlled()
    for target in ("/workers?count=2", "/workers/0/replace", "/reload"):
        assert server.refusal(target)[0] == 409
