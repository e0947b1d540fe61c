"""fastserve doctor: the real command, with files of the kernel and limits that a test gives it."""

from __future__ import annotations

import datetime
import json
import shlex
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import support
import trustme
from click.testing import CliRunner

from fastserve import cli
from fastserve.doctor import machine
from fastserve.options import processors

FINE: dict[str, str] = {
    "proc/self/cgroup": "0::/",
    "sys/fs/cgroup/cpu.max": "max 100000",
    "proc/sys/net/core/somaxconn": "4096",
    "proc/1/cmdline": "/sbin/init\0splash\0",
}
LIMIT = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, ({0}, {0}))"
MASK = "import os; os.sched_getaffinity = lambda pid: set(range({}))"
ON_TIME = "from fastserve.doctor import machine; machine.synchronisation = lambda: 0"
ENOUGH = f"{LIMIT.format(5000)}\n{ON_TIME}\n{MASK.format(4)}"
RAISE = "raise it by ulimit -n, LimitNOFILE= of systemd or --ulimit nofile= of docker"
EXTRA = "pip install 'fastserve[standard]'"


class Examined(NamedTuple):
    code: int
    findings: dict[str, dict[str, str]]  # by check, the last one of each

    def line(self, check: str) -> str:
        found = self.findings[check]
        return f"{found['level']} {found['text']}{': ' if found['remedy'] else ''}{found['remedy']}"


