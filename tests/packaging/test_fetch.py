"""vendor/fetch.py: where llhttp's files come from, and what it says when they cannot be had."""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
import sysconfig
import tarfile
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

import fetch
import pytest

PIP = next(iter(getattr(PathFinder.find_spec("pip"), "submodule_search_locations", [])))
SETUP_PY = b"from setuptools import setup\nsetup(name='httptools', version='0.9.0')\n"


def make_archive(path: Path, names: tuple[str, ...] = fetch.FILES) -> str:
    """Write a source archive that looks like httptools 0.9.0 to fetch.py and pip; return its SHA-256 in hex."""
    members = {"setup.py": SETUP_PY, "PKG-INFO": b"Metadata-Version: 2.1\nName: httptools\nVersion: 0.9.0\n"}
    members |= {f"vendor/llhttp/{name}": f"content of {name}".encode() for name in names}
    members["vendor/llhttp/CMakeLists.txt"] = b"unwanted"
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(f"httptools-0.9.0/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return hashlib.sha256(path.read_bytes()).hexdigest()


def pin(vendor: Path, sha256: str) -> None:
    (vendor / "llhttp.txt").write_text(f"# why\nhttptools==0.9.0 --hash=sha256:{sha256}\n")


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return tmp_path / "httptools-0.9.0.tar.gz"


@pytest.fixture
def vendor(tmp_path: Path, archive: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A vendor folder whose pin fits `archive`, with pip cut off from every index."""
    folder = tmp_path / "vendor"
    folder.mkdir()
    pin(folder, make_archive(archive))
    monkeypatch.delenv(fetch.VARIABLE, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    return folder


def contents(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


def two_lines(error: BaseException) -> tuple[str, str]:
    wrong, remedy = str(error).split("\n")
    assert fetch.VARIABLE in remedy
    assert "httptools-0.9.0.tar.gz" in remedy
    return wrong, remedy


def test_takes_the_five_files_of_the_named_archive(
    vendor: Path, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(fetch.VARIABLE, str(archive))
    target = fetch.ensure(vendor)
    assert target == vendor / "llhttp"
    found = contents(target)
    assert found.pop(fetch.STAMP).startswith("httptools-0.9.0 sha256:")
    assert found == {name: f"content of {name}" for name in fetch.FILES}
    assert sorted(path.name for path in vendor.iterdir()) == ["llhttp", "llhttp.txt"]


def test_downloads_with_pip(vendor: Path, archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a named archive pip brings it, from wherever pip is configured to look."""
    monkeypatch.setenv("PIP_FIND_LINKS", str(archive.parent))
    assert contents(fetch.ensure(vendor))["LICENSE"] == "content of LICENSE"


def test_by_hand_with_an_old_setuptools(vendor: Path, archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It cannot read the archive's metadata, as that of a new environment cannot: pip installs one for it."""

    def run(argv: list[str], **options: object) -> subprocess.CompletedProcess[str]:
        if "--no-build-isolation" in argv:
            return subprocess.CompletedProcess(argv, 1, "error: metadata-generation-failed")
        Path(argv[argv.index("--dest") + 1], archive.name).write_bytes(archive.read_bytes())
        return subprocess.CompletedProcess(argv, 0, "")

    monkeypatch.setattr(subprocess, "run", run)
    assert contents(fetch.ensure(vendor))["LICENSE"] == "content of LICENSE"


@pytest.fixture
def hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Hide pip as an isolated build environment does; the folder of packages around that, which has none either."""
    found = PathFinder.find_spec
    monkeypatch.setattr(PathFinder, "find_spec", lambda name, *rest: None if name == "pip" else found(name, *rest))
    packages = tmp_path / "packages"
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(packages))
    return packages


def test_downloads_with_the_pip_around_a_build_environment(
    vendor: Path, archive: Path, hidden: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hidden.mkdir()
    (hidden / "pip").symlink_to(PIP)
    monkeypatch.setenv("PIP_FIND_LINKS", str(archive.parent))
    for name in ("PEP517_BACKEND_PATH", "_PYPROJECT_HOOKS_BACKEND_PATH"):  # older and newer pips
        monkeypatch.setenv(name, str(fetch.HERE))
    assert fetch.requirements(vendor) == []
    assert fetch.find_pip() == [str(hidden / "pip")]
    assert contents(fetch.ensure(vendor))["LICENSE"] == "content of LICENSE"


def test_a_build_requires_pip_only_to_download_where_there_is_none(
    vendor: Path, archive: Path, hidden: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert fetch.requirements(vendor) == ["pip"]
    monkeypatch.setenv(fetch.VARIABLE, str(archive))
    assert fetch.requirements(vendor) == []
    fetch.ensure(vendor)
    monkeypatch.delenv(fetch.VARIABLE)
    assert fetch.requirements(vendor) == []


def test_the_backend_asks_for_what_is_required() -> None:
    """In a process of its own, because setuptools replaces distutils where it is imported."""
    script = (
        "import fetch; fetch.requirements = lambda: ['what']\n"
        "import backend; print(*(getattr(backend, f'get_requires_for_build_{each}')() for each in "
        "('wheel', 'editable', 'sdist')))"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], cwd=fetch.HERE, capture_output=True, text=True, timeout=100, check=False
    )
    assert result.stdout == "['what'] ['what'] ['what']\n", result.stderr


def test_a_fitting_stamp_is_enough(vendor: Path, archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(fetch.VARIABLE, str(archive))
    fetch.ensure(vendor)
    archive.unlink()
    (vendor / "llhttp" / "LICENSE").write_text("as it was left")
    fetch.ensure(vendor)
    assert contents(vendor / "llhttp")["LICENSE"] == "as it was left"


def test_a_new_pin_replaces_the_files(vendor: Path, archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(fetch.VARIABLE, str(archive))
    stale = fetch.ensure(vendor) / "stale.c"
    stale.touch()
    with archive.open("ab") as file:
        file.write(b"\0")  # a gzip file may be followed by padding
    pin(vendor, hashlib.sha256(archive.read_bytes()).hexdigest())
    assert contents(fetch.ensure(vendor)).keys() == {*fetch.FILES, fetch.STAMP}


def test_a_lost_file_is_fetched_again(vendor: Path, archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(fetch.VARIABLE, str(archive))
    lost = fetch.ensure(vendor) / "src" / "api.c"
    lost.unlink()
    fetch.ensure(vendor)
    assert lost.is_file()


def test_a_wrong_hash_stops(vendor: Path, archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(fetch.VARIABLE, str(archive))
    pin(vendor, "0" * 64)
    with pytest.raises(fetch.FetchError) as caught:
        fetch.ensure(vendor)
    wrong, remedy = two_lines(caught.value)
    assert str(archive) in wrong
    assert hashlib.sha256(archive.read_bytes()).hexdigest() in wrong
    assert "0" * 64 in remedy
    assert not (vendor / "llhttp").exists()


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands of the processes that are run."""
    commands = []
    run = subprocess.run

    def noted(argv: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        commands.append(argv)
        return run(argv, **options)

    monkeypatch.setattr(subprocess, "run", noted)
    return commands


def test_a_wrong_hash_of_a_download_stops(
    vendor: Path, archive: Path, runs: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_FIND_LINKS", str(archive.parent))
    pin(vendor, "0" * 64)
    with pytest.raises(fetch.FetchError) as caught:
        fetch.ensure(vendor)
    wrong, remedy = two_lines(caught.value)
    assert "HASHES" in wrong
    assert "0" * 64 in remedy
    assert not (vendor / "llhttp").exists()
    assert len(runs) == 1  # another would find the same


def test_a_missing_archive_stops(vendor: Path, archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive.unlink()
    monkeypatch.setenv(fetch.VARIABLE, str(archive))
    with pytest.raises(fetch.FetchError) as caught:
        fetch.ensure(vendor)
    wrong, _ = two_lines(caught.value)
    assert str(archive) in wrong
    assert "No such file" in wrong


def test_no_network_stops(vendor: Path, runs: list[list[str]]) -> None:
    with pytest.raises(fetch.FetchError) as caught:
        fetch.ensure(vendor)
    wrong, _ = two_lines(caught.value)
    assert wrong.startswith("llhttp: pip could not download httptools-0.9.0.tar.gz: ")
    assert "httptools==0.9.0" in wrong
    assert len(runs) == 1


def test_an_archive_without_llhttp_stops(vendor: Path, archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pin(vendor, make_archive(archive, fetch.FILES[:-1]))
    monkeypatch.setenv(fetch.VARIABLE, str(archive))
    with pytest.raises(fetch.FetchError) as caught:
        fetch.ensure(vendor)
    wrong, _ = two_lines(caught.value)
    assert "src/llhttp.c" in wrong
    assert not (vendor / "llhttp").exists()


def test_something_that_is_no_archive_stops(vendor: Path, archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive.write_bytes(b"not gzip")
    pin(vendor, hashlib.sha256(b"not gzip").hexdigest())
    monkeypatch.setenv(fetch.VARIABLE, str(archive))
    with pytest.raises(fetch.FetchError, match="is not a source archive"):
        fetch.ensure(vendor)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "httptools==0.9.0\n",
        "httptools>=0.9.0 --hash=sha256:" + "0" * 64,
        "httptools==0.9.0 --hash=sha256:0123\n",
        "httptools==0.9.0 --hash=md5:" + "0" * 64,
        2 * ("httptools==0.9.0 --hash=sha256:" + "0" * 64 + "\n"),
    ],
)
def test_a_pin_is_one_hashed_requirement(tmp_path: Path, text: str) -> None:
    (tmp_path / "llhttp.txt").write_text(text)
    with pytest.raises(ValueError, match="one line"):
        fetch.ensure(tmp_path)


def test_as_a_command_it_prints_the_two_lines(vendor: Path) -> None:
    script = vendor / "fetch.py"
    script.write_bytes(Path(fetch.__file__).read_bytes())
    result = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=50, check=False)
    assert result.returncode == 1
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 2


def test_the_shipped_pin() -> None:
    """The repository's own pin can be read."""
    assert fetch.read_pin(fetch.HERE / "llhttp.txt").project == "httptools"
