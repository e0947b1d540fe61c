"""Options in a file: which file is read, what its keys may be, and what has precedence over it."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import support
from click.testing import CliRunner, Result
from options.samples import sample

from fastserve import cli
from fastserve.options.processors import usable
from fastserve.options.table import OPTIONS, TABLE, Option

HELLO = f'app = "shell_apps:app"\nport = 0\napp-dir = "{support.APPS}"\n'


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Stand in for run(), and return what it is given."""
    seen: dict[str, Any] = {}
    monkeypatch.setattr(
        importlib.import_module("fastserve.main"), "run", lambda app, **options: seen.update(options, app=app)
    )
    return seen


def invoke(*args: str, env: dict[str, str] | None = None) -> Result:
    return CliRunner().invoke(cli.main, args, env=env, prog_name="fastserve")


@pytest.mark.parametrize("dashes", [False, True], ids=["underscores", "dashes"])
@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.param)
def test_each_option_can_stand_in_the_file(folder: Path, given: dict[str, Any], option: Option, dashes: bool) -> None:
    text, seen = sample(option, folder)
    key = option.param.replace("_", "-") if dashes else option.param
    (folder / "fastserve.toml").write_text(f'app = "a:b"\n{key} = {text}\n', "utf-8")
    result = invoke()
    assert result.exit_code == 0, result.output
    assert option.checked(given[option.param]) == option.checked(seen)
    assert given["app"] == "a:b"


def test_precedence(folder: Path, given: dict[str, Any]) -> None:
    """Command line, environment, file, default."""
    (folder / "fastserve.toml").write_text('app = "f:f"\nport = 1\nhost = "file"\nbacklog = 7\naccess-log = false\n')
    environment = {"FASTSERVE_HOST": "environment", "FASTSERVE_PORT": "2"}
    assert invoke("--port", "3", "--access-log", env=environment).exit_code == 0
    assert [given[name] for name in ("app", "port", "host", "backlog", "access_log", "timeout_write")] == [
        *("f:f", 3, "environment", 7, True, 60)
    ]
    assert invoke("c:c", env={"FASTSERVE_APP": "e:e"}).exit_code == 0
    assert given["app"] == "c:c"


@pytest.mark.parametrize(
    ("param", "variable", "said"),
    [("workers", "WEB_CONCURRENCY", "3"), ("forwarded_allow_ips", "FORWARDED_ALLOW_IPS", "*")],
)
def test_variables_without_our_name_come_before_the_file(
    folder: Path, given: dict[str, Any], monkeypatch: pytest.MonkeyPatch, param: str, variable: str, said: str
) -> None:
    """WEB_CONCURRENCY, which platforms set, is the environment too."""
    (folder / "fastserve.toml").write_text(f'app = "a:b"\n{param} = "5"\n')
    invoke()
    assert str(given[param]) == "5"
    given.clear()
    monkeypatch.setenv(variable, said)
    invoke()
    assert param not in given


@pytest.mark.parametrize(
    ("args", "file", "kept"),
    [
        (["--bind", "h:1"], "port = 3\nhost = 'x'", {"bind": (("h:1"),)}),
        (["--port", "5"], "bind = ['h:1']\nuds = '/x'", {"port": 5}),
        (["--port", "5"], "host = 'x'", {"port": 5, "host": "x"}),
        (["--uds", "/y"], "fd = 3", {"uds": "/y"}),
        (["--backlog", "5"], "bind = ['h:1']", {"backlog": 5, "bind": ["h:1"]}),
    ],
)
def test_a_place_on_the_command_line_replaces_those_of_the_file(
    folder: Path, given: dict[str, Any], args: list[str], file: str, kept: dict[str, Any]
) -> None:
    (folder / "fastserve.toml").write_text(f"app = 'a:b'\n{file}\n")
    assert invoke(*args).exit_code == 0
    defaults = {name: TABLE[name].default for name in ("bind", "uds", "fd")}
    said = {name: given.get(name) or None for name in ("bind", "uds", "fd")}
    assert {name: list(value) if name == "bind" and value else value for name, value in said.items()} == {
        **defaults,
        **{name: list(value) if name == "bind" else value for name, value in kept.items() if name in said},
    }
    for name in kept.keys() - said.keys():
        assert given[name] == kept[name]


