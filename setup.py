"""The compiled half of the build; everything declarative is in pyproject.toml.

FASTSERVE_BUILD chooses how `fastserve._core` is compiled: release (default), profiled (as wheels for Linux are:
compiled a second time, by what the first has counted while it served), debug (checks and assertions on, warnings are
errors), trace (line coverage of .pyx files), asan (address and undefined-behaviour sanitizers) or fuzz (these, with
the coverage that guides libFuzzer; it needs clang, so set CC=clang).
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError

PR_SET_PDEATHSIG = 1  # of linux/prctl.h
ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT / "vendor"))

import fetch  # noqa: E402
import translate  # noqa: E402

CORE = "src/fastserve/_core"
PARSER = "fastserve._core.http1.parser"  # the one module that llhttp is compiled into
LLHTTP = tuple(f"vendor/llhttp/src/{name}.c" for name in ("llhttp", "api", "http"))

DIRECTIVES = {
    "language_level": 3,
    "boundscheck": True,  # applications put what they like into scopes and messages
    "wraparound": False,
    "initializedcheck": False,
    "cdivision": True,
    # Plain method descriptors: cheaper to bind and to call, and _core/http/exchange.pyx relies on them.
    "binding": False,
    # Nothing here can be pickled, for its pointers and sockets belong to one process: the methods that say so were a
    # fifth of the machine code.
    "auto_pickle": False,
    "emit_code_comments": False,  # coverage alone reads them
    # What loops in several threads share, and how, is in ARCHITECTURE.md.
    "freethreading_compatible": True,
}


class Kind(NamedTuple):
    """What one value of FASTSERVE_BUILD changes in how an extension module is translated, compiled and linked."""

    compile: tuple[str, ...]
    link: tuple[str, ...] = ()
    define: tuple[str, ...] = ()
    undefine: tuple[str, ...] = ()
    directives: tuple[str, ...] = ()
    once: tuple[str, ...] = ()  # more of `compile`, for modules that say they are used once
    cold: tuple[str, ...] = ()  # or cold
    hot: tuple[str, ...] = ()  # or hot
    warnings_are_errors: bool = False
    precompiled: bool = False  # a whole build of it compiles Python.h once
    seldom: str = ""  # an attribute for functions that are seldom called, in a whole build


# What the first line of a module may be.
ONCE = "# setup.py: once\n"  # it runs at a start, or in tests alone: -O0 takes half of gcc's time with -O1
COLD = "# setup.py: cold\n"  # no request's or message's time depends on it: -O1 takes 0.6 of gcc's time
HOT = "# setup.py: hot\n"  # its loops over octets gain by -O3, by 11 % for the head of a response
# All others are at -O2: gcc takes 0.84 of the time of -O3, and exchanges of bench/callgrind 0.8 % more instructions.

CHECKS = ("wraparound", "initializedcheck")
# Not maybe_uninitialized: Cython warns about variables that are filled through their address.
WARNINGS = ("warn.unreachable", "warn.unused")
SANITIZE = ("-fsanitize=address,undefined", "-fno-sanitize-recover=undefined")
# What runs once, when a module is imported, or seldom, as errors do: a sixth of gcc's time went into it. clang does not
# know the attribute.
SELDOM = '__attribute__((cold,optimize("O0")))' if sys.platform == "linux" else ""
INITIALIZATION = (f"-DCYTHON_SMALL_CODE={SELDOM}",) if SELDOM else ()
# Python's own flags enable sign-compare, which Cython's loops violate.
WALL = ("-Wall", "-Wno-sign-compare")
# A function of Python that a module calls by its address, not by a stub: a request touches 54 lines of the instruction
# cache and 12 pages fewer, of 1,271 and 190, and takes 1 % fewer instructions. Other platforms do so anyway.
DIRECT_CALLS = ("-fno-plt",) if sys.platform == "linux" else ()
# Nobody reads warnings at an installation, and gcc takes 7 % longer with them: the debug build has them, as errors.
# What gains nothing, as measured: -fno-use-linker-plugin, -fno-asynchronous-unwind-tables.
# Without symbols an archive of all modules is a tenth smaller, and compressed 0.02 s sooner. With -fno-tree-pta gcc
# takes 6 % less, and post-1k of bench/callgrind 0.4 % more instructions. With -fno-gcse gcc takes 4 % less, and
# exchanges 0.1 % fewer instructions.
RELEASE = Kind(
    ("-O2", "-fno-gcse", "-g0", "-Wno-all", "-pipe", *DIRECT_CALLS, *INITIALIZATION),
    once=("-O0",),
    cold=("-O1",),
    hot=("-O3", "-fgcse"),
    precompiled=True,
    seldom=SELDOM,
)
PROFILED = "profiled"
KINDS = {
    "release": RELEASE,
    # What a request runs lies together, and the rest elsewhere: it touches a sixth fewer lines of the instruction
    # cache, and a fifth fewer pages. What vendor/train.py does not do is compiled as in a release.
    **({PROFILED: RELEASE} if sys.platform == "linux" else {}),
    "debug": Kind(
        # llhttp's C is clean under -Wall too, so one set of flags serves it and ours.
        ("-O1", "-g", *WALL, "-Werror"),
        define=("FASTSERVE_DEBUG",),
        undefine=("NDEBUG",),
        directives=CHECKS + WARNINGS,
        warnings_are_errors=True,
    ),
    "trace": Kind(
        ("-O0", "-g0"), define=("CYTHON_TRACE", "CYTHON_TRACE_NOGIL"), directives=("linetrace", "emit_code_comments")
    ),
    "asan": Kind(
        # A report names lines; with the rest of what debuggers read, gcc takes half as long again.
        ("-O1", "-g1", "-fno-omit-frame-pointer", *SANITIZE),
        link=SANITIZE,
        define=("FASTSERVE_DEBUG",),
        undefine=("NDEBUG",),
        directives=CHECKS,
    ),
    "fuzz": Kind(
        ("-O1", "-g1", "-fno-omit-frame-pointer", "-fsanitize=fuzzer-no-link", *SANITIZE),
        # No -fsanitize: the runtime is the one that is loaded before Python, and holds libFuzzer as well.
        define=("FASTSERVE_DEBUG",),
        undefine=("NDEBUG",),
    ),
}
# What all modules begin with: reading it is a quarter of gcc's time for a small one. Where it cannot be compiled once,
# as it cannot by other compilers, each module reads it.
PRECOMPILED = """\
#if defined(__clang__) || !defined(__GNUC__)
#error "how this compiler looks for compiled headers has not been tried"
#endif
#define PY_SSIZE_T_CLEAN
#include <Python.h>
"""
MSVC = {"release": ("/O2",), "debug": ("/Od", "/Z7"), "trace": ("/Od",)}


def chosen_kind() -> str:
    """Return the value of FASTSERVE_BUILD. Raises SystemExit with the choices if this platform has no such kind."""
    kind = os.environ.get("FASTSERVE_BUILD") or "release"
    choices = MSVC if sys.platform == "win32" else KINDS
    if kind not in choices:
        raise SystemExit(f"FASTSERVE_BUILD={kind!r} is not a kind of build; choose from: {', '.join(choices)}")
    return kind


def extension(source: str, kind: str) -> Extension:
    """Return the extension module of a `.pyx` file below src/, to be compiled as that kind of build."""
    flags = KINDS[kind]
    windows = sys.platform == "win32"
    name = source.removeprefix("src/").removesuffix(".pyx").replace("/", ".")
    parser = name == PARSER
    with (ROOT / source).open(encoding="utf-8") as file:
        level = {ONCE: flags.once, COLD: flags.cold, HOT: flags.hot}.get(file.readline(), ())
    return Extension(
        name,
        [source, *(LLHTTP if parser else ())],
        include_dirs=["vendor/llhttp/include", CORE],
        depends=["vendor/llhttp/include/llhttp.h"] if parser else [],
        define_macros=[(macro, "1") for macro in flags.define],
        undef_macros=list(flags.undefine),
        extra_compile_args=list(MSVC[kind] if windows else flags.compile + level),
        extra_link_args=[] if windows else list(flags.link),
    )


def headers_of(source: str) -> list[str]:
    """Return our own headers that the C of a module includes, for itself or for what it cimports."""
    from Cython.Build.Dependencies import create_dependency_tree

    tree = create_dependency_tree(quiet=True)  # type: ignore[no-untyped-call]
    unread = {Path(file) for file in tree.all_dependencies(source)}
    found: set[Path] = set()
    while unread:
        names = re.findall(r'(?:#include|extern from) "([\w/]+\.h)"', unread.pop().read_text("utf-8"))
        new = {path for name in names if (path := Path(CORE, name)).exists()} - found
        found |= new
        unread |= new
    return sorted(path.as_posix() for path in found)


class BuildExt(build_ext):
    """Cython's build_ext on all processors. Rebuilds everything if the last build here was of another kind.

    A build of everything has no use for what depends on what: each module is translated and then compiled, with no wait
    for the other modules in between. Otherwise all changed modules are translated before the first is compiled.
    """

    built = 0
    failed = False  # a module could not be built, so the rest is skipped
    translators: ProcessPoolExecutor | None = None  # of a build of everything

    def finalize_options(self) -> None:
        super().finalize_options()
        if self.parallel is None:
            self.parallel = os.cpu_count() or 1

    def run(self) -> None:
        kind = chosen_kind()
        stamp = ROOT / CORE / ".build-kind"
        self.force = self.force or kind == PROFILED or not stamp.exists() or stamp.read_text("utf-8") != kind
        stamp.unlink(missing_ok=True)  # a build that is killed may leave half a module
        if self.force:
            self.forget()
        try:
            if not self.is_whole():
                self.translate_changed()
            # The longest compilations first, so that all processors have work until the end.
            self.extensions.sort(key=lambda module: -Path(module.sources[0]).stat().st_size)
            super().run()
        finally:  # all that there is is of this kind: one that fails leaves what it has made to the next
            stamp.write_text(kind, "utf-8")

    def forget(self) -> None:
        """Remove what an earlier build has made of the modules, which may be of another kind."""
        for module in self.extensions:
            built = self.get_ext_filename(module.name)  # type: ignore[no-untyped-call]
            Path(self.build_lib, built).unlink(missing_ok=True)
            (ROOT / module.sources[0]).with_suffix(".c").unlink(missing_ok=True)

    def is_whole(self) -> bool:
        """Return whether everything is built, by forked processes: others know nothing of Cython's options."""
        return bool(self.force) and sys.platform == "linux"

    def directives(self) -> dict[str, object]:
        """Return Cython's directives for this kind of build, after its options have been set in this process."""
        from Cython.Compiler import Options

        kind = KINDS[chosen_kind()]
        Options.warning_errors = kind.warnings_are_errors
        return {**DIRECTIVES, **dict.fromkeys(kind.directives, True)}

    def translate_changed(self) -> None:
        """Translate what has changed to C in several processes; the base class would do it in one, beside gcc's."""
        from Cython.Build import cythonize

        for module in self.extensions:
            module.depends += headers_of(module.sources[0])
        if sys.platform == "linux":
            # What a forked process inherits, others would import and set again; Python 3.14 no longer forks by itself.
            multiprocessing.set_start_method("fork", force=True)
        translated = cythonize(  # type: ignore[no-untyped-call]
            self.extensions,
            # A process that is not forked knows nothing of warning_errors.
            nthreads=0 if KINDS[chosen_kind()].warnings_are_errors else self.parallel,
            force=self.force,
            quiet=not self.verbose,
            include_path=[CORE],
            compiler_directives=self.directives(),
        )
        sources = {module.name: module.sources for module in translated}
        for module in self.extensions:
            module.sources = sources[module.name]

    def build_extensions(self) -> None:
        if chosen_kind() == PROFILED:
            self.build_profiled()
        elif self.is_whole():
            self.build_whole()
        else:
            super().build_extensions()

    def build_profiled(self) -> None:
        """Compile all so that it counts, serve with it, and compile it again by the counts."""
        counts = Path(self.build_temp, "counts").resolve()
        shutil.rmtree(counts, ignore_errors=True)
        flags = {module.name: tuple(module.extra_compile_args) for module in self.extensions}
        for module in self.extensions:
            module.extra_compile_args = [*flags[module.name], f"-fprofile-generate={counts}"]
            module.extra_link_args = ["-fprofile-generate"]
        self.build_whole()
        self.train(counts)
        self.built = 0
        for module in self.extensions:
            used = f"-fprofile-use={counts}", "-fprofile-partial-training", "-Wno-missing-profile"
            module.extra_compile_args = [*flags[module.name], *used]
            module.extra_link_args = []
        self.build_whole()

    def train(self, counts: Path) -> None:
        """Serve with what is built. Raises CompileError if that fails, or if the compiler leaves no counts."""
        with tempfile.TemporaryDirectory(prefix="fastserve-build-") as folder:
            shutil.copytree(ROOT / "src", folder, ignore=shutil.ignore_patterns("*.c", "*.so"), dirs_exist_ok=True)
            for module in self.extensions:
                file = self.get_ext_filename(module.name)  # type: ignore[no-untyped-call]
                shutil.copy(self.get_ext_fullpath(module.name), Path(folder, file))
            path = os.pathsep.join([folder, f"{ROOT}", *filter(None, sys.path)])
            trained = subprocess.run(
                [sys.executable, ROOT / "vendor/train.py"], env={**os.environ, "PYTHONPATH": path}, check=False
            )
        if trained.returncode:
            raise CompileError("what has been built for counting does not serve")
        if not any(counts.rglob("*.gcda")):
            raise CompileError(f"FASTSERVE_BUILD={PROFILED} needs gcc")

    def build_whole(self) -> None:
        # It took two fifths of the time of a translation; now each of two processes has 0.4 GB at its end, not 0.25.
        gc.disable()
        self.precompile_all()
        self.directives()  # sets options for the processes
        with ProcessPoolExecutor(self.parallel, multiprocessing.get_context("fork")) as self.translators:
            self.translators.submit(int)  # starts the processes, before this one has threads
            super().build_extensions()
        gc.enable()
        for compiled in Path(self.build_temp).glob("precompiled*.gch"):
            compiled.unlink()  # 12 MB each

    def precompile_all(self) -> None:
        """Compile Python.h for the modules, once for each set of flags, while the translations are prepared."""
        modules = []
        if KINDS[chosen_kind()].precompiled:
            # llhttp's own C, which is compiled with the flags of the parser, knows nothing of Python.
            modules = [module for module in self.extensions if module.name != PARSER]
        counts = Counter(tuple(module.extra_compile_args) for module in modules)
        choices = [flags for flags, count in counts.items() if count > 4]  # four gain what it takes
        with ThreadPoolExecutor(self.parallel) as pool:
            compiled = pool.map(self.precompile, choices, range(len(choices)))
            translate.prepare()
            headers = dict(zip(choices, compiled, strict=True))
        for module in modules:
            module.extra_compile_args += headers.get(tuple(module.extra_compile_args), [])

    def precompile(self, flags: tuple[str, ...], number: int) -> list[str]:
        """Compile Python.h with these flags, and return those by which a module begins with it, none after an error."""
        header = Path(self.build_temp, f"precompiled{number}.h")
        header.parent.mkdir(parents=True, exist_ok=True)
        header.write_text(PRECOMPILED, "utf-8")
        folders = [f"-I{folder}" for folder in self.compiler.include_dirs]
        command = [*self.compiler.compiler_so, *folders, "-x", "c-header", f"{header}", "-o", f"{header}.gch", *flags]
        try:
            subprocess.run(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
        except (OSError, subprocess.CalledProcessError):
            return []
        return ["-include", f"{header}"]

    def build_extension(self, ext: Extension) -> None:
        if self.failed:
            return
        try:
            if self.translators is not None:
                ext.sources = self.translated(self.translators, ext)
            super().build_extension(ext)
        except BaseException:
            self.failed = True
            raise
        self.built += 1
        print(f"[{self.built}/{len(self.extensions)}] {ext.name}", flush=True)

    def translated(self, translators: ProcessPoolExecutor, ext: Extension) -> list[str]:
        """Let one of the processes translate this module; return the sources in C."""
        source, *others = [os.fspath(source) for source in ext.sources]
        if not source.endswith(".pyx"):
            return [source, *others]  # it is compiled a second time
        kind = KINDS[chosen_kind()]
        # With it gcc makes the loops of hot modules otherwise: heads of responses took 0.6 % more instructions.
        seldom = "" if set(kind.hot) & set(ext.extra_compile_args) else kind.seldom
        if not translators.submit(translate.translate, source, ext.name, CORE, self.directives(), seldom).result():
            raise CompileError(f"Cython cannot translate {source}")
        return [source.removesuffix(".pyx") + ".c", *others]


def let_children_end_with(parent: int) -> None:
    """Let the processes that this one forks for translations end when it is killed, not wait for work for ever."""
    try:
        import ctypes
    except ImportError:  # of a Python that was built without it
        return
    library = ctypes.CDLL(None)

    def follow() -> None:
        nonlocal parent
        library.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it has ended before
            os._exit(1)
        parent = os.getpid()

    os.register_at_fork(after_in_child=follow)


def main() -> None:
    """Build as setuptools was asked to. Raises SystemExit for a wrong FASTSERVE_BUILD or llhttp."""
    kind = chosen_kind()
    if sys.platform == "linux":
        let_children_end_with(os.getpid())
    try:
        fetch.ensure()
    except fetch.FetchError as error:
        raise SystemExit(str(error)) from None
    sources = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / CORE).rglob("*.pyx"))
    setup(ext_modules=[extension(source, kind) for source in sources], cmdclass={"build_ext": BuildExt})


if __name__ == "__main__":  # processes that Cython starts to translate import this file again
    main()
