"""--reload: which files are watched, what a change does, and what an application does that does not import."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import support

import fastserve
from fastserve import supervisors
from fastserve.supervisors import file_filter
from fastserve.supervisors.statreload import StatReload
from fastserve.supervisors.watchfilesreload import WatchFilesReload

SOURCE = """
async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": b"%s"})
"""
RUNNING = r"Started server process \[(\d+)\]"

Start = Callable[..., support.Command]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "changing.py").write_text(SOURCE % "one")
    return folder


@pytest.fixture
def reloading(command: support.StartCommand, project: Path, tmp_path: Path) -> Start:
    """Start a command with --reload in the project's directory; watchfiles=False hides that package from it."""

    def start(*args: str, watchfiles: bool = True, **options: Any) -> support.Command:
        hidden = tmp_path / "hidden"
        hidden.mkdir(exist_ok=True)
        if not watchfiles:
            (hidden / "watchfiles.py").write_text("raise ImportError('hidden')\n")
        # A .pyc file of the same second and size would hide a change.
        environment = {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(hidden), **options.pop("env", {})}
        reload = ["changing:app", "--port", "0", "--lifespan", "off", "--reload", "--reload-delay", "0.05"]
        return command(*reload, *args, cwd=project, env=environment, **options)

    return start


def answer(server: support.Command) -> bytes:
    return server.get().rpartition(b"\r\n")[2]


def answers(server: support.Command, count: int) -> bytes:
    """Return the response once `count` processes have started; the listening socket is there all the time."""
    server.wait_line(RUNNING, count=count)
    return answer(server)


