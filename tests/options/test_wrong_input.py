"""Options that contradict each other and files that cannot be used: one line says what, why, and what to do."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import support
from click.testing import CliRunner

from fastserve.cli import main

ONE_PROCESS = "reloading is for one process in development; leave out --reload or"

CONTRADICTIONS: list[tuple[str, str]] = [
    ("--reload --workers-lifetime 9", f"reload and workers_lifetime: {ONE_PROCESS} --workers-lifetime"),
    ("--reload --workers-max-rss 1G", f"reload and workers_max_rss: {ONE_PROCESS} --workers-max-rss"),
    ("--reload --preload", f"reload and preload: {ONE_PROCESS} --preload"),
    (
        "--worker-class thread --preload",
        "worker_class 'thread' and preload: threads share the application without a fork; leave out --preload",
    ),
    (
        "--worker-class thread --workers-max-rss 1M",
        "worker_class 'thread' and workers_max_rss: all threads share one memory; leave out --workers-max-rss",
    ),
    ("--reload --workers-affinity", f"reload and workers_affinity: {ONE_PROCESS} --workers-affinity"),
    (
        "--reload --timeout-worker-blocked 9",
        f"reload and timeout_worker_blocked: {ONE_PROCESS} --timeout-worker-blocked",
    ),
    (
        "--uds x --fd 3",
        "uds and fd name two places to listen on: leave one out, or use --bind unix:PATH --bind fd://NUMBER",
    ),
    ("--bind h:1 --uds x", "bind and uds name two places to listen on: give uds's as one more --bind"),
    ("--bind h:1 --fd 3", "bind and fd name two places to listen on: give fd's as one more --bind"),
    ("--bind h:1 --host h", "bind and host name two places to listen on: give host's as one more --bind"),
    ("--bind h:1 --port 3", "bind and port name two places to listen on: give port's as one more --bind"),
    ("--reuse-port --uds x", "reuse_port and uds: only a host and port can have many sockets; leave out --reuse-port"),
    ("--reuse-port --fd 3", "reuse_port and fd: only a host and port can have many sockets; leave out --reuse-port"),
    (
        "--uds-permissions 600",
        (
            "uds_permissions has no effect without a UNIX socket:"
            " add --uds or --bind unix:PATH, or leave out --uds-permissions"
        ),
    ),
    (
        "--workers-lifetime-jitter 1",
        (
            "workers_lifetime_jitter has no effect without workers_lifetime:"
            " add --workers-lifetime, or leave out --workers-lifetime-jitter"
        ),
    ),
    ("--static-expires 9", "static_expires has no effect without static: add --static, or leave out --static-expires"),
    ("--static-header A:b", "static_headers has no effect without static: add --static, or leave out --static-header"),
    (
        "--static /a=b --static /c=d --static /a/=e",
        "static /a=b and static /a/=e name two directories for one route: leave one out",
    ),
    (
        "--static /a=b --static-expires 9 --static-header Cache-Control:no-cache",
        "static_headers and static_expires both set Cache-Control: leave out --static-expires",
    ),
    ("--queue 5", "queue has no effect without limit_requests: add --limit-requests, or leave out --queue"),
    (
        "--queue-timeout 5",
        "queue_timeout has no effect without limit_requests: add --limit-requests, or leave out --queue-timeout",
    ),
    ("--ssl-keyfile k", "ssl_keyfile 'k' has no effect without ssl_certfile: give both"),
    ("--bind https://h:1", "bind https:// without ssl_certfile: add --ssl-certfile, or leave https:// out"),
    (
        "--ssl-certfile c --ssl-certfile d --ssl-keyfile k",
        (
            "ssl_certfile has 2 and ssl_keyfile 1: give one --ssl-keyfile for each --ssl-certfile, in the same"
            " order (a file with both can be given as both), or none if each certificate's file has its key"
        ),
    ),
    ("--ssl-redirect 80", "ssl_redirect has no effect without ssl_certfile: give both"),
    ("--ssl-hsts 9", "ssl_hsts has no effect without ssl_certfile: give both"),
    (
        "--ssl-certfile c --ssl-hsts 9 --header Strict-Transport-Security:x",
        (
            "ssl_hsts and headers both set strict-transport-security: leave out --header, which sends it without TLS"
            " as well"
        ),
    ),
    (
        "--ssl-certfile c --ssl-redirect 80 --bind http://h:1",
        "ssl_redirect and bind http://: no address has TLS; leave out http:// or --ssl-redirect",
    ),
    (
        "--ssl-certfile c --ssl-redirect 80 --uds x",
        (
            "ssl_redirect 80 and addresses without a host and port: give the address to redirect from, as in"
            " --ssl-redirect 0.0.0.0:80 or --ssl-redirect fd://4"
        ),
    ),
    (
        "--ssl-certfile c --ssl-redirect 80 --port 80",
        "ssl_redirect 80 is the server's own address: redirect from another one",
    ),
    (
        "--ssl-certfile c --ssl-redirect unix:x --uds x",
        "ssl_redirect unix:x is the server's own address: redirect from another one",
    ),
    ("--bind h:1 --bind h:1", "bind h:1 is given twice: leave one out"),
    ("--metrics-bind h:1 --metrics-bind h:1", "metrics_bind h:1 is given twice: leave one out"),
    (
        "--bind h:1 --metrics-bind h:1",
        "bind and metrics_bind are both h:1: use another one for --metrics-bind",
    ),
    (
        "--host h --port 1 --metrics-bind h:1",
        "port and metrics_bind are both h:1: use another one for --metrics-bind",
    ),
    ("--uds x --control-socket ./x", "uds and control_socket are both ./x: use another one for --control-socket"),
    (
        "--bind unix:x --metrics-bind unix:x",
        "bind and metrics_bind are both x: use another one for --metrics-bind",
    ),
    ("--uds x --pid-file x", "uds and pid_file are both x: use another one for --pid-file"),
    ("--ssl-ca-certs c", "ssl_ca_certs has no effect without ssl_certfile: give both"),
    (
        "--http2 --http h11",
        "http2 and http 'h11': HTTP/2 is served by auto, llhttp, httptools; leave out --http2 or --http",
    ),
    (
        "--http2 --http own:Class",
        "http2 and http 'own:Class': HTTP/2 is served by auto, llhttp, httptools; leave out --http2 or --http",
    ),
]


@pytest.mark.parametrize(("options", "line"), CONTRADICTIONS, ids=[options for options, _ in CONTRADICTIONS])
def test_contradictions(options: str, line: str) -> None:
    """All are found before anything is set up, logging included."""
    result = CliRunner().invoke(main, ["a:b", *options.split()])
    assert (result.exit_code, result.output) == (2, f"Error: {line}\n")


def test_a_contradiction_with_the_environment(command: support.StartCommand) -> None:
    process = command("a:b", "--reload", env={"FASTSERVE_WORKERS_LIFETIME": "9"})
    assert process.wait() == 2
    assert process.lines == [f"Error: {CONTRADICTIONS[0][1]}"]


@pytest.mark.parametrize(
    ("option", "name", "content", "why"),
    [
        ("env-file", "x.env", None, "cannot be read: [Errno 21] Is a directory: "),
        ("env-file", "x.env", b"A=\xff", "cannot be read: 'utf-8' codec can't decode byte 0xff "),
        ("env-file", "x.env", b"A=\0", "cannot be used: embedded null byte"),
        ("log-config", "x.json", None, "cannot be used: IsADirectoryError: "),
        ("log-config", "x.json", b"{", "cannot be used: JSONDecodeError: Expecting property name"),
        ("log-config", "x.json", b'{"version": 2}', "cannot be used: ValueError: Unsupported version: 2"),
        ("log-config", "x.ini", b"x", "cannot be used: MissingSectionHeaderError: File contains no section headers. "),
        ("log-config", "x.ini", b"[x]", "cannot be used: KeyError: "),
        ("log-config", "x.yaml", b"a: [", "cannot be used: ParserError: while parsing a flow node expected the node "),
    ],
)
@pytest.mark.parametrize("workers", ["1", "2"])
def test_files_that_cannot_be_used(
    command: support.StartCommand, tmp_path: Path, option: str, name: str, content: bytes | None, why: str, workers: str
) -> None:
    pytest.importorskip("dotenv" if option == "env-file" else "yaml")
    if sys.platform == "win32" and content is None:
        pytest.skip("a directory is opened with another error there")
    file = tmp_path / name
    if content is None:
        file.mkdir()
    else:
        file.write_bytes(content)
    process = command("a:b", f"--{option}", str(file), "--workers", workers)
    assert process.wait() == 3
    (line,) = process.lines
    assert line.startswith(f"Error: {option.replace('-', '_')} '{file}' {why}")


def test_files_that_are_not_there() -> None:
    for option in ("--env-file", "--log-config"):
        result = CliRunner().invoke(main, ["a:b", option, "nowhere/x"])
        assert result.exit_code == 2
        assert f"Error: Invalid value for '{option}': path 'nowhere/x' does not exist." in result.output


MISSING: list[tuple[str, list[str], str]] = [
    ("dotenv", ["--env-file", "{file}"], "Error: env_file needs python-dotenv: install it, or fastserve[standard]."),
    (
        "yaml",
        ["--log-config", "{file}"],
        "Error: log_config '{file}' cannot be used: ImportError: install PyYAML, or fastserve[standard], to read YAML",
    ),
    (
        "h11",
        ["--http", "h11"],
        'ERROR:    Error loading HTTP protocol. http "h11" needs the package h11: install it, or fastserve[h11].',
    ),
    *(
        (
            package,
            ["--ws", ws],
            f'ERROR:    Error loading the WebSocket implementation "{ws}". It needs the package {package}: {install}.',
        )
        for ws, package, install in (
            ("websockets", "websockets", "install it, or fastserve[standard]"),
            ("websockets-sansio", "websockets", "install it, or fastserve[standard]"),
            ("wsproto", "wsproto", "install it, or fastserve[wsproto]"),
        )
    ),
    (
        "uvloop",
        ["--loop", "uvloop"],
        'ERROR:    Error loading the event loop "uvloop". {why}: install it, or choose another --loop.',
    ),
]


@pytest.mark.parametrize(("package", "options", "line"), MISSING, ids=[package for package, _, _ in MISSING])
def test_extras_that_are_missing(tmp_path: Path, package: str, options: list[str], line: str) -> None:
    """The line names the option and the package, and says what to install."""
    file = tmp_path / "x.yaml"
    file.touch()
    (tmp_path / "here.py").write_text("async def app(scope, receive, send): ...\n")
    program = tmp_path / "program.py"
    program.write_text(
        f"import sys\nsys.modules[{package!r}] = None\n"
        "from fastserve.cli import main\nif __name__ == '__main__':\n    main()\n"
    )
    arguments = [option.format(file=file) for option in options]
    process = support.Command([sys.executable, str(program), "here:app", "--port", "0", *arguments], cwd=tmp_path)
    try:
        assert process.wait() == 3
        assert process.lines == [line.format(file=file, why="import of uvloop halted; None in sys.modules")]
    finally:
        process.close()
