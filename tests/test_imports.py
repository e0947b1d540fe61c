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

# A package of the core may use itself and those before it; the modules at its root are named here one by one.
ORDER = (
    "llhttp", "python", "system", "threads", "counters", "metrics", "errors", "ending", "grammar", "settings",
    "memory", "loop", "interfaces", "worker", "transport", "tls", "http", "websocket", "wsgi", "http1", "http2",
    "topics", "connection", "preface", "testing",
)  # fmt: skip
PLAIN_PYTHON = {"errors", "grammar", "http/access_steps", "http2/tables", "loop/coroutine", "loop/give_way"}

# What the shell may use of the core, and what it may use that is not in the standard library.
SEAM = {"connection", "counters", "ending", "errors", "grammar", "metrics", "preface", "settings", "worker"}
SEAM |= {
    "http.access_format",
    "http.access_log",
    "http.access_steps",
    "http.account",
    "http.admission",
    "http.exchange",
    "http.inflight",
    "http.proxies",
    "http.proxy_protocol",
    "http.response_head",
    "http.static",
}
SEAM |= {"loop.clock", "loop.give_way", "tls.transport"}
SEAM |= {"topics.hub", "topics.message", "topics.subscriber", "topics.subscription"}
SEAM |= {"wsgi.call", "wsgi.environ", "wsgi.wakeup"}
THIRD_PARTY = {"PyInstaller", "channels", "click", "dotenv", "gunicorn", "h11", "hiredis", "nats", "prometheus_client"}
THIRD_PARTY |= {"rich", "socketio", "starlette", "tomli", "uvloop", "watchfiles", "websockets", "wsproto", "yaml"}
# Imported at once by who asks for it alone, in the files whose path starts so.
EAGER = {
    "PyInstaller": "_pyinstaller/",
    "channels": "topics/channels.py",
    "click": "cli.py",
    "gunicorn": "workers/",
    "h11": "protocols/http/",
    "socketio": "topics/socketio.py",
    "starlette": "topics/starlette.py",
    "watchfiles": "supervisors/watchfilesreload.py",
    "websockets": "protocols/websockets/websockets_sansio_impl.py",
    "wsproto": "protocols/websockets/wsproto_impl.py",
}
CYTHON_PACKAGES = {"cython", "libc"}  # not cpython: each module would translate what python.pxd has in short

CORE_SOURCES = sorted(
    path for path in CORE.rglob("*") if path.suffix in {".pyx", ".pxd", ".py"} and path.parent != CORE
)
CORE_SOURCES += sorted(
    path for path in CORE.iterdir() if path.suffix in {".pyx", ".pxd", ".py"} and path.stem != "__init__"
)
COMPILED = sorted(path.relative_to(CORE).with_suffix("").as_posix() for path in CORE.rglob("*.pyx"))
SHELL_SOURCES = sorted(path for path in PACKAGE.rglob("*.py") if CORE not in path.parents)
DEMO_NEEDS = ("fastserve.demo", "fastserve.topics")
DEMO_SOURCES = [path for path in SHELL_SOURCES if "demo" in path.relative_to(PACKAGE).parts[0]]


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def core_imports(path: Path) -> Iterator[str]:
    """Yield the absolute dotted name of each module that a file of the core imports or cimports."""
    package = ["fastserve", *path.relative_to(PACKAGE).parent.parts]
    text = re.sub(r'"""[\s\S]*?"""', '""', path.read_text("utf-8"))
    statement = re.compile(r"^[ \t]*(?:from[ \t]+([\w.]+)[ \t]+c?import[ \t]+(.*)|c?import[ \t]+(.*))$", re.MULTILINE)
    for match in statement.finditer(text):
        origin, names, modules = match.groups()
        if origin is None:
            yield from (part.split()[0] for part in modules.partition("#")[0].split(","))
            continue
        dots = len(origin) - len(origin.lstrip("."))
        base = ".".join([*package[: len(package) - dots + 1], *filter(None, [origin[dots:]])]) if dots else origin
        if core_file(base) is not None or not base.startswith("fastserve"):
            yield base
        else:  # a package, of which the names are modules
            yield from (f"{base}.{part.split()[0]}" for part in names.partition("#")[0].split(","))


