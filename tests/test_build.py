"""What setup.py makes of the modules, and what these are built without."""

from __future__ import annotations

import importlib
import os
import pickle
import re
import runpy
import shlex
import shutil
import signal
import subprocess
import sys
import sysconfig
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import backend
import pytest
import train
import translate

import fastserve
from bench.exchanges import EXCHANGES, GET, Exchange
from fastserve._core.settings import Settings

try:
    tomllib: Any = importlib.import_module("tomllib")
except ImportError:  # Python 3.10, where pytest needs this one
    tomllib = importlib.import_module("tomli")

ROOT = Path(__file__).resolve().parents[1]
MODULE = """\
cdef class Pair:
    cdef object left
    cdef object right

    cdef object sum(self):
        if self.left is None:
            raise ValueError("left")
        return self.left + self.right
"""


@pytest.fixture(scope="module")
def build() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "setup.py"))


def sources() -> list[Path]:
    return sorted((ROOT / "src/fastserve/_core").rglob("*.pyx"))


@pytest.mark.tree
def test_modules_say_how_far_they_are_optimized(build: dict[str, Any]) -> None:
    found: dict[str, set[str]] = {"-O0": set(), "-O1": set(), "-O2": set(), "-O3": set()}
    for path in sources():
        source = path.relative_to(ROOT).as_posix()
        flags = build["extension"](source, "release").extra_compile_args
        levels = [flag for flag in flags if flag.startswith("-O")]
        assert levels in (["-O2"], ["-O2", "-O0"], ["-O2", "-O1"], ["-O2", "-O3"])
        found[levels[-1]].add(path.stem)
        assert build["extension"](source, "trace").extra_compile_args == list(build["KINDS"]["trace"].compile)
    assert found["-O0"] == {"settings", "testing"}
    assert {"handshake", "lingering", "worker"} <= found["-O1"]
    assert {"connection", "exchange", "parser", "task", "turn"} <= found["-O2"]
    assert found["-O3"] == {"fields", "frames", "hpack", "response_head", "rules", "utf8"}


@pytest.mark.tree
def test_a_first_line_for_the_build_is_one_that_it_knows(build: dict[str, Any]) -> None:
    for path in sources():
        with path.open(encoding="utf-8") as file:
            first = file.readline()
        assert first in (build["ONCE"], build["COLD"], build["HOT"]) or first.startswith('"""'), path


@pytest.mark.tree
@pytest.mark.parametrize("seldom", ["", "__attribute__((cold))"])
def test_what_is_seldom_called_is_marked(tmp_path: Path, seldom: str) -> None:
    source = tmp_path / "module.pyx"
    source.write_text(MODULE, "utf-8")
    assert translate.translate(str(source), "module", str(tmp_path), {"language_level": 3}, seldom)
    text = source.with_suffix(".c").read_text("utf-8")
    plain = text.replace("static __attribute__((cold)) ", "static ")
    functions = re.findall(r"^static [^;={}()]*?\b(__\w+)\(", plain, re.MULTILINE)
    marked = re.findall(r"^static __attribute__\(\(cold\)\) [^;={}()]*?\b(__\w+)\(", text, re.MULTILINE)
    seldom_called = {"__Pyx_AddTraceback", "__Pyx_Raise", "__pyx_tp_clear_6module_Pair"}
    assert seldom_called | {"__pyx_f_6module_4Pair_sum"} <= {*functions}
    if not seldom:
        assert marked == []
        return
    for name in seldom_called:
        assert marked.count(name) == functions.count(name)  # its declaration and its definition
    assert "__pyx_f_6module_4Pair_sum" not in marked
    assert "static __attribute__((cold)) CYTHON_INLINE" not in text


