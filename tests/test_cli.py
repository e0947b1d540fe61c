"""The command line: --help, --version, where a value comes from, and what is wrong with one."""

from __future__ import annotations

import importlib
import inspect
import platform
import signal
import subprocess
import sys
from typing import Any

import click
import pytest
import support
from click.testing import CliRunner, Result

import fastserve
from fastserve import cli
from fastserve.options.table import GROUPS, OPTIONS


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Stand in for run(), and return what it is given."""
    seen: dict[str, Any] = {}
    module = importlib.import_module("fastserve.main")  # the attribute of that name is the command
    monkeypatch.setattr(module, "run", lambda app, **options: seen.update(options, app=app))
    return seen


def invoke(*args: str, env: dict[str, str] | None = None) -> Result:
    return CliRunner().invoke(cli.main, args, env=env, prog_name="fastserve")


def test_help_shows_every_option_in_its_group() -> None:
    text = invoke("--help").output
    sections = dict(zip(GROUPS, [text.index(f"\n{group}:") for group in GROUPS], strict=True))
    assert list(sections.values()) == sorted(sections.values())
    ends = [*list(sections.values())[1:], text.index("\nOther:")]
    for option in OPTIONS:
        at = text.index(f"  {option.name} ")
        assert sections[option.group] < at < ends[GROUPS.index(option.group)], option.name
    assert "--no-access-log" in text
    assert "FASTSERVE_ROOT_PATH" in text


def test_version() -> None:
    python = f"{platform.python_implementation()} {platform.python_version()}"
    assert (
        invoke("--version").output
        == f"Running fastserve {fastserve.__version__} with {python} on {platform.system()}\n"
    )


def test_defaults_are_left_to_config(given: dict[str, Any]) -> None:
    """What the command passes on when it is given nothing is what Config has by default, and the current directory."""
    assert invoke("a:b").exit_code == 0
    assert given.pop("app") == "a:b"
    assert given.pop("app_dir") == ""
    parameters = inspect.signature(fastserve.Config).parameters
    assert {name: parameters[name].default for name in given} == given


def test_command_line_before_environment_before_default(given: dict[str, Any]) -> None:
    environment = {
        "FASTSERVE_PORT": "1",
        "FASTSERVE_HOST": "h",
        "FASTSERVE_ACCESS_LOG": "false",
        "FASTSERVE_APP": "e:e",
    }
    assert invoke("--port", "2", env=environment).exit_code == 0
    assert (given["app"], given["port"], given["host"], given["access_log"]) == ("e:e", 2, "h", False)
    assert given["backlog"] == 2048


def test_api_does_not_read_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTSERVE_PORT", "1")
    assert fastserve.Config("a:b", log_config=None).port == 8000


def test_a_program_calls_the_callback(given: dict[str, Any]) -> None:
    """As programs do with uvicorn's, in a process without a command line of its own."""
    callback: Any = cli.main.callback
    callback(app="a:b", host="h", port=1)
    assert given == {"app": "a:b", "host": "h", "port": 1}


def test_repeated_option(given: dict[str, Any]) -> None:
    invoke("a:b", "--header", "A:1", "--header", "B: x:y")
    assert given["headers"] == (("A", "1"), ("B", " x:y"))
    invoke("a:b", env={"FASTSERVE_HEADERS": "A:1 B:2"})
    assert given["headers"] == (("A", "1"), ("B", "2"))


