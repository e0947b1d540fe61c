"""Each module can be the first of the package that a program imports."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support import PATIENCE

SOURCE = Path(__file__).parents[1] / "src" / "fastserve"
SHELL = sorted(
    ".".join(path.relative_to(SOURCE.parent).with_suffix("").parts).removesuffix(".__init__")
    for path in SOURCE.rglob("*.py")
    # What is for other programs to load, and what starts a server.
    if not {"_core", "_pyinstaller", "path"} & set(path.parts) and path.name != "__main__.py"
)
# A fork for each module: a new interpreter would take far longer.
CODE = """
import asyncio, importlib, os, sys, traceback  # of these the first takes a third of the time of most modules
for name in sys.argv[1:]:
    child = os.fork()
    if child == 0:
        try:
            importlib.import_module(name)
        except BaseException:
            print(name, traceback.format_exc(), flush=True)
        os._exit(0)
    os.waitpid(child, 0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="fork")
def test_each_module_can_be_imported_first() -> None:
    command = [sys.executable, "-c", CODE, *SHELL]
    assert subprocess.run(command, capture_output=True, text=True, check=True, timeout=4 * PATIENCE).stdout == ""
