"""Autobahn's wstest in a virtual environment of its own; it runs on Python 2.7 alone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

MISSING = (
    "Autobahn's test suite needs Python 2.7, and no python2.7 that works was found on PATH or among pyenv's versions; "
    "`pyenv install 2.7.18` makes one."
)
_REQUIREMENTS = Path(__file__).with_name("requirements.txt")
_VIRTUALENV = "virtualenv==20.15.1"  # the last that runs on Python 2.7
_SECONDS = 600


class CannotInstall(Exception):
    """wstest could not be set up; the text says why."""


def wstest(folder: Path) -> Path:
    """The path of wstest below `folder`, installed there unless it is, from the package index. CannotInstall."""
    home = folder / "python2.7"
    stamp = home / "requirements.txt"
    program = home / "bin" / "wstest"
    if not (stamp.exists() and stamp.read_text() == _REQUIREMENTS.read_text()):
        shutil.rmtree(home, ignore_errors=True)
        interpreter = _interpreter()
        print(f"installing Autobahn's test suite for {interpreter} in {home} ...", file=sys.stderr, flush=True)
        tool = folder / "virtualenv"
        _run([interpreter, *_pip("--upgrade", "--target", str(tool), _VIRTUALENV)])
        _run([interpreter, "-m", "virtualenv", "--quiet", str(home)], {"PYTHONPATH": str(tool)})
        _run([str(home / "bin" / "python"), *_pip("--requirement", str(_REQUIREMENTS))])
        shutil.copyfile(_REQUIREMENTS, stamp)
    return program


def _pip(*arguments: str) -> list[str]:
    return ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments]


def _interpreter() -> str:
    for candidate in _candidates():
        # pyenv puts a python2.7 on PATH that only works in folders where that version is chosen.
        command = [candidate, "-c", "import sys; sys.exit(sys.version_info[:2] != (2, 7))"]
        if subprocess.run(command, capture_output=True, check=False).returncode == 0:
            return candidate
    raise CannotInstall(MISSING)


def _candidates() -> Iterator[str]:
    found = shutil.which("python2.7")
    if found:
        yield found
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    yield from (str(path) for path in sorted(root.glob("versions/2.7*/bin/python2.7"), reverse=True))


def _run(command: list[str], environment: dict[str, str] | None = None) -> None:
    full = {**os.environ, **(environment or {}), "PYTHONWARNINGS": "ignore"}  # every step says that Python 2.7 is old
    try:
        result = subprocess.run(command, env=full, capture_output=True, text=True, timeout=_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise CannotInstall(f"{' '.join(command)} took more than {_SECONDS} s") from None
    if result.returncode:
        lines = (result.stderr or result.stdout).strip().splitlines()
        raise CannotInstall(f"{' '.join(command)} failed: {lines[-1] if lines else 'no output'}")
