"""The source archive and the wheel: what is in them, and that the first builds the second with no network."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email.parser import HeaderParser
from pathlib import Path, PurePosixPath

import fetch
import pytest

ROOT = Path(__file__).resolve().parents[2]
CORE = ROOT / "src" / "fastserve" / "_core"
MODULES = sorted(".".join(path.relative_to(CORE).with_suffix("").parts) for path in CORE.rglob("*.pyx"))
SECONDS = 540
OTHER_NAME = "served-quickly"

pytestmark = [pytest.mark.packaging, pytest.mark.timeout(SECONDS + 30)]


def run(*arguments: str | Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command of this interpreter that reaches no index; its output is one text."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "FASTSERVE_"))}
    offline = {"PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env={**inherited, **offline, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def succeed(*arguments: str | Path, cwd: Path, **environment: str) -> str:
    result = run(*arguments, cwd=cwd, **environment)
    assert result.returncode == 0, result.stdout
    return result.stdout


def copy_tree(target: Path) -> Path:
    """Copy what a clean clone with llhttp fetched would hold, so that no build touches this tree."""
    built = shutil.ignore_patterns(
        ".[!c]*", "__pycache__", "*.egg-info", "*.so", "*.pyd", "build", "dist", "wheelhouse"
    )

    def ignored(folder: str, names: list[str]) -> set[str]:
        made = {"venv", "work"} if Path(folder) == ROOT / ".ci" else set()  # gigabytes, in which other checks work
        return made | built(folder, names)

    shutil.copytree(ROOT, target, ignore=ignored)
    for translated in (target / "src" / "fastserve" / "_core").rglob("*.c"):
        translated.unlink()
    fetch.ensure()
    shutil.copytree(ROOT / "vendor" / "llhttp", target / "vendor" / "llhttp", dirs_exist_ok=True)
    return target


def package_files() -> set[str]:
    """Return the files of the package that are written by hand, relative to src."""
    made = {".c", ".so", ".pyd", ".pyc"}
    files = (path for path in (ROOT / "src" / "fastserve").rglob("*") if path.is_file() and path.suffix not in made)
    return {path.relative_to(ROOT / "src").as_posix() for path in files if not path.name.startswith(".")}


def readme_names() -> set[str]:
    """Return the files and folders of this tree that the README links to or names, relative to the root."""
    text = (ROOT / "README.md").read_text("utf-8")
    named = set(re.findall(r"\]\(([^)#:]+)[)#]", text))
    named |= set(re.findall(r"https://github\.com/fastserve/fastserve/(?:blob|tree|raw)/main/([^)#\s\"]+)", text))
    named |= {name for name in re.findall(r"`([\w./-]+)`", text) if (ROOT / name).exists()}
    return {name.rstrip("/") for name in named}


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source archive of a distribution that has another name: what follows from the name is all that changes."""
    tree = copy_tree(tmp_path_factory.mktemp("sdist") / "fastserve")
    settings = (tree / "pyproject.toml").read_text("utf-8")
    renamed = re.sub(r'^name = "[^"]+"$', f'name = "{OTHER_NAME}"', settings, count=1, flags=re.MULTILINE)
    assert renamed != settings
    (tree / "pyproject.toml").write_text(renamed, "utf-8")
    succeed("-m", "build", "--sdist", "--no-isolation", cwd=tree)
    (archive,) = (tree / "dist").iterdir()
    return archive


