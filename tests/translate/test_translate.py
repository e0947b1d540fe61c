"""fastserve translate: what other servers' commands come to, and that no option of theirs is unknown."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
import support
from click.testing import CliRunner, Result
from uvicorn.main import main as uvicorn_command

from fastserve import cli
from fastserve.options.conflicts import check
from fastserve.options.table import TABLE, Options
from fastserve.translate import arguments, granian, gunicorn, hypercorn
from fastserve.translate import uvicorn as uvicorns
from fastserve.translate.result import Row

PEERS = Path(__file__).parent / "peers"  # the options of their --help, a line for each
ROWS: dict[str, list[Row]] = {
    "uvicorn": uvicorns.ROWS,
    "gunicorn": gunicorn.ROWS,
    "hypercorn": hypercorn.ROWS,
    "granian": granian.rows(granian.Collected()),
}
# What their options are given here, 1 where it is not said.
VALUES: dict[str, str] = {
    "--host": "h", "--uds": "/x", "--bind": "unix:/x", "--insecure-bind": "h:1", "--loop": "asyncio", "--http": "2",
    "--ws": "wsproto", "--lifespan": "on", "--interface": "wsgi", "--log-level": "debug", "--header": "a:b",
    "--worker-class": "uvicorn.workers.UvicornWorker", "--env": "A=b", "--asgi-loop": "uvloop",
    "--asgi-lifespan": "off", "--proxy-protocol": "v2",
    "--http-parser": "python", "--verify-mode": "CERT_REQUIRED", "--protocol": "uwsgi",
    "--http-protocols": "h1,h2,h3", "--forwarded-allow-ips": "*", "--root-path": "/x", "--ssl-protocol-min": "tls1.3",
    "--access-logformat": "%(h)s", "--access-log-fmt": "%(addr)s",
    "--umask": "7", "--access-logfile": "-", "--access-log": "-", "--error-logfile": "file", "--error-log": "file",
    "--ssl-version": "17", "--limit-request-line": "100", "--url-path-prefix": "/x", "--ssl-client-verify": "1",
}  # fmt: skip
OF = {("uvicorn", "--http"): "h11", ("hypercorn", "--worker-class"): "uvloop", ("uvicorn", "--ssl-version"): "5"}
# Those of which nothing is to be said: fastserve does so without an option.
SILENT = {
    *(("gunicorn", name) for name in ("--config", "--no-sendfile", "--no-control-socket", "--worker-class")),
    *(("granian", name) for name in ("--ws", "--http1-keep-alive", "--log")),
    ("hypercorn", "--config"),
}


def options(server: str) -> list[str]:
    """Return the options of a fixture by their longest names."""
    lines = (PEERS / f"{server}.txt").read_text().splitlines()
    return [name for line in lines for name in names(line)]


def names(line: str) -> list[str]:
    long = [name for name in line.split() if name.startswith("--")]
    return long if any(name.startswith("--no-") for name in long) else long[:1]


def invoke(*args: str, env: dict[str, str] | None = None) -> Result:
    return CliRunner().invoke(cli.main, ["translate", *args], env=env, prog_name="fastserve")


def translated(line: str, env: dict[str, str] | None = None) -> tuple[str, list[str]]:
    """Return the command and the notes."""
    result = invoke(*shlex.split(line), env=env)
    assert result.exit_code == 0, result.output
    return result.stdout.rstrip("\n"), result.stderr.splitlines()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("PORT", "GUNICORN_CMD_ARGS", "WEB_CONCURRENCY", "FORWARDED_ALLOW_IPS"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.mark.parametrize("server", ROWS)
def test_the_table_has_their_options_and_no_others(server: str) -> None:
    listed = {name for line in (PEERS / f"{server}.txt").read_text().splitlines() for name in line.split()}
    known = {name for row in ROWS[server] for name in row.names.split()}
    assert listed - known == set()
    assert known - listed == set()


def test_the_fixture_is_the_uvicorn_that_is_installed() -> None:
    theirs = {name for param in uvicorn_command.params for name in (*param.opts, *param.secondary_opts)}
    assert {name for name in theirs if name.startswith("-")} | {"--help"} == set(options("uvicorn"))


def test_gunicorn_that_is_installed() -> None:
    """Each setting of it that has an option in the fixture is known, and takes a value where it does there."""
    from gunicorn.config import KNOWN_SETTINGS

    rows = {name: row for row in gunicorn.ROWS for name in row.names.split()}
    for setting in KNOWN_SETTINGS:
        for name in rows.keys() & set(setting.cli or ()):
            assert setting.name == rows[name].setting or name in ("-c", "--config")
            flag = str(setting.action or "").startswith("store_")
            assert (rows[name].takes == "flag") == flag, name
            assert (rows[name].takes == "values") == (setting.action == "append"), name


def test_settings_of_hypercorn() -> None:
    """Each that a configuration file can have is known."""
    listed = set((PEERS / "hypercorn-settings.txt").read_text().split())
    assert listed == hypercorn.SETTINGS.keys()


def row_of(server: str, name: str) -> Row:
    return next(row for row in ROWS[server] if name in row.names.split())


@pytest.mark.parametrize(
    ("server", "name"),
    [(server, name) for server in ROWS for name in options(server) if name not in ("--help", "--version")],
)
def test_every_option(folder: Path, server: str, name: str) -> None:
    """It changes the command, which this fastserve takes, or is named on standard error with the reason."""
    (folder / "1").mkdir()
    (folder / "file").write_text("[a]\n" if name == "--log-config" else "")
    file = any(word in name for word in ("log-config", "env-file", "config"))
    value = OF.get((server, name)) or ("file" if file else VALUES.get(name, "1"))
    first = {"gunicorn": "-k uvicorn.workers.UvicornWorker -b unix:/s", "granian": "--interface asgi"}.get(server, "")
    first = "" if name == "--interface" else first
    if server == "hypercorn" and name == "--umask":
        first = "-b unix:/s"
    certificate = {"granian": "--ssl-certificate", "uvicorn": "--ssl-certfile"}.get(server, "--certfile")
    tls = (
        f"{certificate} c.pem"
        if any(word in name for word in ("ssl", "key", "ca-", "cert", "ciphers", "verify"))
        else ""
    )
    base = f"{server} {first} {tls if name != certificate else ''} a:b"
    given = [name] if row_of(server, name).takes == "flag" else [name, value]
    plain = invoke(*shlex.split(base))
    result = invoke(*shlex.split(base)[:-1], *given, "a:b")
    assert (plain.exit_code, result.exit_code) == (0, 0), result.output
    named = [note for note in result.stderr.splitlines() if note.startswith(name)]
    changed = result.stdout != plain.stdout
    if (server, name) in SILENT or name.startswith("--no-"):
        assert not named
    else:
        assert changed or named, result.output
    for note in named:
        assert len(note.partition(": ")[2]) > 10
    assert_taken(result.stdout)


def assert_taken(command: str) -> None:
    """Fail unless the command is one that this fastserve takes, of an application a:b or the like."""
    words = shlex.split(command)
    while "=" in words[0]:
        words.pop(0)
    assert words.pop(0) == "fastserve"
    with cli.main.make_context("fastserve", [*words, "--no-config"]) as ctx:
        values = {name: value for name, value in ctx.params.items() if name in TABLE and value not in (None, ())}
        check(Options(ctx.params["app"], **values))


def cases() -> list[tuple[str, str, list[str]]]:
    """Return command, translation and notes of each case in commands.txt."""
    found = []
    for block in (Path(__file__).parent / "commands.txt").read_text().split("\n\n")[1:]:
        line, command, *notes = block.rstrip("\n").split("\n")
        found.append((line, command.removeprefix("= "), [note.removeprefix("! ") for note in notes]))
    return found


CASES = cases()


@pytest.mark.parametrize(("line", "command", "notes"), CASES, ids=[line for line, _, _ in CASES])
def test_commands(line: str, command: str, notes: list[str]) -> None:
    assert translated(line) == (command, notes)


def test_variables_of_the_environment() -> None:
    """Those of the shell count as those before the command; PORT is gunicorn's default."""
    assert translated("granian --interface asgi a:b", {"GRANIAN_WORKERS": "3"}) == (
        "fastserve a:b --workers 3 --no-access-log",
        [],
    )
    assert translated("gunicorn -k asgi a:b", {"PORT": "5"}) == ("fastserve a:b --no-access-log --bind 0.0.0.0:5", [])
    assert translated("gunicorn -k asgi a:b -b h:1", {"PORT": "5"})[0] == "fastserve a:b --bind h:1 --no-access-log"