class Doctor:
    """Runs the command in a folder; `files` replaces some of FINE, `first` is Python that runs before it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.count = 0

    def start(
        self, *args: str, files: dict[str, str], first: str, env: dict[str, str] | None = None
    ) -> support.Command:
        self.count += 1
        root = self.folder / f"root{self.count}"
        for path, text in {**FINE, **files}.items():
            file = root / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        program = f"{first}\nfrom fastserve.options import processors\nprocessors.ROOT = {str(root)!r}\n"
        program += "from fastserve.cli import main\nmain(prog_name='fastserve')\n"
        return support.Command(
            [sys.executable, "-c", program, "doctor", *args], cwd=self.folder, env={"no_proxy": "*", **(env or {})}
        )

    def __call__(self, *args: str, files: dict[str, str] | None = None, first: str = ENOUGH, **more: Any) -> Examined:
        process = self.start(*args, "--json", files=files or {}, first=first, **more)
        try:
            code = process.wait()
            assert not process.stderr, process.output
            printed = json.loads("\n".join(process.stdout))
        finally:
            process.close()
        levels = [finding["level"] for finding in printed["findings"]]
        assert printed["ok"] == ("FAIL" not in levels) == (code == 0)
        assert code in (0, 1)
        return Examined(code, {finding["check"]: finding for finding in printed["findings"]})


@pytest.fixture
def doctor(tmp_path: Path) -> Doctor:
    return Doctor(tmp_path)


def test_all_is_well(doctor: Doctor) -> None:
    process = doctor.start("a:b", files={}, first=ENOUGH)
    try:
        assert process.wait() == 0
        lines = process.stdout
    finally:
        process.close()
    assert lines[:4] == [
        "OK   file descriptors: 5000",
        "OK   backlog: 2048 connections can wait to be accepted",
        "OK   workers: 1 on 4 processors: --workers auto would use all",
        "OK   packages: all that the options need (event loop: uvloop)",
    ]
    assert lines[5:9] == [
        "OK   process 1: init",
        "OK   log: lines are written whole",
        "OK   keep-alive: 5 s: with --balancer it is compared with that one's",
        "OK   proxies: trusted: 127.0.0.1, ::1",
    ]
    assert lines[9].startswith("OK   clock: 20")
    assert len(lines) == 10


def test_a_poor_container(doctor: Doctor) -> None:
    """A quota of 1.5 processors, 256 descriptors, no memfd, Python as process 1, a kernel that queues 128."""
    refused = "import os\ndef refuse(*a): raise PermissionError(1, 'Operation not permitted')\nos.memfd_create = refuse"
    found = doctor(
        "a:b", "--workers", "4",
        files={
            "sys/fs/cgroup/cpu.max": "150000 100000",
            "proc/sys/net/core/somaxconn": "128\n",
            "proc/1/cmdline": "/usr/local/bin/python3.12\0/app/fastserve\0",
        },
        first=f"{LIMIT.format(256)}\n{MASK.format(8)}\n{refused}",
    )  # fmt: skip
    assert found.code == 1
    assert found.line("file descriptors").startswith("FAIL 256, enough for 192 connections: raise it by ulimit -n, ")
    assert found.line("backlog") == (
        "WARN the kernel queues 128 connections, not 2048: set net.core.somaxconn to 2048 by sysctl, or use"
        " --backlog 128"
    )
    assert found.line("workers") == "WARN 4 on 2 processors (quota 1.5): use --workers auto"
    assert found.line("shared memory").startswith("WARN memfd_create is refused (operation not permitted): ")
    assert found.line("process 1") == (
        "WARN python3.12 does not reap processes whose parent has ended: run the container with docker run --init,"
        " or under tini"
    )


@pytest.mark.parametrize(
    ("args", "limit", "line"),
    [
        (["--limit-concurrency", "1000"], 1064, "OK 1064"),
        (
            ["--limit-connections", "1000"],
            1063,
            f"FAIL 1063 for --limit-connections 1000, which needs 1064: {RAISE}, or use --limit-connections 999",
        ),
        (
            ["--limit-concurrency", "1000"],
            1063,
            f"FAIL 1063 for --limit-concurrency 1000, which needs 1064: {RAISE}, or use --limit-concurrency 999",
        ),
        ([], 1024, f"WARN 1024, enough for 960 connections: {RAISE}"),
        ([], 4096, "OK 4096"),
    ],
)
def test_descriptors(doctor: Doctor, args: list[str], limit: int, line: str) -> None:
    assert doctor(*args, first=LIMIT.format(limit)).line("file descriptors") == line


def test_a_hard_limit_above(doctor: Doctor) -> None:
    first = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (300, 4000))"
    assert doctor(first=first).line("file descriptors").endswith("of docker (up to 4000 without privileges)")


@pytest.mark.parametrize(
    ("command", "line"),
    [
        (
            "/bin/sh\0-c\0fastserve a:b\0",
            "WARN sh does not pass SIGTERM to the server: start the server by exec, or CMD in its list form",
        ),
        ("/usr/bin/tini\0--\0", "OK tini"),
        ("/entrypoint\0", "OK entrypoint, taken for an init"),
    ],
)
def test_process_1(doctor: Doctor, command: str, line: str) -> None:
    assert doctor(files={"proc/1/cmdline": command}).line("process 1") == line


def cases() -> list[tuple[list[str], str, str]]:
    """Return options, check and finding of each case in options.txt."""
    found = []
    for block in (Path(__file__).parent / "options.txt").read_text().split("\n\n")[1:]:
        given, line = block.strip().split("\n")
        check, _, finding = line.removeprefix("= ").partition(": ")
        found.append((shlex.split(given), check, finding))
    return found


@pytest.mark.parametrize(("args", "check", "line"), cases(), ids=[" ".join(args) for args, _, _ in cases()])
def test_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, args: list[str], check: str, line: str) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(processors, "ROOT", str(tmp_path))
    monkeypatch.setattr(machine, "descriptor_limit", lambda: 0)
    result = CliRunner().invoke(cli.main, ["doctor", *args], prog_name="fastserve")
    level, _, text = line.partition(" ")
    assert f"{level:<4} {check}: {text}" in result.output.splitlines()
    assert result.exit_code == (1 if "\nFAIL" in f"\n{result.output}" else 0)


@pytest.mark.parametrize(
    ("package", "args", "line"),
    [
        ("uvloop", [], "WARN uvloop is missing for a faster event loop: pip install 'uvloop'"),
        ("uvloop", ["--loop", "uvloop"], "FAIL uvloop is missing for --loop uvloop: pip install 'uvloop'"),
        ("websockets", ["--ws", "websockets"], f"FAIL websockets is missing for --ws websockets: {EXTRA}"),
        ("h11", ["--http", "h11"], "FAIL h11 is missing for --http h11: pip install 'fastserve[h11]'"),
        ("watchfiles", ["--reload"], f"WARN watchfiles is missing for --reload, which polls without it: {EXTRA}"),
    ],
)
def test_packages(doctor: Doctor, package: str, args: list[str], line: str) -> None:
    missing = "import importlib.util as u\nfind = u.find_spec\n"
    missing += f"u.find_spec = lambda name, *more: None if name == {package!r} else find(name, *more)"
    assert doctor(*args, first=f"{ENOUGH}\n{missing}").line("packages") == line


def test_log(doctor: Doctor, tmp_path: Path) -> None:
    """Standard output is a pipe here."""
    (tmp_path / "log.json").write_text('{"version": 1}')
    assert doctor("--log-config", "log.json").line("log") == "OK lines are written whole"
    found = doctor("--log-config", "log.json", "--workers", "2")
    assert found.line("log").startswith("WARN standard output is a pipe that several workers share, ")
    assert doctor("--workers", "2").line("log") == "OK lines are written whole"


def test_variables_and_file(doctor: Doctor, tmp_path: Path) -> None:
    """The options come from where the server's do."""
    (tmp_path / "fastserve.toml").write_text("timeout-keep-alive = 75\n")
    found = doctor("--balancer", "alb", env={"WEB_CONCURRENCY": "9", "FORWARDED_ALLOW_IPS": "10.0.0.1"})
    assert found.line("keep-alive") == "OK 75 s, above the 60 s of alb"
    assert found.line("workers") == "WARN 9 on 4 processors: use --workers auto"
    pinned = "WARN 9 on 4 processors, and --workers-affinity pins several to one"
    remedy = "use --workers auto, or leave out --workers-affinity"
    assert doctor("--workers", "9", "--workers-affinity").line("workers") == f"{pinned}: {remedy}"
    assert found.line("proxies") == "OK trusted: 10.0.0.1"


