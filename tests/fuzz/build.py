"""The core, compiled by clang with sanitizers and coverage in a folder of its own, and what a process of it needs."""

from __future__ import annotations

import fcntl
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HOME = ROOT / "build" / "fuzz"
TREE = HOME / "tree"
CLANG = os.environ.get("CLANG", "clang")
# Python itself never gives all back; and deep stacks for each allocation would take most of the time.
SANITIZER = "detect_leaks=0:allocator_may_return_null=1:malloc_context_size=4"
RUNTIME = "asan_with_fuzzer.so"  # beside the atheris package


class Unusable(Exception):
    """What this machine lacks; the text is one line."""


def runtime() -> Path:
    """Return atheris' shared object that holds the sanitizers' runtime and libFuzzer. Raises Unusable without one."""
    spec = importlib.util.find_spec("atheris")
    if spec is None or spec.origin is None:
        raise Unusable("no atheris: pip install atheris (Linux, Python 3.11 to 3.13)")
    path = Path(spec.origin).parents[1] / RUNTIME
    if not path.exists():
        raise Unusable(f"this build of atheris has no {RUNTIME}")
    return path


def copy_sources() -> None:
    """Bring the copy up to date; what has not changed keeps its time, so that it is not compiled again."""
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE", "src", "vendor"):
        for source in sorted((ROOT / name).rglob("*")) if (ROOT / name).is_dir() else [ROOT / name]:
            made = source.suffix in (".so", ".c", ".pyc") and "llhttp" not in source.parts
            if made or source.name == ".build-kind" or not source.is_file():
                continue
            target = TREE / source.relative_to(ROOT)
            if not target.exists() or target.stat().st_mtime_ns != source.stat().st_mtime_ns:
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, target)
    core = TREE / "src" / "fastserve" / "_core"
    for copied in core.glob("*.p*"):
        if not (ROOT / copied.relative_to(TREE)).exists():
            copied.unlink()


def build() -> None:
    """Compile what has changed. Raises Unusable without clang and with the compiler's words when it fails."""
    if shutil.which(CLANG) is None:
        raise Unusable(f"no {CLANG}: install it (Debian: apt-get install clang), or name one in CLANG")
    runtime()
    HOME.mkdir(parents=True, exist_ok=True)
    with (HOME / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several targets can be started at once
        compile_core()


def compile_core() -> None:
    copy_sources()
    log = HOME / "build.log"
    environment = {**os.environ, "FASTSERVE_BUILD": "fuzz", "CC": CLANG, "LDSHARED": f"{CLANG} -shared"}
    environment.pop("PYTHONPATH", None)
    command = [sys.executable, "setup.py", "build_ext", "--inplace", f"-j{os.cpu_count() or 1}"]
    with log.open("wb") as file:
        code = subprocess.run(
            command, cwd=TREE, env=environment, stdout=file, stderr=subprocess.STDOUT, check=False
        ).returncode
    if code:
        raise Unusable(f"the core does not build:\n{log.read_text('utf-8', 'replace')[-3000:]}")


def environment() -> dict[str, str]:
    """Return the environment in which a Python process runs the instrumented core."""
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("FASTSERVE_")},
        "PYTHONPATH": os.pathsep.join([str(TREE / "src"), str(ROOT / "tests")]),
        "LD_PRELOAD": str(runtime()),
        # With Python's own allocator a read past the end of a bytes object stays inside its arena, unseen.
        "PYTHONMALLOC": "malloc",
        "ASAN_OPTIONS": f"{SANITIZER}:{os.environ.get('ASAN_OPTIONS', '')}",
        "UBSAN_OPTIONS": "print_stacktrace=1",
    }