@pytest.mark.tree
def test_a_module_begins_with_what_has_been_compiled(build: dict[str, Any], tmp_path: Path) -> None:
    command = shlex.split(sysconfig.get_config_var("CC"))
    options = ("-O2", "-fPIC")
    compiler = SimpleNamespace(compiler_so=command, include_dirs=[sysconfig.get_path("include")])
    begin = build["BuildExt"].precompile(SimpleNamespace(build_temp=tmp_path, compiler=compiler), options, 0)
    if "clang" in subprocess.run([*command, "--version"], capture_output=True, text=True, check=True).stdout:
        assert begin == []
        return
    assert begin == ["-include", f"{tmp_path}/precompiled0.h"]
    Path(begin[1]).write_text("#error this is read only where the compiled one is not taken", "utf-8")
    module = tmp_path / "module.c"
    module.write_text("Py_ssize_t size;", "utf-8")
    subprocess.run([*command, *options, *begin, "-c", module, "-o", tmp_path / "module.o"], check=True)


@pytest.mark.tree
@pytest.mark.parametrize("program", ["false", "/nowhere/gcc"])
def test_a_compiler_that_cannot_begin_so_goes_on_without(build: dict[str, Any], tmp_path: Path, program: str) -> None:
    compiler = SimpleNamespace(compiler_so=[program], include_dirs=[])
    assert build["BuildExt"].precompile(SimpleNamespace(build_temp=tmp_path, compiler=compiler), ("-O2",), 0) == []


# Writes half a module and ends the build as a machine without memory would.
DEADLY_LINKER = """
import os, signal, sys
with open(sys.argv[sys.argv.index("-o") + 1], "wb") as made:
    made.write(b"half")
os.killpg(0, signal.SIGKILL)
"""


def build_three(
    tree: Path, kind: str = "trace", linker: str = "", program: tuple[str, ...] = ("setup.py",), **files: str
) -> tuple[int, str]:
    """Build a core of three modules without optimization; return the exit code and the output."""
    core = tree / "src/fastserve/_core"
    if not core.exists():
        core.mkdir(parents=True)
        shutil.copy(ROOT / "setup.py", tree)
        shutil.copytree(ROOT / "vendor", tree / "vendor")  # with llhttp
        (tree / "pyproject.toml").write_text("[project]\nname = 'three'\nversion = '1'\n", "utf-8")
        files = {"first": "", "second": "", "third": ""} | files
    for name, source in files.items():
        (core / f"{name}.pyx").write_text(source, "utf-8")
    result = subprocess.run(
        [sys.executable, *program, "build_ext", "-j1"],
        cwd=tree,
        env=os.environ | {"FASTSERVE_BUILD": kind} | ({"LDSHARED": linker} if linker else {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        start_new_session=True,
        timeout=300,
    )
    return result.returncode, result.stdout


# The longest source is built first.
@pytest.mark.tree
@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("cdef int number = 'text'  # and more", "error: Cython cannot translate src/fastserve/_core/first.pyx"),
        ('cdef extern from "nowhere/to/be/found.h":\n    pass\n', "error: "),
    ],
)
def test_a_module_that_cannot_be_built_ends_the_build(tmp_path: Path, source: str, error: str) -> None:
    code, output = build_three(tmp_path / "tree", first=source)
    assert code == 1
    assert output.splitlines()[-1].startswith(error)
    assert "first" in output
    assert list(tmp_path.rglob("second*.so")) == []


@pytest.mark.tree
def test_a_build_that_fails_leaves_what_it_has_made(tmp_path: Path) -> None:
    """The next one makes the rest; one of another kind takes nothing of it."""
    wrong = 'cdef extern from "nowhere.h":\n    pass\n'
    assert build_three(tmp_path, first=f"#{'-' * 100}\n", second=wrong)[0] == 1
    [made] = tmp_path.rglob("first*.so")
    when = made.stat().st_mtime_ns
    assert list(tmp_path.rglob("third*.so")) == []
    for source in ("number = )", "number = 1"):  # the first of which fails in a build of what has changed
        code, output = build_three(tmp_path, second=source)
        assert (code == 0) == source.endswith("1"), output
        assert made.stat().st_mtime_ns == when
    assert len([*tmp_path.rglob("*.so")]) == 3
    assert build_three(tmp_path, "debug", second=wrong)[0] == 1
    assert made.stat().st_mtime_ns != when
    assert list(tmp_path.rglob("third*.so")) == []