def certificate(folder: Path, days: float, begin: float = -30, host: str = "localhost") -> list[str]:
    now = datetime.datetime.now(datetime.timezone.utc)
    issued = trustme.CA().issue_cert(
        host, not_before=now + datetime.timedelta(days=begin), not_after=now + datetime.timedelta(days=days)
    )
    issued.private_key_pem.write_to_path(folder / "key.pem")
    issued.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    return ["--ssl-certfile", "cert.pem", "--ssl-keyfile", "key.pem"]


@pytest.mark.parametrize(
    ("days", "begin", "start", "end"),
    [
        (90.5, -30, "OK valid until 20", "UTC, 90 days"),
        (5.3, -30, "WARN it is valid until 20", "UTC, 5 days: renew it, and send SIGHUP"),
        (-1, -30, "FAIL it was valid until 20", "UTC: renew it, and send SIGHUP"),
        (30, 2, "FAIL it is valid from 20", "UTC on: look at the clock, or use another --ssl-certfile"),
        (40000, -30, "OK valid until 21", " days"),
    ],
)
def test_certificate(doctor: Doctor, tmp_path: Path, days: float, begin: float, start: str, end: str) -> None:
    line = doctor(*certificate(tmp_path, days, begin)).line("certificate")
    assert line.startswith(start) and line.endswith(end), line


def test_certificate_that_cannot_be_used(doctor: Doctor, tmp_path: Path) -> None:
    args = certificate(tmp_path, 90)
    trustme.CA().issue_cert("localhost").private_key_pem.write_to_path(tmp_path / "key.pem")
    assert doctor(*args).line("certificate") == (
        "FAIL ssl_keyfile 'key.pem' cannot be used: it does not match ssl_certfile 'cert.pem': use another"
        " --ssl-certfile or --ssl-keyfile"
    )
    assert (
        doctor("--ssl-certfile", "none.pem")
        .line("certificate")
        .startswith("FAIL ssl_certfile 'none.pem' cannot be read: ")
    )


