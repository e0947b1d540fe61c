"""--preload: workers are forked from a template process that has imported the application, a new one for new code."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
import threading
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import support
from load import until
from supervisors.clients import Load, ended, ready, stopped, wait_for_end

from fastserve.options import conflicts
from fastserve.options.table import Options
from fastserve.supervisors import preloading

pytestmark = pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="--preload is refused there")

QUIET = ("--no-access-log", "--lifespan", "off")

VERSION = """
import os
{code}
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await send({{"type": "lifespan.startup.{lifespan}"}})
        await receive()
        await send({{"type": "lifespan.shutdown.complete"}})
        return
    body = str(os.getpid()).encode()
    headers = [(b"content-length", str(len(body)).encode()), (b"version", b"{version}")]
    await send({{"type": "http.response.start", "status": 200, "headers": headers}})
    await send({{"type": "http.response.body", "body": body}})
"""


class Changing:
    """A server whose code changes."""

    def __init__(self, command: support.StartCommand, folder: Path, *options: str) -> None:
        self.file = folder / "changing.py"
        self.write("1")
        args = ["--app-dir", str(folder), "--log-level", "debug", "--port", "0", "--workers", "2", "--preload"]
        args += ["--timeout-worker-healthcheck", "60"]  # for workers that a busy machine keeps from starting
        # A .pyc file of the same second and size would hide the change.
        self.server = command("changing:app", *args, *options, env={"PYTHONDONTWRITEBYTECODE": "1"})
        self.workers = ready(self.server, 2)

    def write(self, version: str, code: str = "", lifespan: str = "complete") -> None:
        self.file.write_text(VERSION.format(version=version, code=code, lifespan=lifespan))

    def version(self) -> str:
        match = re.search(rb"version: (\w+)", self.server.get())
        assert match
        return match[1].decode()

    def serves(self, version: str) -> None:
        """Wait until this version is served: a worker that retires still takes what waits for it."""
        until(lambda: self.version() == version, f"version {version}")

    def template(self, count: int = 1) -> int:
        return int(self.server.wait_line(r"Started template process \[(\d+)\]", count=count)[1])

    def replaced(self, count: int) -> list[int]:
        """Return the workers that have taken over, once `count` have."""
        regex = r"Child process \[(\d+)\] takes over from child process \[\d+\]"
        return [int(self.server.wait_line(regex, count=each)[1]) for each in range(1, count + 1)]

    def kill_worker(self) -> None:
        """Kill a worker, and return once there is another one."""
        before = self.server.output.count("is ready.")
        os.kill(self.workers.pop(), signal.SIGKILL)
        until(lambda: self.server.output.count("is ready.") > before, "another worker")


@pytest.fixture
def changing(command: support.StartCommand, tmp_path: Path) -> Changing:
    return Changing(command, tmp_path)


def start(command: support.StartCommand, *options: str, words: str = "", app: str = "app") -> support.Command:
    args = ["--app-dir", support.APPS, "--log-level", "debug", "--port", "0", "--workers", "2", "--preload"]
    return command(f"preload_apps:{app}", *args, *QUIET, *options, env={"PRELOAD": words})


def of_each(server: support.Command, pids: list[int]) -> list[list[str]]:
    """Return the words that each worker responds with."""
    found = []
    for pid in pids:
        with contextlib.ExitStack() as others:
            for other in set(pids) - {pid}:
                others.enter_context(stopped(other))
            words = server.get().rpartition(b"\r\n\r\n")[2].decode().split()
        assert words[0] == str(pid)
        found.append(words)
    return found


def test_preload(command: support.StartCommand) -> None:
    """One process imports; workers have what it leaves, each for itself, and end as others do."""
    patient = ("--timeout-worker-healthcheck", "60")  # with workers that are stopped below
    server = start(command, "--request-id-header", "x-request-id", "--metrics-bind", "127.0.0.1:0", *patient)
    pids = ready(server, 2)
    template = int(server.wait_line(r"Started template process \[(\d+)\]")[1])
    imported = [line for line in server.stdout if line.startswith("imported")]
    assert imported == [f"imported in {template}"]
    assert template not in (server.pid, *pids)
    answers = of_each(server, pids)
    assert len({words[1] for words in answers}) == len({words[2] for words in answers}) == 2
    metrics = server.wait_line(r"Metrics on http://(\S+)/metrics")[1].partition(":")[2]
    text = metrics_of(int(metrics))
    assert "\nimports_total 2\n" in text
    assert "\nown_requests_total 2\n" in text
    assert server.stop() == 0
    assert ended(template)
    assert sorted(line for line in server.stdout if line.startswith("left")) == sorted(f"left {pid}" for pid in pids)
    assert server.stdout.count("not flushed") == 1


def metrics_of(port: int) -> str:
    import socket

    with socket.create_connection(("127.0.0.1", port), timeout=support.PATIENCE) as client:
        client.sendall(b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        return support.read_all(client).decode()


@pytest.mark.parametrize("options", [("--loop", "uvloop"), ("--loop", "asyncio"), ("--reuse-port",)], ids=" ".join)
def test_hangup_brings_new_code(command: support.StartCommand, tmp_path: Path, options: tuple[str, ...]) -> None:
    """Nothing is lost, each worker is replaced, and the template of the old code ends."""
    changing = Changing(command, tmp_path, "--no-access-log", *options)
    first = changing.template()
    with Load(changing.server.port) as load:
        changing.write("2")
        changing.server.send_signal(signal.SIGHUP)
        new = changing.replaced(2)
        for pid in changing.workers:
            changing.server.wait_line(rf"Finished server process \[{pid}\]")
        load.wait_for(new)
    assert load.failures == []
    assert changing.version() == "2"
    wait_for_end(first)
    changing.workers = new
    changing.kill_worker()
    assert changing.version() == "2"
    assert changing.server.stop() == 0


@pytest.mark.parametrize("code", ["import nothing_like_it", "import os; os._exit(9)"])
def test_code_that_cannot_be_imported(changing: Changing, code: str) -> None:
    """The generation that serves is kept, also for workers to come, until the code is mended."""
    server = changing.server
    changing.write("2", code)
    server.send_signal(signal.SIGHUP)
    template = changing.template(2)
    code = "9" if "_exit" in code else "3"
    why = rf"ended before it was ready \(exit code {code}\); keeping the workers and aborting the restart\."
    server.wait_line(rf"^ERROR:    Template process \[{template}\] {why}$")
    assert [ended(pid) for pid in changing.workers] == [False, False]
    changing.kill_worker()
    assert changing.version() == "1"
    changing.write("3")
    server.send_signal(signal.SIGHUP)
    changing.replaced(2)
    changing.serves("3")
    assert server.stop() == 0


def test_code_that_cannot_start(changing: Changing) -> None:
    """The same for a generation that imports, and then fails in its lifespan."""
    changing.write("2", lifespan="failed")
    changing.server.send_signal(signal.SIGHUP)
    changing.server.wait_line(r"^ERROR:    New child process \[\d+\] .*aborting the restart\.$")
    wait_for_end(changing.template(2))
    changing.kill_worker()
    assert changing.version() == "1"
    assert changing.server.stop() == 0


def test_hangups_while_code_is_imported(changing: Changing, gate: Path) -> None:
    """What still imports may have read old code: it is given up."""
    changing.write("2", f"open({str(gate)!r}).read()")
    changing.server.send_signal(signal.SIGHUP)
    second = changing.template(2)
    changing.write("3")
    changing.server.send_signal(signal.SIGHUP)
    changing.template(3)
    changing.replaced(2)
    wait_for_end(second)
    changing.serves("3")
    assert changing.server.stop() == 0
    assert "aborting" not in changing.server.output


def test_stop_while_code_is_imported(command: support.StartCommand, tmp_path: Path, gate: Path) -> None:
    (tmp_path / "slow.py").write_text(f"open({str(gate)!r}).read()\n")
    server = command("slow:app", "--app-dir", str(tmp_path), "--port", "0", "--workers", "2", "--preload")
    template = int(server.wait_line(r"Started template process \[(\d+)\]")[1])
    assert server.stop() == 0
    assert ended(template)


@pytest.mark.parametrize(("word", "app"), [("thread", "app"), ("factory-thread", "made")])
def test_threads(command: support.StartCommand, word: str, app: str) -> None:
    server = start(command, *(["--factory"] if app == "made" else []), words=word, app=app)
    assert server.wait() == 3
    name = "the import" if app == "app" else "the factory"
    server.wait_line(
        rf"^ERROR:    --preload: importing 'preload_apps:{app}' has started threads, which forked workers would not"
        rf" have: made by {name}\. Start them in the application's lifespan, or leave out --preload\.$"
    )
    server.wait_line(
        r"^ERROR:    Template process \[\d+\] ended before it was ready \(exit code 3\), stopping the parent"
    )


def test_factory(command: support.StartCommand) -> None:
    """The template calls it, so that workers share what it makes."""
    server = start(command, "--factory", app="made")
    pids = ready(server, 2)
    template = int(server.wait_line(r"made in (\d+)")[1])
    assert template not in pids
    assert server.stop() == 0
    assert server.output.count("made in") == 1


@pytest.mark.parametrize("preload", [True, False])
def test_signal_handlers_of_the_application(command: support.StartCommand, preload: bool) -> None:
    """They are called at the end, as in workers that import the application themselves."""
    args = ["--app-dir", support.APPS, "--log-level", "debug", "--port", "0", "--workers", "2", *QUIET]
    server = command("preload_apps:app", *args, *(["--preload"] if preload else []), env={"PRELOAD": "handler"})
    pid = ready(server, 2)[0]
    os.kill(pid, signal.SIGTERM)
    server.wait_line(rf"Child process \[{pid}\] died: exit code 7")
    assert server.stop() == 0


@pytest.mark.parametrize("of", ["worker", "template"])
def test_what_is_killed_is_replaced(changing: Changing, of: str) -> None:
    """After a template's death another one forks: also those that serve are replaced, whose ends nobody reports."""
    server = changing.server
    if of == "worker":
        killed = changing.workers[0]
        os.kill(killed, signal.SIGKILL)
        server.wait_line(rf"Child process \[{killed}\] died: killed by SIGKILL$")
        ready(server, 3)
    else:
        killed = changing.template()
        with Load(server.port) as load:
            os.kill(killed, signal.SIGKILL)
            server.wait_line(rf"^ERROR:    Template process \[{killed}\] died: killed by SIGKILL$")
            changing.replaced(2)
            for pid in changing.workers:
                server.wait_line(rf"Finished server process \[{pid}\]")
        assert load.failures == []
    assert server.stop() == 0


