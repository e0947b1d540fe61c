"""fastserve under uvicorn's name: for modules, loggers, child processes, and programs that know nothing of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipapp
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from supervisors.clients import ready
from support import PATIENCE, Command

import fastserve.compat

TESTS = Path(__file__).parents[1]

# Those that UVICORN's users import, as far as this version has them.
MODULES = [
    "_compat", "_subprocess", "_types", "config", "importer", "lifespan", "lifespan.off", "lifespan.on", "logging",
    "loops",
    "loops.asyncio", "loops.auto", "loops.uvloop", "loops.zuvloop", "main", "middleware", "middleware.asgi2",
    "middleware.message_logger", "protocols", "protocols.http", "protocols.http.auto",
    "protocols.http.flow_control", "protocols.http.h11_impl", "protocols.http.httptools_impl", "protocols.utils",
    "protocols.websockets", "protocols.websockets.auto", "protocols.websockets.websockets_impl",
    "protocols.websockets.websockets_sansio_impl", "protocols.websockets.wsproto_impl",
    "middleware.proxy_headers", "middleware.wsgi", "workers", "server", "supervisors", "supervisors.basereload",
    "supervisors.multiprocess", "supervisors.statreload", "supervisors.watchfilesreload",
]  # fmt: skip

Run = Callable[..., Command]


@pytest.fixture
def run() -> Iterator[Run]:
    """Start `python -m fastserve.compat` with these arguments, in the folder of the tests."""
    running: list[Command] = []

    def start(*arguments: str, env: dict[str, str] | None = None) -> Command:
        running.append(Command([sys.executable, "-m", "fastserve.compat", *arguments], cwd=TESTS, env=env))
        return running[-1]

    yield start
    for process in running:
        process.close()


def python(code: str) -> str:
    """Return what this prints in a process of its own."""
    return python_file("-c", code)


def python_file(*arguments: str) -> str:
    """Return what Python prints when it is called so."""
    done = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, timeout=4 * PATIENCE, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# A tool that changes modules as soon as they are imported: it asks the other finders, and goes by a module's name.
HOOK = """
import sys
from importlib.util import find_spec

class Loader:
    def __init__(self, own):
        self.own = own

    def create_module(self, spec):
        return self.own.create_module(spec)

    def exec_module(self, module):
        self.own.exec_module(module)
        print("imported", module.__name__) if module.__name__ in Finder.names else None

class Finder:
    names = {"uvicorn.config", "uvicorn.server"}
    sought = set()

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name not in cls.names or name in cls.sought:
            return None
        cls.sought.add(name)
        spec = find_spec(name)
        cls.sought.discard(name)
        spec.loader = Loader(spec.loader)
        return spec

"""


@pytest.mark.parametrize(
    "alias", ["", "import fastserve.compat\nfastserve.compat.install()\n"], ids=["uvicorn", "compat"]
)
def test_import_hooks_see_the_modules_of_uvicorn(alias: str) -> None:
    """New Relic and others wait for `uvicorn.config`, which the program does not import by that name."""
    code = (
        HOOK
        + "sys.meta_path.insert(0, Finder)\n"
        + alias
        + """
import uvicorn
uvicorn.Server(uvicorn.Config("app:app", log_config=None))
from uvicorn.config import Config
assert sys.modules["uvicorn.config"].Config is uvicorn.Config is Config
assert sys.modules[Config.__module__].__name__ == sys.modules[Config.__module__].__spec__.name == Config.__module__
"""
    )
    assert sorted(python(code).split("\n")) == ["", "imported uvicorn.config", "imported uvicorn.server"]


def test_two_threads_may_be_the_first_to_import() -> None:
    """One by uvicorn's name of the package, and one by that of a module in it."""
    code = """
import threading
import fastserve.compat
fastserve.compat.install()
failed = []
threading.excepthook = failed.append
start = threading.Barrier(2)
def package():
    start.wait()
    import uvicorn
    uvicorn.run, uvicorn.logging
def module():
    start.wait()
    from uvicorn.main import run
threads = [threading.Thread(target=each) for each in (package, module)]
for each in threads: each.start()
for each in threads: each.join()
assert not failed, failed
"""
    for _ in range(5):
        assert python(code) == ""


@pytest.mark.parametrize(
    "alias", ["", "import fastserve.compat\nfastserve.compat.install()\n"], ids=["uvicorn", "compat"]
)
def test_a_server_without_a_parent_says_nothing_of_reload(alias: str) -> None:
    """Programs set `reload` and run a Server of their own; no user of theirs could call fastserve.run() instead."""
    code = (
        alias
        + """
import uvicorn
async def app(scope, receive, send): ...
class Server(uvicorn.Server):
    async def main_loop(self): ...
Server(uvicorn.Config(app, reload=True, port=0, lifespan="off", log_level="warning")).run()
"""
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=4 * PATIENCE, check=True
    )
    assert done.stdout + done.stderr == ""


