"""Programs that PyInstaller has frozen, without any option of its own: they serve with one worker and with more."""

from __future__ import annotations

import importlib.metadata
import os
import runpy
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from supervisors.clients import ready
from support import Command
from test_imports import CORE, core_imports

import fastserve._pyinstaller

SECONDS = 540

APPLICATION = """
import os

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
    elif scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": str(os.getpid()).encode()})
"""

RUNNING = """
import os
import fastserve
import application

if __name__ == "__main__":
    fastserve.run("application:app", port=0, workers=int(os.environ["WORKERS"]), log_level="debug")
"""

COMMANDING = """
import application
from fastserve.__main__ import command

command()
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("frozen")
    (folder / "application.py").write_text(APPLICATION)
    (folder / "running.py").write_text(RUNNING)
    (folder / "commanding.py").write_text(COMMANDING)
    yield folder
    shutil.rmtree(folder)


def freeze(folder: Path, program: str, how: str) -> Path:
    done = subprocess.run(
        [sys.executable, "-m", "PyInstaller", "--noconfirm", how, f"{program}.py"],
        cwd=folder,
        env={**os.environ, "PYINSTALLER_CONFIG_DIR": str(folder / "cache")},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return folder / "dist" / (f"{program}/{program}" if how == "--onedir" else program)


def assert_serves(command: Command, workers: int) -> None:
    try:
        if workers == 1:
            assert command.get().partition(b"\r\n\r\n")[2].isdigit()
        else:
            ready(command, workers)
            assert int(command.get().partition(b"\r\n\r\n")[2]) != command.pid
        command.stop()
    finally:
        command.close()
    assert command.output.count("Application shutdown complete.") == workers
    assert "ERROR" not in command.output and "Traceback" not in command.output


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 60)
def test_onedir(folder: Path) -> None:
    program = str(freeze(folder, "running", "--onedir"))
    for workers in (1, 2):
        assert_serves(Command([program], cwd=folder, env={"WORKERS": str(workers)}), workers)


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 60)
def test_onefile(folder: Path) -> None:
    """And with the command line: what multiprocessing passes to a worker is none."""
    program = str(freeze(folder, "commanding", "--onefile"))
    options = ("application:app", "--port", "0", "--log-level", "debug")
    for workers in (1, 2):
        assert_serves(Command([program, *options, "--workers", str(workers)], cwd=folder), workers)


def test_pyinstaller_finds_the_hook() -> None:
    found = importlib.metadata.entry_points(group="pyinstaller40", name="hook-dirs")
    (entry,) = (each for each in found if each.module.startswith("fastserve"))
    assert entry.load() is fastserve._pyinstaller.get_hook_dirs
    (hooks,) = entry.load()()
    assert Path(hooks, "hook-fastserve.py").exists()


def test_the_hook_names_what_compiled_modules_import() -> None:
    """No analysis sees what they import, of the standard library or of each other."""
    hook = runpy.run_path(str(Path(fastserve._pyinstaller.get_hook_dirs()[0], "hook-fastserve.py")))
    sources = [path for path in CORE.rglob("*") if path.suffix in {".pyx", ".pxd"}]
    imported = {name for path in sources for name in core_imports(path)}
    standard = {name for name in imported if name.partition(".")[0] in sys.stdlib_module_names}
    wanted = standard - {"__future__", *sys.builtin_module_names}
    assert set(hook["COMPILED"]) >= wanted
    names = set(hook["hiddenimports"])
    compiled = (path.relative_to(CORE).with_suffix("").parts for path in CORE.rglob("*.pyx"))
    assert {".".join(("fastserve._core", *parts)) for parts in compiled} <= names
    assert {"fastserve.loops.auto", "fastserve.lifespan.on", "fastserve.supervisors.multiprocess"} <= names
    assert not [name for name in names if name.startswith(("fastserve.workers", "fastserve.demo"))]