def core_file(module: str) -> Path | None:
    """Return the file of a module of the core, None for a package or anything else."""
    base = PACKAGE.parent.joinpath(*module.split("."))
    return next((file for suffix in (".pyx", ".pxd", ".py") if (file := base.with_suffix(suffix)).is_file()), None)


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
                name = f"{origin}.{alias.name}"
                is_module = module_file(name) is not None or core_file(name) is not None
                yield (name if is_module else origin), at_import


def is_deferred(node: ast.AST) -> bool:
    if isinstance(node, ast.If):
        return ast.unparse(node.test).endswith("TYPE_CHECKING")
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)


def module_file(module: str) -> Path | None:
    """Return the Python file of a module of the shell, None for anything else."""
    base = PACKAGE.parent.joinpath(*module.split("."))
    candidates = (base.with_suffix(".py"), base / "__init__.py")
    inside = (path for path in candidates if PACKAGE in path.parents and CORE not in path.parents)
    return next(filter(Path.is_file, inside), None)


def test_every_core_module_has_a_place() -> None:
    """Each file of the core is in a package that has its place in the order; what is not compiled is named."""
    assert {place_of(path) for path in CORE_SOURCES} == set(ORDER)
    plain = {path.relative_to(CORE).with_suffix("").as_posix() for path in CORE_SOURCES if path.suffix == ".py"}
    assert {name for name in plain if not name.endswith("__init__")} == PLAIN_PYTHON


def place_of(path: Path) -> str:
    """Return what ORDER has for this file of the core: its package, or the module itself at the root."""
    return path.relative_to(CORE).with_suffix("").parts[0]


@pytest.mark.parametrize("path", CORE_SOURCES, ids=name_of)
def test_core_imports_only_downward(path: Path) -> None:
    """A core module uses the standard library, C, its own package and the core's packages before it."""
    own = ORDER.index(place_of(path))
    for module in core_imports(path):
        parts = module.split(".")
        if parts[0] == "fastserve":
            assert parts[1] == "_core", f"the core imports {module} of the shell"
            assert parts[2] in ORDER, f"{module} has no place"
            assert ORDER.index(parts[2]) <= own, f"{module} comes after {name_of(path)}"
        else:
            assert parts[0] in CYTHON_PACKAGES or parts[0] in sys.stdlib_module_names, f"the core imports {module}"


def test_core_has_no_circle() -> None:
    """Within a package, too, no two modules need each other."""
    needs = {path: {core_file(module) for module in core_imports(path)} - {None} for path in CORE_SOURCES}
    whole = {path.with_suffix("") for path in CORE_SOURCES}
    edges = {
        stem: {file.with_suffix("") for path in needs if path.with_suffix("") == stem for file in needs[path] if file}
        for stem in whole
    }
    done: set[Path] = set()
    while len(done) < len(edges):
        ready = {stem for stem in edges.keys() - done if edges[stem] - {stem} <= done}
        assert ready, f"a circle among {sorted(stem.relative_to(CORE).as_posix() for stem in edges.keys() - done)}"
        done |= ready


@pytest.mark.parametrize("path", CORE_SOURCES, ids=name_of)
def test_core_includes_nothing(path: Path) -> None:
    """A module is one file: no textual include."""
    assert re.search(r"^\s*include\b", path.read_text("utf-8"), re.MULTILINE) is None


@pytest.mark.parametrize("name", COMPILED)
def test_core_modules_are_compiled(name: str) -> None:
    """No Python file stands in for a compiled module."""
    module = importlib.import_module(f"fastserve._core.{name.replace('/', '.')}")
    assert module.__file__ is not None
    assert module.__file__.endswith(tuple(EXTENSION_SUFFIXES))


