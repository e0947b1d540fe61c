"""Brings llhttp's five files into vendor/llhttp, from the archive that vendor/llhttp.txt pins by hash.

setup.py calls `ensure()` before every build; `python vendor/fetch.py` does the same by hand.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
from importlib.machinery import PathFinder
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
FILES = ("LICENSE", "include/llhttp.h", "src/api.c", "src/http.c", "src/llhttp.c")
STAMP = "STAMP"
VARIABLE = "FASTSERVE_LLHTTP_SDIST"


class Pin(NamedTuple):
    """The one requirement of llhttp.txt: an archive's project, version and SHA-256 (hex)."""

    project: str
    version: str
    sha256: str

    @property
    def folder(self) -> str:
        return f"{self.project}-{self.version}"

    @property
    def archive(self) -> str:
        return f"{self.folder}.tar.gz"

    @property
    def stamp(self) -> str:
        return f"{self.folder} sha256:{self.sha256}\n"


class FetchError(Exception):
    """llhttp cannot be had; the text is two lines, what is wrong and what to supply."""

    def __init__(self, wrong: str, pin: Pin) -> None:
        super().__init__(
            f"llhttp: {wrong}\n"
            f"Set {VARIABLE} to the path of {pin.archive} with the sha256 {pin.sha256}, "
            "or let pip reach an index that has it (PIP_INDEX_URL, PIP_PROXY, PIP_CERT)."
        )


def read_pin(requirements: Path) -> Pin:
    """Return the pin of a requirements file; ValueError unless it is one line `project==version --hash=sha256:hex`."""
    lines = [line.partition("#")[0].strip() for line in requirements.read_text("utf-8").splitlines()]
    pins = [line for line in lines if line]
    match = re.fullmatch(r"([\w.-]+)==([\w.]+) --hash=sha256:([0-9a-f]{64})", pins[0]) if len(pins) == 1 else None
    if match is None:
        raise ValueError(f"{requirements} must have one line: project==version --hash=sha256:HEX")
    return Pin(*match.groups())


def ensure(vendor: Path = HERE) -> Path:
    """Return vendor/llhttp with the pinned files in it, fetched if need be; FetchError when they cannot be had."""
    pin = read_pin(vendor / "llhttp.txt")
    target = vendor / "llhttp"
    if not _is_current(target, pin):
        named = os.environ.get(VARIABLE)
        data = _read_named(Path(named), pin) if named else _download(vendor / "llhttp.txt", pin)
        digest = hashlib.sha256(data).hexdigest()
        if digest != pin.sha256:
            raise FetchError(f"{named or pin.archive} has the sha256 {digest}, not the pinned one.", pin)
        _install(_extract(data, pin), target, pin)
    return target


def requirements(vendor: Path = HERE) -> list[str]:
    """Return what must be installed before `ensure()`: pip, if it has to download and finds none."""
    present = os.environ.get(VARIABLE) or _is_current(vendor / "llhttp", read_pin(vendor / "llhttp.txt"))
    return [] if present or find_pip() else ["pip"]


def find_pip() -> list[str]:
    """Return the arguments with which this Python runs pip, none if it has no pip.

    An isolated build environment hides the packages of the environment that it is for, which has the pip that builds.
    """
    # Not importlib.util.find_spec(), with which setuptools puts an older distutils in the place of its own.
    if PathFinder.find_spec("pip") is not None:
        return ["-m", "pip"]
    hidden = Path(sysconfig.get_path("purelib"), "pip")
    return [os.fspath(hidden)] if (hidden / "__main__.py").is_file() else []


def _is_current(target: Path, pin: Pin) -> bool:
    try:
        stamp = (target / STAMP).read_text("utf-8")
    except OSError:
        return False
    return stamp == pin.stamp and all((target / name).is_file() for name in FILES)


def _read_named(path: Path, pin: Pin) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise FetchError(f"cannot read {path}, named by {VARIABLE}: {error.strerror}.", pin) from error


def _download(pinned: Path, pin: Pin) -> bytes:
    """Let pip fetch the archive, because pip honours the user's index, proxy and certificates."""
    # With these, which a build leaves to its processes, pip would look for the backend of that archive in this folder.
    passed_on = {
        name: value for name, value in os.environ.items() if not name.startswith(("PEP517_", "_PYPROJECT_HOOKS"))
    }
    with tempfile.TemporaryDirectory(prefix="fastserve-llhttp-") as folder:
        options = ["--no-deps", "--no-binary=:all:", "--require-hashes", "--dest", folder, "-r", os.fspath(pinned)]
        # pip reads the metadata of the archive: a build has the backend for that, an environment an old one or none.
        for isolation in (["--no-build-isolation"], []):
            result = subprocess.run(
                [sys.executable, *(find_pip() or ["-m", "pip"]), "download", *options, *isolation],
                env=passed_on,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
            )
            if result.returncode == 0 or not _has_read(result.stdout):
                break
        archive = Path(folder, pin.archive)
        if result.returncode != 0 or not archive.is_file():
            raise FetchError(f"pip could not download {pin.archive}: {_reason(result.stdout)}", pin)
        return archive.read_bytes()


def _has_read(output: str) -> bool:
    """Return whether pip had the archive and went on to its metadata: another run has another backend for that alone.

    Without an index, the archive or the pinned hash it does not get so far, and would not in another run.
    """
    return "metadata" in output.lower()


def _reason(output: str) -> str:
    """Pick the one line of pip's output that says most."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    return (errors or lines or ["it printed nothing"])[-1]


def _extract(data: bytes, pin: Pin) -> dict[str, bytes]:
    """Take the files by name, so that nothing else in the archive can reach the disk."""
    contents = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as archive:
            for name in FILES:
                member = archive.extractfile(f"{pin.folder}/vendor/llhttp/{name}")
                if member is None:
                    raise KeyError(f"{name} is not a file")
                contents[name] = member.read()
    except (KeyError, tarfile.TarError) as error:
        raise FetchError(f"{pin.archive} is not a source archive with llhttp in it: {error}", pin) from error
    return contents


def _install(contents: dict[str, bytes], target: Path, pin: Pin) -> None:
    """Write into a folder beside the target and rename it, so that a build that is cut short leaves no half of it."""
    fresh = Path(tempfile.mkdtemp(prefix=".llhttp-", dir=target.parent))
    try:
        fresh.chmod(0o755)
        for name, content in contents.items():
            path = fresh / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)
        (fresh / STAMP).write_text(pin.stamp, "utf-8")
        shutil.rmtree(target, ignore_errors=True)
        fresh.rename(target)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


if __name__ == "__main__":
    try:
        print(ensure())
    except FetchError as error:
        sys.exit(str(error))
