"""Two commits of fastserve, each checked out into a worktree, built, and put on its own import path."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib import util
from pathlib import Path

from bench.load.process import ROOT, Failed
from bench.load.servers import FASTSERVE, Server

_BUILD_SECONDS = 1200
WORKING_TREE = "."


def builds(revisions: Sequence[str], folder: Path) -> list[Server]:
    """A server for each revision, built below `folder`; '.' is the working tree. Failed when git or the build fails."""
    found: list[Server] = []
    labels = [_label(revision) for revision in revisions]
    for number, (revision, label) in enumerate(zip(revisions, labels, strict=True)):
        print(f"building {label} ...", file=sys.stderr, flush=True)
        target = folder / f"build-{number}"
        source = folder / f"source-{number}"
        try:
            _check_out(revision, source)
            _build(source, target)
        finally:
            _remove(revision, source)
        name = label if labels.count(label) == 1 else f"{label}#{number + 1}"
        found.append(Server(name, FASTSERVE.package, FASTSERVE.arguments, {"PYTHONPATH": str(target)}))
    return found


def _label(revision: str) -> str:
    """A short name for the revision. Failed when it is none."""
    if revision == WORKING_TREE:
        return "working-tree"
    try:
        return _output(["git", "rev-parse", "--short", "--verify", "--quiet", f"{revision}^{{commit}}"])
    except Failed:
        raise Failed(f"{revision!r} is not a commit of this repository") from None


def _check_out(revision: str, source: Path) -> None:
    if revision == WORKING_TREE:
        # Tracked and untracked files, not the ignored ones: what a commit of everything would hold.
        for name in _output(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]).split("\0"):
            if name and (ROOT / name).is_file():
                (source / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, source / name)
    else:
        _output(["git", "worktree", "add", "--detach", str(source), revision])
    # llhttp's sources are not committed but fetched; with those of this tree that needs no network while the pin stays.
    fetched = ROOT / "vendor" / "llhttp"
    if fetched.is_dir() and not (source / "vendor" / "llhttp").exists():
        shutil.copytree(fetched, source / "vendor" / "llhttp")


def _remove(revision: str, source: Path) -> None:
    shutil.rmtree(source, ignore_errors=True)
    if revision != WORKING_TREE:
        _output(["git", "worktree", "prune"])


def _build(source: Path, target: Path) -> None:
    isolated = not all(util.find_spec(name) for name in ("setuptools", "Cython"))
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--disable-pip-version-check",
        "--target",
        str(target),
    ]
    _output([*command, *([] if isolated else ["--no-build-isolation"]), str(source)])
    where = _output(
        [sys.executable, "-c", "import fastserve._core.connection as module; print(module.__file__)"],
        {"PYTHONPATH": str(target)},
    )
    if not Path(where).is_relative_to(target):
        raise Failed(f"the build in {target} is not the one that is imported, which is {where}")


def _output(command: list[str], environment: dict[str, str] | None = None) -> str:
    """What the command prints. Failed with its last line when it fails."""
    result = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        timeout=_BUILD_SECONDS,
        check=False,
    )
    if result.returncode:
        lines = (result.stderr or result.stdout).strip().splitlines()
        raise Failed(f"{' '.join(command[:4])} ... failed: {lines[-1] if lines else 'no output'}")
    return result.stdout.strip()