@pytest.mark.parametrize("path", SHELL_SOURCES, ids=name_of)
def test_shell_uses_the_seam(path: Path) -> None:
    """A shell module uses the standard library, the declared dependencies and the core's seam; optional ones lazily."""
    within = path.relative_to(PACKAGE).as_posix()
    for module, at_import in shell_imports(path):
        parts = module.split(".")
        if parts[0] != "fastserve":
            known = parts[0] in {*sys.stdlib_module_names, "tomllib"} or parts[0] in THIRD_PARTY  # from 3.11 on
            assert known, f"{path.name} imports {module}"
            if at_import and parts[0] in THIRD_PARTY:
                assert within.startswith(EAGER.get(parts[0], "/")), f"{path.name} imports {module} eagerly"
        elif parts[1:2] == ["_core"]:
            assert ".".join(parts[2:]) in SEAM, f"{path.name} reaches past the seam for {module}"


@pytest.mark.parametrize("path", DEMO_SOURCES, ids=name_of)
def test_demo_needs_no_framework(path: Path) -> None:
    """The demo is plain ASGI: the standard library, topics and itself."""
    for module, _ in shell_imports(path):
        assert module.split(".")[0] in sys.stdlib_module_names or module.startswith(DEMO_NEEDS), module


def test_shell_has_no_circle() -> None:
    """No two shell modules need each other, be it to be imported, within a function or for type checkers.

    Names that a module has at an address of uvicorn's, and gives by its `__getattr__`, are not imports.
    """
    assert_no_circle({path: {module_file(module) for module, _ in shell_imports(path)} for path in SHELL_SOURCES})


def test_any_shell_module_can_be_imported_first() -> None:
    """No circle either where the import of a module imports the packages that it is in."""
    assert_no_circle({path: set(imported_with(path)) for path in SHELL_SOURCES})


def imported_with(path: Path) -> Iterator[Path | None]:
    """Yield the files that importing this one imports, other than the packages that it is in itself."""
    for module, at_import in shell_imports(path):
        names = module.split(".") if at_import else []
        for size in range(1, len(names) + 1):
            file = module_file(".".join(names[:size]))
            if (
                file is not None
                and CORE not in file.parents
                and not (file.name == "__init__.py" and file.parent in path.parents)
            ):
                yield file


@pytest.mark.parametrize("path", SHELL_SOURCES, ids=name_of)
def test_imports_for_type_checkers_alone_are_of_what_is_not_loaded(path: Path) -> None:
    """An import below TYPE_CHECKING saves the loading of a module: one that is loaded anyway is imported as usual."""
    loaded = loaded_with(path)
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.If) and is_deferred(node):
            for each in ast.walk(node):
                if isinstance(each, ast.ImportFrom) and each.module and each.module.startswith("fastserve"):
                    names = [f"{each.module}.{alias.name}" for alias in each.names]
                    files = {module_file(name) or module_file(each.module) for name in names}
                    assert not files & loaded, f"{name_of(path)}:{each.lineno} is loaded anyway"


def loaded_with(path: Path) -> set[Path]:
    """Return the shell's files that the import of this one loads, itself and the packages that it is in left out."""
    loaded: set[Path] = set()
    left = [path]
    while left:
        new = {file for file in imported_with(left.pop()) if file is not None} - loaded - {path}
        loaded |= new
        left += new
    return loaded


def assert_no_circle(needs: dict[Path, set[Path | None]]) -> None:
    done: set[Path] = set()
    while len(done) < len(needs):
        ready = {path for path in needs.keys() - done if needs[path] - {None, path} <= done}
        assert ready, f"a circle among {sorted(map(name_of, needs.keys() - done))}"
        done |= ready


@pytest.mark.parametrize("path", SHELL_SOURCES, ids=name_of)
def test_config_is_filled_by_itself(path: Path) -> None:
    """No module sets an attribute of a configuration or of options that it was given."""
    if path == PACKAGE / "config.py":
        return
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            holder = ast.unparse(node.value).rpartition(".")[2]
            assert holder not in {"config", "options"}, f"{name_of(path)}:{node.lineno} sets {ast.unparse(node)}"