@pytest.fixture(scope="module")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel that pip builds from the source archive alone, offline."""
    folder = tmp_path_factory.mktemp("wheel")
    succeed("-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, sdist, cwd=folder)
    (built,) = folder.iterdir()
    return built


def test_sdist_has_all_that_a_build_needs(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {
            PurePosixPath(*PurePosixPath(member.name).parts[1:]).as_posix() for member in archive if member.isfile()
        }
    wanted = {"pyproject.toml", "setup.py", "MANIFEST.in", "LICENSE", "CHANGELOG.md", "README.md"}
    wanted |= {"vendor/backend.py", "vendor/fetch.py", "vendor/llhttp.txt", "vendor/translate.py"}
    wanted |= {f"vendor/llhttp/{fetch.STAMP}", *(f"vendor/llhttp/{name}" for name in fetch.FILES)}
    wanted |= {f"src/{name}" for name in package_files()} | {"tests/conftest.py", "tests/packaging/test_archives.py"}
    assert wanted - names == set()
    made = {
        name for name in names if name.endswith((".so", ".pyd", ".pyc")) or "/." in f"/{name}".replace("/.ci/", "/")
    }
    made |= {name for name in names if name.startswith("src/") and name.endswith(".c")}
    assert made == set()


def test_sdist_has_what_the_readme_names(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = [PurePosixPath(*PurePosixPath(member.name).parts[1:]) for member in archive if member.isfile()]
    held = {str(each) for name in names for each in (name, *name.parents)}
    assert readme_names() - held == set()
    assert {"CHANGELOG.md", ".ci/run"} <= readme_names()


def test_distribution_has_its_name_and_the_rest_keeps_its_own(sdist: Path, wheel: Path) -> None:
    """The import name and the command are in what the tests below install; this is what the index sees."""
    archive_name = OTHER_NAME.replace("-", "_")
    assert sdist.name.startswith(f"{archive_name}-")
    assert wheel.name.startswith(f"{archive_name}-")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (metadata,) = (archive.read(name).decode() for name in names if name.endswith(".dist-info/METADATA"))
    assert HeaderParser().parsestr(metadata)["Name"] == OTHER_NAME
    assert {name.partition("/")[0] for name in names} == {
        "fastserve",
        f"{sdist.name.removesuffix('.tar.gz')}.dist-info",
    }


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="asks which glibc is needed")
def test_wheel_needs_no_newer_glibc_than_its_tag_says(wheel: Path, tmp_path: Path) -> None:
    """The images for wheels have glibc 2.17. A wheel that is built here may take functions from where they are now."""
    with zipfile.ZipFile(wheel) as archive:
        modules = [name for name in archive.namelist() if name.endswith(".so")]
        archive.extractall(tmp_path, modules)
    result = subprocess.run(["objdump", "-T", *modules], cwd=tmp_path, capture_output=True, text=True, check=True)
    symbols = re.findall(r"\(?GLIBC_2\.(\d+)[.\d]*\)? +(\w+)", result.stdout)
    assert len(symbols) > len(modules)
    newer = {name for minor, name in symbols if int(minor) > 17}
    # Functions of threads were in a library of their own until 2.34, and those of stat() in each program until 2.33.
    assert newer <= {name for name in newer if name.startswith("pthread_") or name in {"stat64", "fstat64"}}


def test_wheel_has_types_and_no_sources(wheel: Path) -> None:
    info = "-".join(wheel.name.split("-")[:2]) + ".dist-info"
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        metadata = HeaderParser().parsestr(archive.read(f"{info}/METADATA").decode())
        scripts = archive.read(f"{info}/entry_points.txt").decode()
    wanted = {name for name in package_files() if not name.endswith((".pyx", ".h", ".md"))}
    licenses = {f"{info}/licenses/{name}" for name in ("LICENSE", "vendor/llhttp/LICENSE")}
    assert (wanted | licenses) - names == set()
    assert {name for name in names if name.endswith((".pyx", ".c", ".h"))} == set()
    compiled = {name.partition("/_core/")[2].partition(".")[0] for name in names if name.endswith((".so", ".pyd"))}
    assert {name.replace("/", ".") for name in compiled} == set(MODULES)
    assert metadata["License-Expression"] == "MIT"
    required = {value for value in metadata.get_all("Requires-Dist", []) if "extra ==" not in value}
    assert {value.partition(">")[0] for value in required} == {"click", "tomli", "uvloop"}
    assert "fastserve = fastserve.__main__:command" in scripts
    assert "hook-dirs = fastserve._pyinstaller:get_hook_dirs" in scripts


def test_wheel_works_where_it_is_installed(wheel: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    succeed("-m", "pip", "install", "--no-deps", "--target", site, wheel, cwd=tmp_path)
    imports = "; ".join(f"import fastserve._core.{name}" for name in MODULES)
    where = succeed("-c", f"import fastserve; {imports}; print(fastserve.__file__)", cwd=tmp_path, PYTHONPATH=str(site))
    assert Path(where.strip()) == site / "fastserve" / "__init__.py"
    version = wheel.name.split("-")[1]
    assert f"fastserve {version}" in succeed("-m", "fastserve", "--version", cwd=tmp_path, PYTHONPATH=str(site))
    script = "from fastserve._version import requirement; print(requirement('h11'))"
    assert succeed("-c", script, cwd=tmp_path, PYTHONPATH=str(site)).strip() == f"{OTHER_NAME}[h11]"


def test_wrong_hash_stops_the_build(tmp_path: Path) -> None:
    """A pin that the fetched files do not fit is looked up anew, and what then comes is refused in two lines."""
    tree = copy_tree(tmp_path / "fastserve")
    archive = tmp_path / "httptools-0.9.0.tar.gz"
    archive.write_bytes(b"something else")
    shutil.rmtree(tree / "vendor" / "llhttp")
    result = run(
        *("-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", tmp_path / "wheel", tree),
        cwd=tmp_path,
        FASTSERVE_LLHTTP_SDIST=str(archive),
    )
    assert result.returncode != 0
    lines = [line.strip() for line in result.stdout.splitlines()]
    (wrong,) = (number for number, line in enumerate(lines) if line.startswith("llhttp: "))
    assert str(archive) in lines[wrong]
    assert lines[wrong + 1].startswith("Set FASTSERVE_LLHTTP_SDIST to the path of httptools-0.9.0.tar.gz")
    assert list(tmp_path.rglob("*.whl")) == []


def test_unknown_kind_of_build_names_the_choices(tmp_path: Path) -> None:
    tree = copy_tree(tmp_path / "fastserve")
    result = run("setup.py", "build_ext", cwd=tree, FASTSERVE_BUILD="fast")
    assert result.returncode == 1
    assert result.stdout.splitlines() == [
        "FASTSERVE_BUILD='fast' is not a kind of build; choose from: release, profiled, debug, trace, asan, fuzz"
    ]