@pytest.mark.parametrize(
    ("args", "complaint"),
    [
        (["--port", "http"], "Invalid value for '--port': 'http': expected a whole number."),
        (["--port", "70000"], "Invalid value for '--port': 70000: expected a whole number from 0 to 65535."),
        (["--timeout-write", "-1"], "Invalid value for '--timeout-write': '-1': expected seconds >= 0."),
        (["--lifespan", "maybe"], "Invalid value for '--lifespan': 'maybe' is not one of auto, on, off."),
        (["--log-level", "loud"], "'loud' is not one of critical, error, warning, info, debug, trace."),
        (
            ["--http", "zttp"],
            "Invalid value for '--http': 'zttp' is not one of auto, llhttp, httptools, h11 or module:Class.",
        ),
        (["--loop", "x"], "'x' is not one of auto, asyncio, uvloop, zuvloop, none or module:factory."),
        (["--interface", "x"], "Invalid value for '--interface': 'x' is not one of auto, asgi3, asgi2, wsgi."),
        (["--wsgi-threads", "-1"], "Invalid value for '--wsgi-threads': -1: expected a whole number >= 0."),
        (
            ["--request-id-header", "a b"],
            "Invalid value for '--request-id-header': 'a b': expected the name of a header, as in X-Request-Id.",
        ),
        (
            ["--topics", "kafka://user:secret@host"],
            "Invalid value for '--topics': 'kafka:...': expected unix:DIR, redis://host, ",
        ),
        (["--topics", "redis"], "Invalid value for '--topics': 'redis': expected unix:DIR, redis://host, "),
        (["--header", "nothing"], "Invalid value for '--header': 'nothing' is not of the form Name:Value."),
        (["--header", "a b:c"], "Invalid value for '--header': "),
        (["--env-file", "/no/where"], "Invalid value for '--env-file': path '/no/where' does not exist."),
        (["--log-config", "/no/where"], "Invalid value for '--log-config': path '/no/where' does not exist."),
        (["--nonsense", "2"], "No such option"),
    ],
)
def test_bad_value(given: dict[str, Any], args: list[str], complaint: str) -> None:
    result = invoke("a:b", *args)
    assert result.exit_code == 2
    assert complaint in " ".join(result.output.split())
    assert not given


def test_bad_value_in_the_environment(given: dict[str, Any]) -> None:
    result = invoke("a:b", env={"FASTSERVE_PORT": "http"})
    assert (result.exit_code, given) == (2, {})
    hint = "Invalid value for '--port' (environment variable FASTSERVE_PORT): 'http': expected a whole number."
    assert hint in result.output


def test_missing_application(given: dict[str, Any]) -> None:
    result = invoke()
    assert (result.exit_code, given) == (2, {})
    assert "Missing argument 'APP'" in result.output


def test_unusable_file(command: support.StartCommand, tmp_path: Any) -> None:
    """A file that is there and cannot be used: one line that names it and the reason, exit code 3."""
    file = tmp_path / "log.json"
    file.write_text("{")
    process = command("a:b", "--log-config", str(file))
    assert process.wait() == 3
    assert len(process.lines) == 1
    assert process.lines[0].startswith(f"Error: log_config '{file}' cannot be used: JSONDecodeError: ")


def test_the_command_under_all_its_names() -> None:
    """The click command is fastserve.main, fastserve.main.main of the module, and fastserve.cli.main."""
    from fastserve.main import main

    assert isinstance(main, click.Command)
    assert main is cli.main
    assert fastserve.main is cli.main


def test_run_as_a_module(start: support.StartCommand) -> None:
    process = start("app")
    assert process.get().startswith(b"HTTP/1.1 200 OK\r\n")
    assert process.stop(signal.SIGINT) == 0


@pytest.mark.parametrize("option", ["--backlog", "--limit-request-head", "--limit-concurrency"])
def test_numbers_that_no_machine_has_exit_2(command: support.StartCommand, option: str) -> None:
    process = command("shell_apps:hello", option, "9" * 21)
    assert process.wait() == 2
    assert any("expected a whole number from" in line for line in process.lines)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_closed_standard_stream_is_replaced(number: int) -> None:
    """Else a socket would get its number, and libuv would abort the process when it closes it."""
    program = f"""
import os
os.close({number})
from fastserve.main import open_standard_streams
open_standard_streams()
os._exit(7 if os.fstat({number}).st_rdev == os.stat(os.devnull).st_rdev else 1)
"""
    assert subprocess.run([sys.executable, "-c", program], timeout=60, check=False).returncode == 7
