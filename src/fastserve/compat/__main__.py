"""python -m fastserve.compat PROGRAM [ARGUMENT ...]: run a program whose `import uvicorn` gives fastserve.

PROGRAM is a command of this environment or of PATH, a Python file, an archive or folder with a __main__.py, or -m and
a module.
"""

from __future__ import annotations

import os
import shutil
import sys
import zipfile
from pathlib import Path

from fastserve.compat import pass_on


def command_line(program: str, arguments: list[str]) -> list[str]:
    """Return the command to run: with this Python unless PROGRAM is a command itself."""
    if program.startswith("-") or program.endswith(".py"):
        return [sys.executable, program, *arguments]
    beside = Path(sys.executable).parent
    found = shutil.which(program, path=str(beside)) or shutil.which(program)
    if found is not None:
        return [found, *arguments]
    if has_main(program):
        return [sys.executable, program, *arguments]
    sys.exit(f"fastserve.compat: {program!r} is neither a command nor a Python file nor -m with a module")


def has_main(path: str) -> bool:
    """Return whether Python can run what is at this path without being a Python file."""
    if Path(path, "__main__.py").is_file():
        return True
    try:
        with zipfile.ZipFile(path) as archive:
            return "__main__.py" in archive.namelist()
    except (OSError, zipfile.BadZipFile):
        return False


def main() -> None:
    if sys.argv[1:] in (["-h"], ["--help"]):
        print(__doc__)
        return
    if len(sys.argv) < 2:
        sys.exit("Usage: python -m fastserve.compat PROGRAM [ARGUMENT ...]")
    command = command_line(sys.argv[1], sys.argv[2:])
    pass_on()
    if os.name == "nt":
        import subprocess

        sys.exit(subprocess.call(command))
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