def test_a_module_is_the_same_object_under_both_names() -> None:
    code = f"""
import fastserve.compat
fastserve.compat.install()
fastserve.compat.install()
import importlib, fastserve, uvicorn
assert uvicorn is fastserve
assert uvicorn._subprocess.get_subprocess  # not imported by name
for name in {MODULES!r}:
    theirs = importlib.import_module(f"uvicorn.{{name}}")
    ours = importlib.import_module(f"fastserve.{{name}}")
    assert theirs is ours, name
    assert ours.__name__ == ours.__spec__.name == f"fastserve.{{name}}", ours.__spec__
assert uvicorn.main.name == "fastserve"  # the command, though uvicorn.main has been imported
from uvicorn.protocols.utils import ClientDisconnected, get_client_addr, get_path_with_query_string, is_ssl
from uvicorn.importer import ImportFromStringError, import_from_string
assert import_from_string("uvicorn.server:Server") is fastserve.Server
try:
    import uvicorn.no_such_module
except ModuleNotFoundError as exc:
    print(exc)
"""
    assert python(code) == "No module named 'uvicorn.no_such_module'\n"


def test_classes_by_their_names_of_uvicorn() -> None:
    code = """
import fastserve.compat
fastserve.compat.install()
import uvicorn
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware
from uvicorn.middleware.wsgi import WSGIMiddleware
from uvicorn.protocols.websockets.auto import AutoWebSocketsProtocol
from uvicorn.protocols.websockets.websockets_impl import WebSocketProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.protocols.websockets.wsproto_impl import WSProtocol
from uvicorn.workers import UvicornH11Worker, UvicornWorker
assert issubclass(UvicornH11Worker, UvicornWorker) and UvicornWorker.__name__ == "FastserveWorker"
async def app(scope, receive, send): pass
framings = []
for ws in (AutoWebSocketsProtocol, WebSocketProtocol, WebSocketsSansIOProtocol, WSProtocol):
    for named in (ws, f"{ws.__module__.replace('fastserve', 'uvicorn')}:{ws.__name__}"):
        config = uvicorn.Config(app, ws=named)
        config.load()
        assert config.ws_protocol_class is ws
    framings.append(getattr(config.ws_framing, "__name__", None))
print(framings)
"""
    assert python(code) == "[None, 'WebSocketsFraming', 'WebSocketsFraming', 'WsprotoFraming']\n"


def test_loggers_are_shared_and_stay_enabled() -> None:
    code = """
import fastserve.compat, logging, logging.config
fastserve.compat.install()
import uvicorn
for name in ("", ".error", ".access", ".asgi"):
    assert logging.getLogger("uvicorn" + name) is logging.getLogger("fastserve" + name)
handler = {"class": "logging.StreamHandler", "stream": "ext://sys.stdout"}
config = {"version": 1, "disable_existing_loggers": True, "handlers": {"h": handler},
          "loggers": {"uvicorn.access": {"handlers": ["h"], "level": "INFO"}}}
uvicorn.Config("a:b", log_config=config)
logging.getLogger("uvicorn.access").info("still there")
"""
    assert python(code) == "still there\n"


def test_loggers_are_as_under_uvicorn_whatever_the_program_set_on_them() -> None:
    """Before uvicorn is imported and before it is configured, with log_config given and not."""
    program = str(TESTS / "compat" / "apps" / "loggers_program.py")
    theirs, ours = (json.loads(python_file(*module, program)) for module in ([], ["-m", "fastserve.compat"]))
    assert len(theirs) == 84
    assert ours == theirs


@pytest.mark.parametrize("held", ["held = logging.getLogger('fastserve.access')", "held = None"])
def test_loggers_that_fastserve_had_before(held: str) -> None:
    """What was set under either name is kept, and a logger that somebody holds goes on being the one in use."""
    code = f"""
import logging, fastserve.compat
{held}
logging.getLogger("uvicorn.access").addFilter(lambda record: "theirs" not in record.msg)
if held:
    held.addFilter(lambda record: "ours" not in record.msg)
    held.setLevel("INFO")
fastserve.compat.install()
logger = logging.getLogger("fastserve.access")
assert logger is logging.getLogger("uvicorn.access") and logger.name == "uvicorn.access"
logger.setLevel("INFO")
logger.addHandler(logging.StreamHandler(__import__("sys").stdout))
for text in ("theirs", "ours", "everybody's"):
    (held or logger).info(text)
"""
    assert python(code).split() == (["everybody's"] if "None" not in held else ["ours", "everybody's"])