def test_which_file(folder: Path, given: dict[str, Any]) -> None:
    """--config, else fastserve.toml, else pyproject.toml, if it has the table; --no-config is for none of them."""
    other = folder / "other.toml"
    other.write_text("port = 1\n")
    (folder / "pyproject.toml").write_text("[project]\nname = 'fastserve-user'\n[tool.fastserve]\nport = 2\n")
    invoke("a:b")
    assert given["port"] == 2
    (folder / "fastserve.toml").write_text("port = 3\n")
    invoke("a:b")
    assert given["port"] == 3
    invoke("a:b", "--config", str(other))
    assert given["port"] == 1
    invoke("a:b", env={"FASTSERVE_CONFIG": str(other)})
    assert given["port"] == 1
    invoke("a:b", "--config", "pyproject.toml")
    assert given["port"] == 2
    for arguments, environment in (
        (["--no-config"], {"FASTSERVE_CONFIG": str(other)}),
        ([], {"FASTSERVE_NO_CONFIG": "1"}),
    ):
        invoke("a:b", *arguments, env=environment)
        assert given["port"] == 8000
    invoke("a:b", "--config", str(other), env={"FASTSERVE_NO_CONFIG": "1"})
    assert given["port"] == 1


def test_a_file_of_another_directory_is_not_looked_for(folder: Path, given: dict[str, Any]) -> None:
    (folder / "fastserve.toml").write_text("port = 3\n")
    (folder / "below").mkdir()
    os.chdir("below")
    invoke("a:b")
    assert given["port"] == 8000


def test_other_peoples_pyproject_is_left_alone(folder: Path, given: dict[str, Any]) -> None:
    (folder / "pyproject.toml").write_text("[tool.black\nbroken")
    assert invoke("a:b").exit_code == 0
    (folder / "pyproject.toml").write_text("[project]\ndependencies = ['fastserve']")
    assert invoke("a:b").exit_code == 0
    assert given["port"] == 8000


WRONG: list[tuple[str, int, str]] = [
    ("prot = 1", 2, "{file}: unknown key 'prot': did you mean 'port'?"),
    ("log_levels = 'info'", 2, "{file}: unknown key 'log_levels': did you mean 'log_level'?"),
    ("reload-dir = '.'", 2, "{file}: unknown key 'reload-dir': did you mean 'reload-dirs'?"),
    ("header = 'a:b'", 2, "{file}: unknown key 'header': did you mean 'headers'?"),
    ("no-access-log = true", 2, "{file}: unknown key 'no-access-log': did you mean 'access-log' (access-log = false)?"),
    ("colour = 1", 2, "{file}: unknown key 'colour': did you mean 'use-colors'?"),
    ("xyz = 1", 2, "{file}: unknown key 'xyz': see fastserve --help for the options"),
    ("[server]\nport = 1", 2, "{file}: unknown table 'server': options are keys, and in no table of their own"),
    ("callback_notify = 'x'", 2, "{file}: unknown key 'callback_notify': it is for programs, which give it to Config"),
    ("log-level = 'info'\nlog_level = 'info'", 2, "{file}: 'log-level' and 'log_level' are one key: leave one out"),
    ("port = 'http'", 2, "{file}: port: 'http': expected a whole number"),
    ("port = 70000", 2, "{file}: port: 70000: expected a whole number from 0 to 65535"),
    ("port = 80.5", 2, "{file}: port: 80.5: expected a whole number"),
    ("port = true", 2, "{file}: port: True: expected a whole number"),
    ("host = 5", 2, "{file}: host: 5 is not a string"),
    ("app = 5", 2, '{file}: app: 5: expected a string, as in "module:attribute"'),
    ("lifespan = 'maybe'", 2, "{file}: lifespan: 'maybe' is not one of auto, on, off"),
    ("lifespan = true", 2, "{file}: lifespan: True is not one of auto, on, off"),
    ("access-log = 'perhaps'", 2, "{file}: access-log: 'perhaps': expected true or false"),
    ("access-log = 3", 2, "{file}: access-log: 3: expected a boolean"),
    ("reload-delay = 1979-05-27", 2, "{file}: reload-delay: datetime.date(1979, 5, 27): expected a number of seconds"),
    ("bind = 80", 2, "{file}: bind: 80: expected a list of strings"),
    ("bind = [80]", 2, "{file}: bind: 80 is not a string"),
    ("bind = 'fd://x'", 2, "{file}: bind: 'fd://x': expected a file descriptor, as in fd://3"),
    ("headers = ['nothing']", 2, "{file}: headers: 'nothing' is not of the form Name:Value"),
    ("headers = [[1, 2]]", 2, "{file}: headers: 1: 2 is not a pair of strings"),
    ("headers = [{a = 1}]", 2, "{file}: headers: {{'a': 1}} is not a string of the form Name:Value"),
    ("uds-permissions = 660", 2, '{file}: uds-permissions: 660: expected octal digits in quotes, like "660"'),
    ("env-file = '/no/where'", 2, "{file}: env-file: path '/no/where' does not exist"),
    ("log-config = {version = 1}", 2, "{file}: log-config: {{'version': 1}}: expected a path"),
    ("forwarded-allow-ips = [5]", 2, "{file}: forwarded-allow-ips: [5] is neither a string nor a list of strings"),
    ("port = ", 3, "config '{path}' cannot be used: Invalid value (at line 1, column 8)"),
]  # fmt: skip


