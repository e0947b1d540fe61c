"""run(), and the names that the package and its modules offer."""

from __future__ import annotations

import importlib
import inspect
import signal
import socket
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import support

import fastserve

CALLS_RUN = """\
import fastserve

async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": b"hello"})

if __name__ == "__main__":
    result = fastserve.run(app, host="127.0.0.1", port=0, headers=[("X-Own", "1")], log_level="info", lifespan="off")
    print("returned", result)
"""


def script(tmp_path: Path, source: str = CALLS_RUN) -> support.Command:
    file = tmp_path / "program.py"
    file.write_text(source)
    return support.Command([sys.executable, str(file)])


def test_run_from_a_program(tmp_path: Path) -> None:
    """run() serves until SIGINT and returns then; headers are the program's."""
    program = script(tmp_path)
    try:
        answer = program.get()
        assert answer.endswith(b"hello")
        assert b"\r\nx-own: 1\r\n" in answer
        assert program.stop(signal.SIGINT) == 0
        assert program.stdout[-1] == "returned None"
    finally:
        program.close()


def test_run_of_an_object_where_the_environment_asks_for_workers(tmp_path: Path) -> None:
    """One worker serves it, and a line says why."""
    file = tmp_path / "program.py"
    file.write_text(CALLS_RUN)
    program = support.Command([sys.executable, str(file)], env={"WEB_CONCURRENCY": "4"})
    try:
        assert program.get().endswith(b"hello")
        assert program.stop(signal.SIGINT) == 0
        assert program.stderr[0] == (
            "WARNING:  WEB_CONCURRENCY=4 is ignored, one worker serves: for more, pass the application as an import"
            " string."
        )
    finally:
        program.close()


def test_run_that_cannot_start(log: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(SystemExit) as caught:
        fastserve.run(lambda scope, receive, send: None, port=taken.getsockname()[1], log_config=None, lifespan="off")
    assert caught.value.code == 3


def answer_of(tmp_path: Path, module: str) -> bytes:
    """Return what the command answers that serves `app` of a module of this source."""
    (tmp_path / "asked.py").write_text(module)
    program = support.Command(
        [sys.executable, "-m", "fastserve", "asked:app", "--port", "0", "--lifespan", "off"], cwd=tmp_path
    )
    try:
        return program.get()
    finally:
        program.close()


def test_run_imports_the_application_before_there_is_a_loop(tmp_path: Path) -> None:
    """A module that runs a loop of its own while it is imported is served."""
    answer = answer_of(
        tmp_path,
        "import asyncio\n"
        "async def connect(): return b'connected'\n"
        "state = asyncio.run(connect())\n"
        "async def app(scope, receive, send):\n"
        "    await send({'type': 'http.response.start', 'status': 200})\n"
        "    await send({'type': 'http.response.body', 'body': state})\n",
    )
    assert answer.endswith(b"connected")


def test_run_has_the_signature_of_config() -> None:
    assert inspect.signature(fastserve.run) == inspect.signature(fastserve.Config)


def test_run_refuses_a_bad_value() -> None:
    with pytest.raises(ValueError, match=r"^loop: 'x' is not one of "):
        fastserve.run("a:b", loop="x", log_config=None)


def test_names_of_the_package() -> None:
    assert fastserve.__version__.count(".") == 2
    assert {"Config", "Server", "main", "run", "__version__"} == set(fastserve.__all__)
    assert set(fastserve.__all__) <= set(dir(fastserve))
    assert fastserve.Config is fastserve.config.Config
    assert fastserve.Server is fastserve.server.Server
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        getattr(fastserve, "nothing")  # noqa: B009


def test_names_of_the_main_module() -> None:
    module: Any = importlib.import_module("fastserve.main")
    assert isinstance(module, ModuleType)
    assert module.main is fastserve.main
    assert module.run is fastserve.run
    assert module.Server is fastserve.Server
    assert module.Config is fastserve.Config
    assert (module.STARTUP_FAILURE, module.LOG_LEVELS["trace"]) == (3, 5)
    assert module.LOGGING_CONFIG is fastserve.config.LOGGING_CONFIG
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = module.nothing


def imported_by(statement: str) -> set[str]:
    code = f"import sys\n{statement}\nprint(*sys.modules)"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout.split())


def test_importing_the_package_costs_next_to_nothing() -> None:
    assert not imported_by("import fastserve") & {"asyncio", "click", "logging", "uvloop", "fastserve.config"}


def test_help_does_not_need_an_event_loop() -> None:
    assert not imported_by("import fastserve.cli") & {"asyncio", "uvloop"}


def test_serving_does_not_need_what_it_was_not_asked_for() -> None:
    modules = imported_by(
        "import fastserve; fastserve.Config('a:b').get_loop_factory(); fastserve.Server; fastserve.run"
    )
    assert not modules & {
        "click",
        "dotenv",
        "yaml",
        "fastserve.middleware.asgi2",
        "fastserve.middleware.message_logger",
        "fastserve.cli",
    }


def test_the_application_finds_the_collector_on(tmp_path: Path) -> None:
    """While the server's modules load it is off; what they loaded is not looked through again."""
    answer = answer_of(
        tmp_path,
        "import gc\n"
        "collecting, kept = gc.isenabled(), gc.get_freeze_count()\n"
        "async def app(scope, receive, send):\n"
        "    await send({'type': 'http.response.start', 'status': 200})\n"
        "    await send({'type': 'http.response.body', 'body': f'{collecting} {kept > 10000}'.encode()})\n",
    )
    assert answer.endswith(b"\r\n\r\nTrue True")