GUNICORN_FILE = """
import multiprocessing, os
raise SystemExit("this must not be run")
bind = ["0.0.0.0:8001", "unix:/run/a.sock"]
workers = multiprocessing.cpu_count() * 2 + 1
worker_class: str = "uvicorn.workers.UvicornWorker"
accesslog = "-"
keepalive = 75
backlog = 16
daemon = False
preload_app = False
sendfile = None
raw_env = ["A=1", "B=2"]
secure_scheme_headers = {"X": "y"}
logconfig_dict = {}
max_requests = 100
max_requests += 50
mine = object()
if os.environ.get("X"):
    timeout = 90
wsgi_app = "f:app"

def post_fork(server, worker):
    ...

def helper(): ...
"""


def test_file_of_gunicorn(folder: Path) -> None:
    """Literals are taken over, what would have to be computed is named, nothing is run."""
    (folder / "conf.py").write_text(GUNICORN_FILE)
    command, notes = translated("gunicorn -c conf.py --backlog 32")
    assert command == (
        "A=1 B=2 fastserve f:app --bind 0.0.0.0:8001 --bind unix:/run/a.sock --backlog 32 --timeout-keep-alive 75"
        " --access-log"
    ) or command == (
        "A=1 B=2 fastserve f:app --bind 0.0.0.0:8001 --bind unix:/run/a.sock --backlog 32 --access-log"
        " --timeout-keep-alive 75"
    )
    not_literal = "it is not a literal: give the value that it has"
    assert notes == [
        "post_fork: hooks are not called: the lifespan's startup runs in each worker",
        f"workers = multiprocessing.cpu_count() * 2 + 1: {not_literal}; --workers auto follows the processors",
        f"max_requests = max_requests + 50: {not_literal}",
        f"timeout = 90 (not at the top level): {not_literal}",
        "secure_scheme_headers: the scheme is that of X-Forwarded-Proto",
    ]
    (folder / "conf.py").rename(folder / "gunicorn.conf.py")
    again, more = translated("gunicorn --backlog 32")
    assert (again, more) == (command, ["gunicorn.conf.py: its settings have been taken over", *notes])
    assert translated("gunicorn -c python:mine a:b -k asgi")[1] == [
        "-c python:mine: a module is not imported: give its settings as options"
    ]