# Inherits the processes whose parents have ended, and reaps none, as the first process of many containers.
KEEPER = """
import ctypes, signal, subprocess, sys
PR_SET_CHILD_SUBREAPER = 36
ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
server = subprocess.Popen([sys.executable, "-m", "fastserve", *sys.argv[1:]])
signal.signal(signal.SIGTERM, lambda number, frame: server.terminate())
sys.exit(server.wait())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="no subreaper")
def test_orphans_that_nobody_reaps(tmp_path: Path) -> None:
    """The parent waits for the ends of workers whose template was killed, and not for somebody to reap them."""

    def command(*args: str, **options: Any) -> support.Command:
        return support.Command([sys.executable, "-c", KEEPER, *args], **options)

    changing = Changing(command, tmp_path)
    server = changing.server
    try:
        os.kill(changing.template(), signal.SIGKILL)
        changing.replaced(2)
        wait_for_end(*changing.workers)
        assert server.stop() == 0
    finally:
        server.close()


def test_parent_is_killed(changing: Changing) -> None:
    """Nothing outlives it."""
    changing.server.process.kill()
    changing.server.wait()  # the outputs end with the last of the processes that hold them
    wait_for_end(*changing.workers, changing.template())


def test_log_files(command: support.StartCommand, tmp_path: Path) -> None:
    """They are opened again in the template too: a worker that it forks later writes to the new one."""
    changing = Changing(command, tmp_path, "--access-log-file", str(tmp_path / "access"))
    changing.version()
    until(lambda: "GET" in (tmp_path / "access").read_text(), "a line")
    (tmp_path / "access").rename(tmp_path / "before")
    changing.server.send_signal(signal.SIGUSR1)
    until((tmp_path / "access").exists, "a new file")
    for _ in range(2):
        changing.kill_worker()
        changing.workers = changing.workers[:1]
    changing.version()
    until(lambda: (tmp_path / "access").read_text().count("GET") == 1, "a line in the new file")
    assert (tmp_path / "before").read_text().count("GET") == 1
    assert changing.server.stop() == 0


def test_generators_of_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The global one is seeded from the system, where the package is in use."""
    seeds: list[tuple[int, ...]] = []
    monkeypatch.setitem(sys.modules, "numpy.random", types.SimpleNamespace(seed=lambda *given: seeds.append(given)))
    preloading.seed_generators()
    assert seeds == [()]


@pytest.mark.skipif(sys.platform != "linux", reason="no /proc")
def test_threads_of_libraries(log: Callable[[], list[str]]) -> None:
    """Those that Python does not know are named in a warning; here it knows this one."""
    done = threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    preloading.warn_of_native_threads()
    done.set()
    thread.join()
    [line] = log()
    assert line.startswith("WARNING --preload: ")
    assert "thread(s) after the import, which workers will not have: " in line


@pytest.mark.parametrize(("platform", "why"), [("darwin", "macOS, whose"), ("win32", "Windows, which cannot fork")])
def test_platforms_without(monkeypatch: pytest.MonkeyPatch, platform: str, why: str) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    [text] = conflicts.conflicts(Options("a:b", preload=True, workers=2))
    assert text.startswith(f"preload and {why}")
    assert text.endswith("leave out --preload")


@pytest.mark.skipif(sys.platform != "linux", reason="no proportional set size")
def test_memory() -> None:
    """Four workers with large data need less than half of what they need without --preload, parent and template too."""
    from bench.preload import memory

    assert memory(4, 120_000, "--preload") < 0.5 * memory(4, 120_000)