@pytest.mark.parametrize("watchfiles", [True, False], ids=["WatchFiles", "StatReload"])
def test_reload(reloading: Start, project: Path, watchfiles: bool) -> None:
    name = "WatchFiles" if watchfiles else "StatReload"
    if watchfiles:
        pytest.importorskip("watchfiles")
    server = reloading(watchfiles=watchfiles)
    server.wait_line(rf"^INFO:     Started reloader process \[{server.pid}\] using {name}$")
    assert f"INFO:     Will watch for changes in these directories: ['{project}']" in server.lines
    assert answers(server, 1) == b"one"
    (project / "changing.py").write_text(SOURCE % "another")
    server.wait_line(rf"^WARNING:  {name} detected changes in 'changing\.py'\. Reloading\.\.\.$")
    assert answers(server, 2) == b"another"
    (project / "changing.py").write_text("import nothing_like_it\n")
    server.wait_line(r"Error loading ASGI app\. Importing \"changing:app\" raised ModuleNotFoundError")
    server.wait_line(r"^WARNING:  The server process \[\d+\] has ended: exit code 3\. Waiting for changes\.$")
    with server.connect() as waiting:  # the socket listens on
        waiting.sendall(b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
        (project / "changing.py").write_text(SOURCE % "mended")
        assert support.read_all(waiting).endswith(b"\r\nmended")
    assert server.stop() == 0
    assert server.lines[-1] == f"INFO:     Stopping reloader process [{server.pid}]"
    assert "Not watching" not in server.output


def test_application_that_does_not_import_at_first(reloading: Start, project: Path) -> None:
    (project / "changing.py").write_text("def app(:\n")
    server = reloading()
    server.wait_line(r"has ended: exit code 3\. Waiting for changes\.$")
    (project / "changing.py").write_text(SOURCE % "mended")
    assert answers(server, 1) == b"mended"
    assert server.stop(signal.SIGINT) == 0


def test_reload_dirs(reloading: Start, project: Path, tmp_path: Path) -> None:
    """Given directories are watched in the place of the current one."""
    other = tmp_path / "other"
    other.mkdir()
    server = reloading("--reload-dir", str(other))
    assert f"INFO:     Will watch for changes in these directories: ['{other}']" in server.lines or server.url
    answers(server, 1)
    (project / "changing.py").write_text(SOURCE % "two")
    (other / "new.py").touch()
    server.wait_line(rf"detected changes in '{other / 'new.py'}'\. Reloading")
    answers(server, 2)


@pytest.mark.parametrize("watchfiles", [True, False], ids=["WatchFiles", "StatReload"])
def test_reload_includes(reloading: Start, project: Path, watchfiles: bool) -> None:
    server = reloading("--reload-include", "*.yaml", watchfiles=watchfiles)
    answers(server, 1)
    (project / "page.html").touch()
    (project / "settings.yaml").touch()
    server.wait_line(r"detected changes in 'settings\.yaml'\. Reloading")


@pytest.mark.parametrize("watchfiles", [True, False], ids=["WatchFiles", "StatReload"])
def test_reload_excludes(reloading: Start, project: Path, watchfiles: bool) -> None:
    """Files by pattern, and a directory with all that is in it; many patterns in the environment."""
    (project / "made").mkdir()
    server = reloading(env={"FASTSERVE_RELOAD_EXCLUDES": "left_*.py made"}, watchfiles=watchfiles)
    answers(server, 1)
    (project / "left_out.py").touch()
    (project / "made" / "new.py").touch()
    (project / "seen.py").touch()
    server.wait_line(r"detected changes in 'seen\.py'\. Reloading")


def test_reload_delay(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time between two looks, in which a request to stop is heard."""
    monkeypatch.chdir(project)
    config = fastserve.Config("changing:app", reload=True, reload_delay=1000, log_config=None)
    reloader = StatReload(config, lambda sockets: None, [])
    reloader.hung_up = True  # is not kept waiting
    assert reloader.should_restart() is None
    reloader.should_exit.set()
    with pytest.raises(StopIteration):
        reloader.should_restart()
    config.reload_delay = 0
    reloader.should_exit.clear()
    (project / "changing.py").unlink()
    assert reloader.should_restart() == [project / "changing.py"]
    assert reloader.should_restart() is None


def test_folders_that_cannot_be_watched(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What watchfiles raises in its thread comes out before a process is started."""
    pytest.importorskip("watchfiles")
    failing = "fastserve.supervisors.watchfilesreload.watch"
    monkeypatch.setattr(failing, lambda *paths, **options: (1 // 0 for _ in paths))
    monkeypatch.chdir(project)
    reloader = WatchFilesReload(fastserve.Config("changing:app", reload=True, log_config=None), print, [])
    with pytest.raises(ZeroDivisionError):
        reloader.startup()
    assert not hasattr(reloader, "process")


def test_process_that_does_not_end(reloading: Start, project: Path) -> None:
    """A request that has no end does not hold up the next version of the application."""
    deed = (
        "    if scope['path'] == '/wait':\n        print('waiting', flush=True)\n        await asyncio.Event().wait()\n"
    )
    source = "import asyncio\n" + SOURCE.replace("    await", deed + "    await", 1)
    (project / "changing.py").write_text(source % "one")
    server = reloading("--timeout-graceful-shutdown", "0")
    answers(server, 1)
    with server.connect() as client:
        client.sendall(b"GET /wait HTTP/1.1\r\nHost: test\r\n\r\n")
        server.wait_line("^waiting$")
        (project / "changing.py").write_text(SOURCE % "next")
        server.wait_line(r"Cancel 1 running task\(s\)")
        assert answers(server, 2) == b"next"


BOTH = pytest.mark.parametrize("watchfiles", [True, False], ids=["WatchFiles", "StatReload"])


@BOTH
def test_process_that_was_killed(reloading: Start, watchfiles: bool) -> None:
    """It is started again, at once at first; clients that connect in between are served."""
    server = reloading(watchfiles=watchfiles)
    for count in (1, 2):
        assert answers(server, count) == b"one"
        pid = int(server.wait_line(RUNNING, count=count)[1])
        os.kill(pid, signal.SIGKILL)
        delay = "" if count == 1 else r" in 0\.5 s"
        line = rf"^WARNING:  The server process \[{pid}\] has ended: killed by SIGKILL\. Restarting it{delay}\.$"
        server.wait_line(line)
    assert answers(server, 3) == b"one"
    assert server.stop() == 0


def test_process_that_ended_by_itself(reloading: Start) -> None:
    server = reloading("--limit-max-requests", "1")
    assert answers(server, 1) == b"one"
    server.wait_line(r"has ended: exit code 0\. Restarting it\.$")
    assert answers(server, 2) == b"one"


def test_module_that_leaves_the_process(reloading: Start, project: Path) -> None:
    """What ends while it is imported would do so again: that waits for its author."""
    (project / "changing.py").write_text("raise SystemExit(1)")
    server = reloading()
    server.wait_line(r"has ended: exit code 1\. Waiting for changes\.$")
    (project / "changing.py").write_text(SOURCE % "mended")
    assert answers(server, 1) == b"mended"


@BOTH
def test_hangup(reloading: Start, watchfiles: bool) -> None:
    """SIGHUP restarts the server, without a change; where it has failed to start as well."""
    server = reloading(watchfiles=watchfiles)
    assert answers(server, 1) == b"one"
    server.send_signal(signal.SIGHUP)
    server.wait_line(r"^INFO:     Received SIGHUP, restarting the server process\.$")
    assert answers(server, 2) == b"one"
    assert server.stop() == 0


OWN_TERMINAL = """
import os, runpy, sys
os.open(sys.argv.pop(1), os.O_RDWR)  # of a session's leader that is its controlling terminal
runpy.run_module("fastserve", run_name="__main__")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="opening a terminal makes it the controlling one")
def test_hangup_of_the_terminal(project: Path) -> None:
    """A terminal that is closed ends what was started in it."""
    master, slave = os.openpty()
    args = ["changing:app", "--port", "0", "--lifespan", "off", "--reload"]
    argv = [sys.executable, "-c", OWN_TERMINAL, os.ttyname(slave), *args]
    server = support.Command(argv, cwd=project, start_new_session=True)
    try:
        answers(server, 1)
        server.send_signal(signal.SIGHUP)
        answers(server, 2)
        os.close(slave)
        os.close(master)
        assert server.wait() == 0
        assert server.lines[-1] == f"INFO:     Stopping reloader process [{server.pid}]"
    finally:
        server.close()


@BOTH
def test_linked_folders(reloading: Start, project: Path, tmp_path: Path, watchfiles: bool) -> None:
    """Folders that symbolic links lead to are watched, even where they lead back."""
    other = tmp_path / "other"
    other.mkdir()
    (project / "link").symlink_to(other)
    (other / "back").symlink_to(project)
    server = reloading(watchfiles=watchfiles)
    answers(server, 1)
    (other / "new.py").touch()
    server.wait_line(r"detected changes in '.*new\.py'\. Reloading")


def test_log_file_in_a_watched_folder(reloading: Start, project: Path) -> None:
    """What watchfiles logs of changes is not a change that it logs."""
    handlers = {
        "file": {"class": "logging.FileHandler", "filename": "app.log"},
        "err": {"class": "logging.StreamHandler"},
    }
    loggers = {"fastserve": {"handlers": ["err"], "level": "INFO", "propagate": False}}
    root = {"handlers": ["file"], "level": "DEBUG"}
    config = {"version": 1, "disable_existing_loggers": False, "handlers": handlers, "loggers": loggers, "root": root}
    (project / "log.json").write_text(json.dumps(config))
    server = reloading("--log-config", "log.json")
    for count, name in enumerate(("first.py", "second.py"), 1):
        server.wait_line(RUNNING, count=count)
        (project / "page.html").touch()
        (project / name).touch()
        server.wait_line(rf"detected changes in '{name}'\. Reloading")
    server.wait_line(RUNNING, count=3)
    server.stop()
    seen = [line for line in (project / "app.log").read_text().splitlines() if "change" in line]
    assert len(seen) == server.output.count("Reloading...")


def test_interrupt_of_the_process_group(reloading: Start) -> None:
    server = reloading(start_new_session=True)
    answers(server, 1)
    os.killpg(server.pid, signal.SIGINT)
    assert server.wait() == 0
    assert "Traceback" not in server.output


def test_ends_with_its_parent(reloading: Start) -> None:
    server = reloading()
    answers(server, 1)
    server.process.kill()
    server.wait_line(r"^WARNING:  The parent process is gone: stopping\.$")
    server.wait_line("Finished server process")
    server.wait()


@pytest.mark.parametrize(
    ("name", "seen"),
    [
        ("a.py", True),
        ("a.pyc", False),
        (".hidden.py", False),
        ("~a.py", False),
        ("a.html", False),
        ("deep/er/a.py", True),
        ("a.js", True),
        ("b.js", False),
        (".env", True),
        ("left/out/a.py", False),
    ],
)
def test_filter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, seen: bool) -> None:
    (tmp_path / "left").mkdir()
    monkeypatch.chdir(tmp_path)
    config = fastserve.Config(
        "a:b", reload=True, reload_includes=["*.js", ".env"], reload_excludes=["b.*", "left"], log_config=None
    )
    assert file_filter.FileFilter(config)(tmp_path / name) == seen


def test_directories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("a/b", "c", "d"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)

    def watched(**given: Any) -> Any:
        return fastserve.Config("a:b", reload=True, log_config=None, **given).reload_dirs

    assert watched() == [tmp_path]
    assert watched(reload_dirs="a") == [tmp_path / "a"]
    assert watched(reload_dirs=["a", "a/b", "c"]) == [tmp_path / "a", tmp_path / "c"]
    assert watched(reload_dirs=["a"], reload_includes=["c"]) == [tmp_path / "a", tmp_path / "c"]
    assert watched(reload_dirs=["a", "c"], reload_excludes=["c"]) == [tmp_path / "a"]
    assert watched(reload_dirs=["nowhere"]) == [tmp_path]
    assert "Provided reload directories ['nowhere'] did not contain valid directories" in caplog.text
    fastserve.Config("a:b", reload_dirs=["a"], log_config=None)
    assert "Current configuration will not reload as not all conditions are met" in caplog.text


@pytest.mark.parametrize("given", [["--workers", "2"], {"WEB_CONCURRENCY": "2"}, ["--workers", "0"]], ids=str)
def test_workers_with_reload(project: Path, given: list[str] | dict[str, str]) -> None:
    """A number of workers is ignored with uvicorn's warning: one process serves."""
    args, env = (given, {}) if isinstance(given, list) else ([], given)
    begun: list[list[str]] = []
    for module in ("uvicorn", "fastserve"):
        argv = [sys.executable, "-m", module, "changing:app", "--port", "0", "--reload", *args]
        server = support.Command(argv, cwd=project, env={"PYTHONDONTWRITEBYTECODE": "1", **env})
        try:
            server.wait_line(RUNNING)
            lines = [re.sub(r"\[\d+\]|:\d+ ", "", line).replace("Fastserve", "Uvicorn") for line in server.lines]
            if module == "fastserve":
                assert answer(server) == b"one"
            server.stop(signal.SIGINT)
        finally:
            server.close()
        begun.append(lines[: lines.index("INFO:     Started reloader process  using WatchFiles") + 1])
    assert begun[0] == begun[1]
    assert ('WARNING:  "workers" flag is ignored when reloading is enabled.' in begun[1]) == ("0" not in given)
    assert len(re.findall(RUNNING, server.output)) == 1


def test_what_follows_from_reload_with_workers(caplog: pytest.LogCaptureFixture) -> None:
    config = fastserve.Config("a:b", reload=True, workers=4, log_config=None)
    assert (config.use_workers, config.use_subprocess, config.should_reload) == (False, True, True)
    assert (config.use_threads, config.multiprocess, config.may_have_siblings) == (False, False, False)
    assert '"workers" flag is ignored when reloading is enabled.' in caplog.text


def test_classes_that_programs_know(monkeypatch: pytest.MonkeyPatch) -> None:
    from fastserve._subprocess import get_subprocess
    from fastserve.supervisors.basereload import BaseReload
    from fastserve.supervisors.multiprocess import Multiprocess, Process
    from fastserve.supervisors.statreload import StatReload as ByItsName

    assert issubclass(ByItsName, BaseReload)
    assert supervisors.Multiprocess is Multiprocess
    assert callable(Process.is_alive)
    process = get_subprocess(fastserve.Config("a:b", log_config=None), print, [])
    assert (process.pid, process.is_alive()) == (None, False)
    pytest.importorskip("watchfiles")
    assert supervisors.ChangeReload is WatchFilesReload
    monkeypatch.setitem(sys.modules, "watchfiles", None)
    assert supervisors.ChangeReload is StatReload


def test_program_that_runs_a_reloader_itself(project: Path) -> None:
    """As with uvicorn: bind_socket(), ChangeReload(config, target=server.run, sockets=[sock]).run()."""
    (project / "program.py").write_text(
        "import fastserve\n"
        "from fastserve.supervisors import ChangeReload\n"
        "if __name__ == '__main__':\n"
        "    config = fastserve.Config('changing:app', port=0, reload=True, lifespan='off')\n"
        "    ChangeReload(config, target=fastserve.Server(config).run, sockets=[config.bind_socket()]).run()\n"
    )
    program = support.Command([sys.executable, "program.py"], cwd=project)
    try:
        assert answers(program, 1) == b"one"
        assert program.stop() == 0
        assert "Not watching" not in program.output
    finally:
        program.close()
