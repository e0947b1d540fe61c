"""The layering of ARCHITECTURE: who may import whom, held to by reading every import and cimport of the sources."""

from __future__ import annotations

import ast
import importlib
import re
import sys
from collections.abc import Iterator
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "src" / "fastserve"
CORE = PACKAGE / "_core"

# A module may use those of the lines above its own, and those to its left.
LEVELS = (
    ("llhttp", "posix"),
    (
        "settings",
        "counters",
        "pool",
        "clock",
        "routes",
        "turn",
        "buffer",
        "errors",
        "names",
        "awaitable",
        "worker",
        "utf8",
    ),
    ("inflight", "ending"),
    ("rules", "request", "parser", "proxies", "scope", "head", "access", "deflate", "wsframe"),
    ("writer", "tlswriter", "lingering", "framing", "handler", "files", "transfer"),
    ("call", "current", "waiter", "task", "cycle", "wscycle", "gate", "reports", "environ", "wsgihead", "wsgicall"),
    ("websocket", "framed", "handshake", "http1"),
    ("connection",),
)
ORDER = [name for level in LEVELS for name in level]
DECLARATIONS_ONLY = {"llhttp", "posix"}
PLAIN_PYTHON = {"call"}
COMPILED = [name for name in ORDER if name not in DECLARATIONS_ONLY | PLAIN_PYTHON]

# What the shell may use of the core, and what it may use that is not in the standard library.
SEAM = {"access", "connection", "counters", "cycle", "ending", "environ", "errors", "gate", "inflight"}
SEAM |= {"proxies", "settings", "worker", "wsgicall"}
THIRD_PARTY = {"PyInstaller", "click", "dotenv", "gunicorn", "h11", "uvloop", "watchfiles", "websockets"}
THIRD_PARTY |= {"wsproto", "yaml"}
# Imported at once by who asks for it alone, in the files whose path starts so.
EAGER = {
    "PyInstaller": "_pyinstaller/",
    "click": "cli.py",
    "gunicorn": "workers/",
    "h11": "protocols/http/",
    "watchfiles": "supervisors/watchfilesreload.py",
    "websockets": "protocols/websockets_framing.py",
    "wsproto": "protocols/wsproto_framing.py",
}
CYTHON_PACKAGES = {"cpython", "cython", "libc"}

CORE_SOURCES = sorted(path for path in CORE.iterdir() if path.suffix in {".pyx", ".pxd", ".py"} and path.stem in ORDER)
SHELL_SOURCES = sorted(path for path in PACKAGE.rglob("*.py") if path.parent != CORE)
DEMO_SOURCES = [path for path in SHELL_SOURCES if "demo" in path.relative_to(PACKAGE).parts[0]]


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def core_imports(source: str) -> Iterator[str]:
    """Yield the dotted name of each module that Cython source imports or cimports, relative names made absolute."""
    text = re.sub(r'"""[\s\S]*?"""', '""', source)
    statement = re.compile(r"^[ \t]*(?:from[ \t]+([\w.]+)[ \t]+c?import[ \t]+(.*)|c?import[ \t]+(.*))$", re.MULTILINE)
    for match in statement.finditer(text):
        origin, names, modules = match.groups()
        if origin is None:
            yield from (part.split()[0] for part in modules.partition("#")[0].split(","))
        elif origin in (".", "fastserve._core"):
            yield from (f"fastserve._core.{part.split()[0]}" for part in names.partition("#")[0].split(","))
        elif origin.startswith("."):
            yield f"fastserve._core.{origin[1:]}"
        else:
            yield origin


def shell_imports(path: Path) -> Iterator[tuple[str, bool]]:
    """Yield each module that a Python file imports and whether that happens when the file itself is imported."""
    package = ["fastserve", *path.relative_to(PACKAGE).parent.parts]
    tree = ast.parse(path.read_text("utf-8"))
    deferred = {id(inner) for node in ast.walk(tree) if is_deferred(node) for inner in ast.walk(node)}
    for node in ast.walk(tree):
        at_import = id(node) not in deferred
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, at_import
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            origin = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                is_module = module_file(f"{origin}.{alias.name}") is not None
                yield (f"{origin}.{alias.name}" if is_module else origin), at_import


def is_deferred(node: ast.AST) -> bool:
    if isinstance(node, ast.If):
        return ast.unparse(node.test).endswith("TYPE_CHECKING")
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)