def test_file_of_hypercorn(folder: Path) -> None:
    (folder / "hypercorn.toml").write_text(
        'bind = "h:1"\nworkers = 2\naccesslog = "-"\nuse_reloader = false\ninclude_server_header = false\n'
        'loglevel = "INFO"\nkeep_alive_max_requests = 5\nwebsocket_max_message_size = 9\nwsgi_max_body_size = 7\n'
        'server_names = ["a", "b"]\nnonsense = 1\n'
    )
    command, notes = translated("hypercorn -c hypercorn.toml wsgi:a:b -w 4")
    assert sorted(shlex.split(command)) == sorted(
        shlex.split(
            "fastserve a:b --interface wsgi --bind h:1 --access-log --no-server-header --log-level info --ws-max-size 9"
            " --limit-request-body 7 --workers 4" + " --allowed-hosts a --allowed-hosts b"
        )
    )
    assert "nonsense: it is not a setting of hypercorn 0.18.0" in notes
    assert "keep_alive_max_requests: a connection is kept for any number of requests" in notes
    (folder / "conf.py").write_text("bind = 'h:2'\nworkers = f()\nraise SystemExit\n")
    assert translated("hypercorn -c file:conf.py a:b") == (
        "fastserve a:b --bind h:2 --no-access-log",
        ["workers = f(): it is not a literal: give the value that it has"],
    )
    assert translated("hypercorn -c python:conf a:b")[1] == [
        "-c python:conf: a module is not imported: give its settings as options"
    ]