def test_a_filter_set_before_uvicorn_is_imported_counts(run: Run) -> None:
    process = run("compat/apps/filtering_program.py")
    process.get("/health")
    process.get("/last")
    process.wait_line("GET /last HTTP/1.1")
    assert "/health" not in process.output


def test_a_symlinked_environment(tmp_path: Path) -> None:
    """Two paths of one file are one file: the module that stands for uvicorn takes itself for no other."""
    link = tmp_path / "current"
    link.symlink_to(Path(fastserve.compat.FOLDER))
    code = "import uvicorn, fastserve; assert uvicorn is fastserve; print(uvicorn.run.__module__)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(link)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("fastserve.main\n", "")


def test_version_is_the_one_that_programs_ask_for() -> None:
    """Programs compare uvicorn.__version__ with 0.29, since which signals are raised again."""
    code = """
import fastserve.compat
own = fastserve.__version__
fastserve.compat.install()
import uvicorn
from click.testing import CliRunner
assert tuple(map(int, uvicorn.__version__.split("."))) >= (0, 29)
print(CliRunner().invoke(uvicorn.main, ["--version"]).output.startswith(f"Running fastserve {own} with"))
"""
    assert python(code) == "True\n"


def test_too_late_for_a_program_that_has_uvicorn() -> None:
    code = """
import uvicorn, fastserve.compat
try:
    fastserve.compat.install()
except RuntimeError as exc:
    print(exc)
"""
    assert python(code).startswith("uvicorn was imported before fastserve.compat.install(), from ")


def test_a_program_that_knows_nothing_of_it(run: Run) -> None:
    """It and the processes that it starts get fastserve: spawned ones, and `python -m uvicorn`."""
    process = run("compat/apps/program.py")
    seen = json.loads(process.get("/").partition(b"\r\n\r\n")[2])
    process.get("/secret")
    process.get("/last")
    process.wait_line(r"^ACCESS INFO: .* \"GET /last HTTP/1.1\" 200 OK")
    assert seen["here"] == seen["spawned"] == "fastserve"
    assert seen["version"].startswith("Running fastserve ")
    assert "a line of the program's own" in process.output
    assert "secret" not in process.output
    assert process.stop() == -15


@pytest.mark.parametrize("archive", [True, False], ids=["zipapp", "folder"])
def test_a_program_in_an_archive_or_a_folder(run: Run, tmp_path: Path, archive: bool) -> None:
    folder = tmp_path / "program"
    folder.mkdir()
    (folder / "__main__.py").write_text("import sys, uvicorn\nprint(uvicorn.__name__, *sys.argv[1:])\n")
    target = tmp_path / "program.pyz"
    zipapp.create_archive(folder, target)
    process = run(str(target if archive else folder), "argument")
    assert process.wait() == 0
    assert process.lines == ["fastserve argument"]


def test_the_command_under_its_other_name(run: Run) -> None:
    process = run("-m", "uvicorn", "compat.apps.quart_app:app", "--port", "0")
    assert process.get("/").endswith(b'{"seen":["started"]}\n')
    process.wait_line(r"^INFO: +Uvicorn running on http://127\.0\.0\.1:\d+ \(Press CTRL\+C to quit\)$")


def test_the_command_reads_the_environment_of_uvicorn(run: Run) -> None:
    """An option by its own variable has precedence."""
    theirs = {"UVICORN_APP": "compat.apps.quart_app:app", "UVICORN_PORT": "0", "UVICORN_HOST": "127.0.0.2"}
    process = run("-m", "uvicorn", env={**theirs, "FASTSERVE_HOST": "127.0.0.3"})
    process.wait_line(r"^INFO: +Uvicorn running on http://127\.0\.0\.3:(?!8000)\d+ ")


def test_help(run: Run) -> None:
    """It is the command's own, not the interpreter's."""
    process = run("--help")
    assert process.wait() == 0
    assert process.lines[0].startswith("python -m fastserve.compat PROGRAM ")


@pytest.mark.parametrize("arguments", [[], ["no-such-program"]])
def test_nothing_to_run(run: Run, arguments: list[str]) -> None:
    process = run(*arguments)
    assert process.wait() == 1
    assert len(process.lines) == 1


def test_the_command_with_workers(run: Run) -> None:
    """The processes that it starts are fastserve's as well, and so is what the application imports as uvicorn."""
    process = run("-m", "uvicorn", "compat.apps.alias_app:app", "--port", "0", "--workers", "2", "--log-level", "debug")
    ready(process, 2)
    assert json.loads(process.get().partition(b"\r\n\r\n")[2]) == {"uvicorn": "fastserve"}
    assert process.stop() == 0