def test_each_of_several_certificates(doctor: Doctor, tmp_path: Path) -> None:
    args = []
    for name, (days, host) in {"a": (90.5, "a"), "b": (5.3, "b"), "c": (-1.0, "c"), "d": (90.5, "a")}.items():
        certificate(tmp_path, days, host=host)
        for file in ("cert", "key"):
            (tmp_path / f"{file}.pem").rename(tmp_path / f"{name}-{file}.pem")
            args += [f"--ssl-{file}file", f"{name}-{file}.pem"]
    found = doctor(*args)
    assert [found.line(f"certificate '{name}-cert.pem'")[:14] for name in "abcd"] == [
        "OK valid until",
        "WARN it is val",
        "FAIL it was va",
        "WARN it has no",
    ]


def test_clock(doctor: Doctor) -> None:
    wrong = "import time; time.time = lambda: 1e9; time.gmtime = lambda *a, f=time.gmtime: f(1e9)"
    assert doctor(first=f"{ENOUGH}\n{wrong}").line("clock") == (
        "FAIL it shows 2001-09-09 01:46:40 UTC: set it: certificates and cookies are not valid yet"
    )
    drifting = ENOUGH.replace("lambda: 0", "lambda: 5")
    assert doctor(first=drifting).line("clock").endswith("and nothing keeps it right: run chrony or systemd-timesyncd")


def test_a_running_server(doctor: Doctor, start: support.StartCommand) -> None:
    server = start("app")
    line = doctor("--url", server.url).line("URL")
    assert line.startswith(f"OK {server.url} responds with 200 in ")
    server.stop()
    assert doctor("--url", server.url).line("URL").startswith(f"FAIL {server.url} does not respond: ")


async def broken(scope: Any, receive: Any, send: Any) -> None:
    headers = [(b"date", b"Thu, 01 Jan 2026 00:00:00 GMT"), (b"content-length", b"0")]
    await send({"type": "http.response.start", "status": 503, "headers": headers})
    await send({"type": "http.response.body"})


def test_a_server_that_fails(doctor: Doctor, serve: support.Serve) -> None:
    server = serve(broken, date_header=False)
    process = doctor.start("--url", server.url, files={}, first=ENOUGH)
    try:
        assert process.wait() == 1
        process.wait_line(rf"^FAIL URL: {server.url} responds with 503 in \d+ ms: look at its log$")
        process.wait_line(r"^WARN URL: its Date is \d+ s after this machine's clock: run chrony")
    finally:
        process.close()


@pytest.mark.parametrize(
    ("args", "code", "line"),
    [
        (["--balancer", "f5"], 2, "Error: Invalid value for '--balancer': 'f5' is not one of "),
        (
            ["--url", "file:///etc/passwd"],
            2,
            "Error: Invalid value for '--url': 'file:///etc/passwd': expected http:// or ",
        ),
        (["--nonsense"], 2, "Error: No such option: --nonsense"),
        (["--uds", "x", "--fd", "3"], 2, "Error: uds and fd name two places to listen on: "),
        (["--config", "nowhere"], 3, "Error: config 'nowhere' cannot be read: no such file or directory"),
    ],
)
def test_wrong_input(command: support.StartCommand, args: list[str], code: int, line: str) -> None:
    process = command("doctor", *args)
    assert process.wait() == code
    assert process.stderr[-1].startswith(line) or line.replace("option:", "option") in process.stderr[-1].replace(
        "'", ""
    )


def test_help(command: support.StartCommand) -> None:
    process = command("doctor", "--help")
    assert process.wait() == 0
    assert process.stdout[0] == "Usage: python -m fastserve doctor [OPTIONS] [APP]"
    assert not {"Other commands:"} & set(process.stdout)


def test_nothing_is_imported_or_bound(doctor: Doctor, tmp_path: Path) -> None:
    """The application need not be there, and the socket file is not made."""
    assert doctor("nowhere:app", "--uds", "x.sock").code == 0
    assert not (tmp_path / "x.sock").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["root1"]