@pytest.mark.tree
def test_a_build_that_is_killed_leaves_nothing_to_the_next(tmp_path: Path) -> None:
    linker = tmp_path / "linker.py"
    linker.write_text(DEADLY_LINKER, "utf-8")
    assert build_three(tmp_path, linker=f"{sys.executable} {linker}")[0] == -signal.SIGKILL
    [half] = tmp_path.rglob("*.so")
    assert half.read_bytes() == b"half"
    code, output = build_three(tmp_path)
    assert code == 0, output
    assert half.read_bytes()[:4] == b"\x7fELF"


# Kills the build alone, as an operator's SIGKILL does.
KILLING_LINKER = """
import os, signal
os.kill(int(os.environ["BUILD"]), signal.SIGKILL)
"""
NOTING_SETUP = """
import os, runpy
os.environ["BUILD"] = str(os.getpid())
runpy.run_path("setup.py", run_name="__main__")
"""


@pytest.mark.tree
@pytest.mark.skipif(sys.platform != "linux", reason="translators are forked on Linux")
def test_a_build_that_is_killed_leaves_no_process(tmp_path: Path) -> None:
    linker = tmp_path / "linker.py"
    linker.write_text(KILLING_LINKER, "utf-8")
    code, output = build_three(tmp_path, linker=f"{sys.executable} {linker}", program=("-c", NOTING_SETUP))
    # The output ends when no process has it any more: what was left behind would hold it open.
    assert code == -signal.SIGKILL, output


@pytest.mark.tree
def test_expressions_that_bring_in_coroutines_are_not_used() -> None:
    # A generator expression costs what Cython's coroutines take to compile; a list does the same here.
    call = re.compile(r"\b(?:all|any|bytes|dict|frozenset|list|max|min|set|sorted|sum|tuple|join)\(([^()\[\]{}]+) for ")
    found = [f"{path.name}: {match[0]}" for path in sources() for match in call.finditer(path.read_text("utf-8"))]
    assert found == []


def test_settings_of_the_core_cannot_be_pickled() -> None:
    with pytest.raises(TypeError, match=r"cannot pickle .*Settings"):
        pickle.dumps(Settings.__new__(Settings))


@pytest.mark.tree
def test_what_a_profiled_build_serves_is_served() -> None:
    result = subprocess.run(
        [sys.executable, ROOT / "vendor/train.py"],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == [exchange.name for exchange in EXCHANGES]


@pytest.mark.tree
def test_a_profiled_build_stops_at_a_wrong_response(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 404, "headers": []})
        await send({"type": "http.response.body"})

    monkeypatch.setattr(train, "EXCHANGES", (Exchange("wrong", app, (GET,)),))
    assert train.main() == 1
    assert capsys.readouterr().err == "wrong: Wrong(\"the response begins with b'HTTP/1.1 404 Not Found\\\\r\\\\n'\")\n"


@pytest.mark.tree
@pytest.mark.parametrize("kind", ["release", "profiled"])
def test_wheels_for_linux_require_what_they_serve_with_while_they_are_built(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    assert settings["tool"]["cibuildwheel"]["linux"]["environment"] == {"FASTSERVE_BUILD": "profiled"}
    monkeypatch.setenv("FASTSERVE_BUILD", kind)
    required = {re.split(r"[>=;]", line)[0] for line in backend.get_requires_for_build_wheel()}
    own = {re.split(r"[>=;]", line)[0] for line in settings["project"]["dependencies"]}
    assert own & required == (own if kind == "profiled" else set())


@pytest.mark.tree
@pytest.mark.skipif(sys.platform != "linux", reason="wheels are compiled by counts on Linux alone")
def test_a_compiler_that_leaves_no_counts_is_refused(build: dict[str, Any], tmp_path: Path) -> None:
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    names = [path.relative_to(ROOT / "src").with_suffix("").as_posix() for path in sources()]
    command = SimpleNamespace(
        extensions=[SimpleNamespace(name=name) for name in names],
        get_ext_fullpath=lambda name: Path(fastserve.__file__).parents[1] / f"{name}{suffix}",
        get_ext_filename=lambda name: f"{name}{suffix}",
    )
    with pytest.raises(build["CompileError"], match="FASTSERVE_BUILD=profiled needs gcc"):
        build["BuildExt"].train(command, tmp_path / "counts")
