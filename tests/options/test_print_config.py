"""--print-config: every option with its source, as TOML that --config takes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import support
from click.testing import CliRunner
from options.samples import companions, sample

from fastserve import cli
from fastserve.options.table import OPTIONS, TABLE, Option

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def printed(folder: Path, *args: str, env: dict[str, str] | None = None) -> str:
    result = CliRunner().invoke(cli.main, ["--print-config", *args], env=env, prog_name="fastserve")
    assert result.exit_code == 0, result.output
    return result.output


def values(text: str) -> list[str]:
    """Return the lines without the sources."""
    return [line.rpartition("  # from ")[0] for line in text.splitlines()]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WEB_CONCURRENCY", raising=False)
    monkeypatch.setenv("SAMPLE", "")  # what an env_file sets, in this process too, is undone
    monkeypatch.delenv("FORWARDED_ALLOW_IPS", raising=False)
    return tmp_path


def test_every_option_and_its_source(folder: Path) -> None:
    (folder / "fastserve.toml").write_text('app = "a:b"\nbacklog = 7\nheaders = ["A:1"]\nport = 1\n')
    text = printed(folder, "--port", "3", env={"FASTSERVE_HOST": "h", "WEB_CONCURRENCY": "3"})
    lines = text.splitlines()
    for line in (
        'app = "a:b"  # from file',
        "port = 3  # from command",
        'host = "h"  # from environment',
        "workers = 3  # from environment",
        "backlog = 7  # from file",
        'headers = ["A:1"]  # from file',
        "timeout_write = 60  # from default",
        'forwarded_allow_ips = "127.0.0.1,::1"  # from default',
        "# uds: none  # from default",
        "# log_config: fastserve's own  # from default",
    ):
        assert line in lines
    for option in OPTIONS:
        (found,) = [
            line for line in lines if line.removeprefix("# ").startswith((f"{option.param} =", f"{option.param}:"))
        ]
        assert found.endswith(("  # from command", "  # from environment", "  # from file", "  # from default"))
    assert tomllib.loads(text).keys() <= {"app", *TABLE}


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.param)
def test_it_can_be_fed_back(folder: Path, option: Option) -> None:
    """With each option set to something else than its default the second run has the values of the first."""
    text, _ = sample(option, folder)
    given = {**companions(option), option.param: text}
    (folder / "fastserve.toml").write_text("".join(f"{key} = {value}\n" for key, value in given.items()), "utf-8")
    first = printed(folder, "a:b")
    (folder / "again.toml").write_text(first, "utf-8")
    second = printed(folder, "--config", "again.toml")
    assert values(first) == values(second) or option.param == "ssl_keyfile_password"
    default = printed(folder, "--no-config", "a:b", *(("--uds", "/x") if option.param == "uds_permissions" else ()))
    assert values(first) != values(default) or option.param == "http2"
    assert "# from default" not in "".join(line for line in second.splitlines() if not line.startswith("#"))


def test_strings_of_every_kind(folder: Path) -> None:
    """Quotes, control characters, a backslash, and letters beyond ASCII come back as they were."""
    path = "/a \"b\" 'c' \\d \x7f \x01 \t \u20ac \U0001f600 #"
    first = printed(folder, "a:b", "--uds", path)
    assert tomllib.loads(first)["uds"] == path
    (folder / "again.toml").write_text(first, "utf-8")
    assert values(printed(folder, "--config", "again.toml")) == values(first)


def test_bytes_that_toml_cannot_have(folder: Path) -> None:
    """They stand in a comment."""
    done = subprocess.run(
        [sys.executable, "-m", "fastserve", "a:b", "--print-config", "--uds", b"/\xff"], capture_output=True, check=True
    )
    assert b"# uds = '/\\udcff'  # from command" in done.stdout.splitlines()
    tomllib.loads(done.stdout.decode())


def test_the_password_is_masked(folder: Path) -> None:
    text = printed(folder, "a:b", "--ssl-certfile", "c", env={"FASTSERVE_SSL_KEYFILE_PASSWORD": "geheim"})
    assert '# ssl_keyfile_password = "********"  # from environment' in text.splitlines()
    assert "geheim" not in text


def test_a_variable_of_env_file(folder: Path) -> None:
    """It counts as it does when the server starts."""
    (folder / "env").write_text("WEB_CONCURRENCY=5\n")
    process = support.command("a:b", "--print-config", "--env-file", "env", cwd=folder)
    try:
        assert process.wait() == 0
        assert "workers = 5  # from environment" in process.lines
    finally:
        process.close()


@pytest.mark.parametrize(
    ("args", "code", "line"),
    [
        (["--uds", "x", "--fd", "3"], 2, "Error: uds and fd name two places to listen on: "),
        (["--port", "http"], 2, "Error: Invalid value for '--port': 'http': expected a whole number."),
        (["--check-config"], 2, "Error: print_config and check_config do two things: give one at a time"),
        (["--config", "nowhere"], 3, "Error: config 'nowhere' cannot be read: no such file or directory"),
    ],
)
def test_wrong_input(folder: Path, args: list[str], code: int, line: str) -> None:
    result = CliRunner().invoke(cli.main, ["a:b", "--print-config", *args], prog_name="fastserve")
    assert result.exit_code == code
    assert result.output.splitlines()[-1].startswith(line)


def test_the_command_takes_what_it_printed(command: support.StartCommand, tmp_path: Path) -> None:
    """The real command, by a pipe as in `fastserve --print-config | fastserve --config /dev/stdin`."""
    first = command("shell_apps:app", "--port", "0", "--app-dir", support.APPS, "--header", "X-A:b", "--print-config")
    assert first.wait() == 0
    (tmp_path / "printed.toml").write_text("\n".join(first.stdout), "utf-8")
    server = command("--config", str(tmp_path / "printed.toml"))
    assert b"x-a: b\r\n" in server.get().lower()