def module_file(module: str) -> Path | None:
    """Return the Python file of a fastserve module, None for anything else."""
    base = PACKAGE.parent.joinpath(*module.split("."))
    candidates = (base.with_suffix(".py"), base / "__init__.py")
    return next((path for path in candidates if path.is_file() and PACKAGE in path.parents), None)


def test_every_core_module_has_a_level_and_is_built() -> None:
    """The levels, setup.py and the files on disk name the same modules."""
    tree = ast.parse((ROOT / "setup.py").read_text("utf-8"))
    (modules,) = [node.value for node in tree.body if isinstance(node, ast.Assign) and "MODULES" in names_of(node)]
    built = ast.literal_eval(modules)
    assert sorted(built) == sorted(COMPILED)
    assert sorted(COMPILED) == [path.stem for path in sorted(CORE.glob("*.pyx"))]
    assert DECLARATIONS_ONLY.union(COMPILED) == {path.stem for path in CORE.glob("*.pxd")}
    assert {"__init__", *PLAIN_PYTHON} == {path.stem for path in CORE.glob("*.py")}


def names_of(node: ast.Assign) -> list[str]:
    return [target.id for target in node.targets if isinstance(target, ast.Name)]


@pytest.mark.parametrize("path", CORE_SOURCES, ids=name_of)
def test_core_imports_only_downward(path: Path) -> None:
    """A core module uses the standard library, C, and core modules of a lower level."""
    own = ORDER.index(path.stem)
    for module in core_imports(path.read_text("utf-8")):
        top, _, rest = module.partition(".")
        if top == "fastserve":
            assert rest.startswith("_core."), f"the core imports {module} of the shell"
            used = rest.split(".")[1]
            assert used in ORDER, f"{module} has no level"
            assert ORDER.index(used) <= own, f"{path.name} is below {module}"
        else:
            assert top in CYTHON_PACKAGES or top in sys.stdlib_module_names, f"the core imports {module}"


@pytest.mark.parametrize("path", CORE_SOURCES, ids=name_of)
def test_core_includes_nothing(path: Path) -> None:
    """A module is one file: no textual include."""
    assert re.search(r"^\s*include\b", path.read_text("utf-8"), re.MULTILINE) is None


@pytest.mark.parametrize("name", COMPILED)
def test_core_modules_are_compiled(name: str) -> None:
    """No Python file stands in for a compiled module."""
    module = importlib.import_module(f"fastserve._core.{name}")
    assert module.__file__ is not None
    assert module.__file__.endswith(tuple(EXTENSION_SUFFIXES))


@pytest.mark.parametrize("path", SHELL_SOURCES, ids=name_of)
def test_shell_uses_the_seam(path: Path) -> None:
    """A shell module uses the standard library, the declared dependencies and the core's seam; optional ones lazily."""
    within = path.relative_to(PACKAGE).as_posix()
    for module, at_import in shell_imports(path):
        parts = module.split(".")
        if parts[0] != "fastserve":
            known = parts[0] in sys.stdlib_module_names or parts[0] in THIRD_PARTY
            assert known, f"{path.name} imports {module}"
            if at_import and parts[0] in THIRD_PARTY:
                assert within.startswith(EAGER.get(parts[0], "/")), f"{path.name} imports {module} eagerly"
        elif parts[1:2] == ["_core"]:
            assert parts[2] in SEAM, f"{path.name} reaches past the seam for {module}"


@pytest.mark.parametrize("path", DEMO_SOURCES, ids=name_of)
def test_demo_needs_no_framework(path: Path) -> None:
    """The demo is plain ASGI: the standard library and itself."""
    for module, _ in shell_imports(path):
        assert module.split(".")[0] in sys.stdlib_module_names or module.startswith("fastserve.demo"), module


def test_shell_has_no_circle() -> None:
    """No two shell modules need each other to be imported first."""
    needs = {path: {module_file(module) for module, now in shell_imports(path) if now} for path in SHELL_SOURCES}
    done: set[Path] = set()
    while len(done) < len(needs):
        ready = {path for path in needs.keys() - done if needs[path] - {None, path} <= done}
        assert ready, f"a circle among {sorted(map(name_of, needs.keys() - done))}"
        done |= ready


def test_files_are_short() -> None:
    """A source file has fewer than 600 lines: more than that is two nouns."""
    folders = ("src", "tests", "vendor", "bench")
    suffixes = {".py", ".pyi", ".pyx", ".pxd"}
    files = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.suffix in suffixes]
    lengths = {name_of(path): path.read_text("utf-8").count("\n") for path in files}
    assert files
    assert {name: length for name, length in lengths.items() if length >= 600} == {}
