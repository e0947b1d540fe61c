"""How long a wheel takes to install, and from then to the first response, beside uvicorn.

python -m bench.install [--wheel fastserve.whl] [--repeat 5]

Without --wheel one is built of this tree first, which is not measured. Everything is downloaded before, and each
repetition installs into a fresh environment from those files alone, so that the network is not measured either.
Both are given in seconds of clock and of processor time, of which the second says more on a busy machine. Compare the
figures of one run only; the ratios are to the first row.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
APP = """
async def app(scope, receive, send):
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})
"""
REQUEST = b"GET / HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n"


class Row(NamedTuple):
    name: str
    requirement: str
    module: str


class Sample(NamedTuple):
    """Seconds of clock and of processor time, and MB on disk: the package and what it brings, without pip."""

    install: float
    install_cpu: float
    first: float
    first_cpu: float
    size: float


def cpu() -> float:
    """The processor time of all processes that this one has started and that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def pip(python: Path | str, *arguments: str) -> None:
    command = [str(python), "-m", "pip", "--disable-pip-version-check", "-q", *arguments]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)


def start(python: Path, module: str, folder: Path) -> float:
    """Return the seconds from the start of the command to the end of its first response."""
    began = time.perf_counter()
    command = [str(python), "-m", module, "app:app", "--port", "0"]
    with subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as server:
        assert server.stderr is not None
        port = next(
            int(found[1]) for line in server.stderr if (found := re.search(r"running on http://.*:(\d+)", line))
        )
        with socket.create_connection(("127.0.0.1", port), timeout=30) as sock:
            sock.sendall(REQUEST)
            response = b"".join(iter(lambda: sock.recv(65536), b""))
        took = time.perf_counter() - began
        server.terminate()
        server.stderr.read()
    assert response.startswith(b"HTTP/1.1 200"), response
    return took


def measure(row: Row, files: Path) -> Sample:
    with tempfile.TemporaryDirectory(prefix="fastserve-bench-") as name:
        folder = Path(name)
        (folder / "app.py").write_text(APP)
        venv.create(folder / "venv", with_pip=True)
        python = folder / "venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
        before = size(folder / "venv")
        began, used = time.perf_counter(), cpu()
        pip(python, "install", "--no-index", "--find-links", str(files), row.requirement)
        install, install_cpu = time.perf_counter() - began, cpu() - used
        grown = size(folder / "venv") - before
        used = cpu()
        first = start(python, row.module, folder)
        return Sample(install, install_cpu, first, cpu() - used, grown / 1e6)


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wheel", type=Path)
    parser.add_argument("--repeat", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fastserve-bench-") as name:
        files = Path(name)
        pip(sys.executable, "wheel", "--no-deps", "-w", name, str(options.wheel or ROOT))
        (wheel,) = files.glob("*.whl")
        rows = [
            Row("uvicorn[standard]", "uvicorn[standard]==0.54.0", "uvicorn"),
            Row("fastserve", str(wheel), "fastserve"),
            Row("fastserve[standard]", f"{wheel}[standard]", "fastserve"),
        ]
        pip(sys.executable, "download", "--only-binary", ":all:", "-d", name, *(row.requirement for row in rows))
        samples: dict[str, list[Sample]] = {row.name: [] for row in rows}
        for number in range(options.repeat):
            for row in rows[number % len(rows) :] + rows[: number % len(rows)]:
                samples[row.name].append(measure(row, files))
    medians = {name: Sample(*map(statistics.median, zip(*taken, strict=True))) for name, taken in samples.items()}
    base = medians[rows[0].name]
    print(
        f"{'seconds':20}{'install':>10}{'ratio':>8}{'CPU':>8}{'ratio':>8}{'first':>10}{'ratio':>8}{'CPU':>8}{'ratio':>8}{'MB':>7}"
    )
    for name, it in medians.items():
        timed = "".join(
            f"{mine:{width}.2f}{mine / theirs:8.2f}"
            for mine, theirs, width in zip(it[:4], base[:4], (10, 8, 10, 8), strict=True)
        )
        print(f"{name:20}{timed}{it.size:7.1f}")


if __name__ == "__main__":
    main()