WRONG: list[tuple[str, int, str]] = [
    ("waitress-serve a:b", 2, "'waitress-serve' is not one of uvicorn, gunicorn, hypercorn, granian"),
    ("A=b", 2, "'COMMAND' is not one of uvicorn, gunicorn, hypercorn, granian"),
    ("uvicorn a:b --nonsense", 2, "--nonsense is not an option of uvicorn 0.54.0"),
    ("gunicorn a:b --nonsense=1", 2, "--nonsense is not an option of gunicorn 27.0.1"),
    ("gunicorn a:b --log 1", 2, "--log is not an option of gunicorn 27.0.1"),
    (
        "GUNICORN_CMD_ARGS=--nonsense gunicorn a:b",
        2,
        "--nonsense is not an option of GUNICORN_CMD_ARGS: gunicorn 27.0.1",
    ),
    ("hypercorn a:b -x", 2, "-x is not an option of hypercorn 0.18.0"),
    ("granian a:b --reload=1", 2, "--reload takes no value"),
    ("uvicorn a:b --port", 2, "--port needs a value"),
    ("uvicorn a:b --port http", 2, "--port: 'http': expected a whole number"),
    ("UVICORN_PORT=http uvicorn a:b", 2, "UVICORN_PORT: 'http': expected a whole number"),
    ("gunicorn a:b -w x", 2, "-w: 'x' is not a whole number"),
    ("gunicorn a:b -b h:x", 2, "-b: 'h:x' is not an address"),
    ("granian a:b --workers-lifetime soon", 2, "--workers-lifetime: 'soon' is not a value of it"),
    ("granian a:b --interface cgi", 2, "--interface: 'cgi' is not one of asgi, asginl, rsgi, wsgi"),
    ("hypercorn a:b --verify-mode X", 2, "--verify-mode: 'X' is not a value of it"),
    ("gunicorn a:b -e X", 2, "-e: 'X' is not of the form NAME=VALUE"),
    ("gunicorn 'a:b(('", 2, "'a:b((' is not of the form MODULE:NAME or MODULE:FACTORY()"),
    ("uvicorn", 2, "the command names no application: uvicorn OPTIONS MODULE:ATTRIBUTE"),
    ("gunicorn -k asgi", 2, "the command names no application: gunicorn OPTIONS MODULE:ATTRIBUTE"),
    ("uvicorn a:b c:d", 2, "'c:d' is one argument too many for uvicorn 0.54.0"),
    ("gunicorn a:b -c nowhere.py", 3, "config 'nowhere.py' cannot be read: no such file or directory"),
    ("gunicorn a:b -c broken.py", 3, "config 'broken.py' cannot be used: invalid syntax (broken.py, line 1)"),
    ("hypercorn a:b -c nowhere.toml", 3, "config 'nowhere.toml' cannot be read: no such file or directory"),
    ("hypercorn a:b -c broken.py", 3, "config 'broken.py' cannot be used: "),
    ('"uvicorn \'a"', 2, '"uvicorn \'a": no closing quotation'),
]


@pytest.mark.parametrize(("line", "code", "text"), WRONG, ids=[line for line, _, _ in WRONG])
def test_wrong_input(folder: Path, line: str, code: int, text: str) -> None:
    (folder / "broken.py").write_text("a = = b\n")
    result = invoke(*shlex.split(line))
    assert (result.exit_code, result.stdout) == (code, "")
    assert len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith(f"Error: {text}")


def test_the_command(command: support.StartCommand, tmp_path: Path) -> None:
    """The real one: the command on standard output, notes on standard error; no file of options is read."""
    (tmp_path / "fastserve.toml").write_text("broken")
    process = command("translate", "gunicorn", "--preload", "-k", "asgi", "a:b", "--help", cwd=tmp_path)
    assert process.wait() == 0
    assert process.stdout == ["fastserve a:b --preload --no-access-log"]
    assert process.stderr[-1] == "--help: it prints and ends"


def test_help(command: support.StartCommand) -> None:
    process = command("translate", "--help")
    assert process.wait() == 0
    assert process.stdout[0] == "Usage: python -m fastserve translate [OPTIONS] COMMAND..."
    listing = command("--help")
    assert listing.wait() == 0
    assert listing.stdout.index("Other commands:") < listing.stdout.index(
        next(line for line in listing.stdout if line.startswith("  translate "))
    )


def test_an_application_has_a_colon(command: support.StartCommand) -> None:
    process = command("translate:app", "--check-config")
    assert process.wait() == 3
    assert process.lines == ['Error: cannot load ASGI app. Could not import module "translate".']


def test_uvicorn_has_no_other_commands(tmp_path: Path) -> None:
    """Under fastserve.compat the word is an application, as it is to uvicorn."""
    words = ["-m", "fastserve.compat", "-m", "uvicorn", "translate"]
    process = support.Command([sys.executable, *words], cwd=tmp_path)
    try:
        assert process.wait() not in (0, 2)
        assert 'Import string "translate" must be in format "<module>:<attribute>".' in process.output
    finally:
        process.close()


def test_settings_that_are_nothing() -> None:
    row = Row("--flag", lambda *_: None, "flag", "flag")
    values: list[Any] = [None, False, True, ["x", None, "y"]]
    assert [[each.value for each in arguments.of_setting(row, "flag", value)] for value in values] == [
        *([], [], ["true"], ["x", "y"])
    ]