@pytest.mark.parametrize("section", [False, True], ids=["own", "pyproject"])
@pytest.mark.parametrize(("text", "code", "line"), WRONG, ids=[text for text, _, _ in WRONG])
def test_wrong_input(folder: Path, given: dict[str, Any], text: str, code: int, line: str, section: bool) -> None:
    """One line names file, key, value and what is expected."""
    path = "pyproject.toml" if section else "fastserve.toml"
    if section:
        text = text.replace("[server]\n", "[tool.fastserve.server]\n")
        if code == 3:
            line = line.replace("line 1", "line 2")
    (folder / path).write_text(f"[tool.fastserve]\n{text}\n" if section else f"{text}\n")
    result = invoke("a:b")
    name = f"[tool.fastserve] of {path}" if section else path
    assert (result.exit_code, given) == (code, {})
    assert result.output.splitlines() == [f"Error: {line.format(file=name, path=path)}"]


UNREADABLE = [
    ("there is none", "no such file or directory"),
    ("directory", "is a directory"),
    ("no UTF-8", "cannot be used: 'utf-8' codec can't decode byte 0xff"),
    ("deep", "cannot be used: "),
]


@pytest.mark.parametrize(("what", "why"), UNREADABLE, ids=[what for what, _ in UNREADABLE])
def test_unreadable(folder: Path, given: dict[str, Any], what: str, why: str) -> None:
    path = folder / "my.toml"
    if what == "directory":
        path.mkdir()
    elif what == "no UTF-8":
        path.write_bytes(b"host = '\xff'")
    elif what == "deep":
        path.write_text("headers = " + "[" * 100_000)
    result = invoke("a:b", "--config", str(path))
    assert (result.exit_code, given) == (3, {})
    assert len(result.output.splitlines()) == 1
    assert result.output.startswith(f"Error: config '{path}' cannot be ")
    assert why in result.output


def test_pyproject_without_the_table(folder: Path, given: dict[str, Any]) -> None:
    (folder / "pyproject.toml").write_text("[tool.other]\n")
    result = invoke("a:b", "--config", "pyproject.toml")
    assert (result.exit_code, given) == (3, {})
    assert result.output == "Error: config 'pyproject.toml' cannot be used: it has no [tool.fastserve]\n"
    (folder / "pyproject.toml").write_text("tool.fastserve = 5\n")
    result = invoke("a:b")
    assert (result.exit_code, result.output) == (2, "Error: [tool.fastserve] of pyproject.toml: expected a table\n")


def test_both_options(folder: Path) -> None:
    for arguments in (["--config", "x", "--no-config"], ["--no-config", "--config", "x"]):
        result = invoke("a:b", *arguments)
        assert (result.exit_code, result.output) == (
            2,
            "Error: config 'x' and no_config contradict each other: leave one out\n",
        )


def test_a_contradiction_says_what_the_file_has(folder: Path) -> None:
    (folder / "fastserve.toml").write_text("preload = true\nport = 0\n")
    result = invoke("a:b", "--reload")
    assert result.exit_code == 2
    assert result.output.endswith("leave out --reload or --preload (preload: from fastserve.toml)\n")


def test_help_and_version_need_no_file(folder: Path) -> None:
    (folder / "fastserve.toml").write_text("broken")
    for option in ("--help", "--version"):
        result = invoke(option)
        assert result.exit_code == 0
        assert "Error: " not in result.output


@pytest.mark.parametrize("more", ["", "workers = 2\n", "reload = true\n"], ids=["alone", "workers", "reload"])
def test_the_command_serves_by_the_file(command: support.StartCommand, tmp_path: Path, more: str) -> None:
    """With workers and reload the parent reads it, once, and says so once."""
    (tmp_path / "fastserve.toml").write_text(f"{HELLO}headers = ['X-From:file']\n{more}")
    server = command(cwd=tmp_path)
    response = server.get()
    assert response.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"x-from: file\r\n" in response.lower()
    assert server.stop(signal.SIGINT) in (0, -signal.SIGINT)
    assert server.lines.count("INFO:     Options from fastserve.toml") == 1


def test_pyproject_is_named(command: support.StartCommand, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(f"[tool.fastserve]\n{HELLO}")
    server = command(cwd=tmp_path)
    assert server.get().startswith(b"HTTP/1.1 200 OK\r\n")
    server.stop(signal.SIGINT)
    assert server.lines[0] == "INFO:     Options from [tool.fastserve] of pyproject.toml"


def test_wrong_input_of_the_command(command: support.StartCommand, tmp_path: Path) -> None:
    (tmp_path / "fastserve.toml").write_text("prot = 1")
    process = command("a:b", cwd=tmp_path)
    assert process.wait() == 2
    assert process.lines == ["Error: fastserve.toml: unknown key 'prot': did you mean 'port'?"]


def test_uvicorn_reads_no_file(tmp_path: Path) -> None:
    """Under fastserve.compat the command is uvicorn's, which has none; --config is an option of its own."""
    (tmp_path / "fastserve.toml").write_text("prot = 1")
    process = support.Command(
        [
            sys.executable,
            "-m",
            "fastserve.compat",
            "-m",
            "uvicorn",
            "shell_apps:app",
            "--port",
            "0",
            "--app-dir",
            support.APPS,
        ],
        cwd=tmp_path,
        env={"UVICORN_CONFIG": "fastserve.toml"},
    )
    try:
        assert process.get().startswith(b"HTTP/1.1 200 OK\r\n")
        assert process.stop(signal.SIGINT) in (0, -signal.SIGINT)
        assert "Options from" not in process.output
    finally:
        process.close()


def test_a_program_reads_no_file(tmp_path: Path) -> None:
    """run() and Config() do not, as uvicorn's: the program says it all."""
    (tmp_path / "fastserve.toml").write_text("port = 1\n")
    program = "import fastserve; print(fastserve.Config('a:b').port)"
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "8000\n"


def test_the_example_of_the_documentation(folder: Path, given: dict[str, Any]) -> None:
    text = (Path(__file__).resolve().parents[2] / "docs/how-to/configuration.md").read_text("utf-8")
    (folder / "fastserve.toml").write_text(text.partition("```toml")[2].partition("\n")[2].partition("```")[0])
    result = invoke()
    assert result.exit_code == 0, result.output
    assert (given["app"], given["timeout_keep_alive"], given["workers"]) == ("main:app", 75, usable())
