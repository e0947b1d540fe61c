"""What the access log leaves out, ids, slow requests, and the general log as JSON and for the journal."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import support

APP = """
import logging

class Odd(Exception):
    def __str__(self):
        raise LookupError("no text")
    __repr__ = __str__

async def app(scope, receive, send):
    if scope["type"] != "http":
        raise RuntimeError("http only")
    if scope["path"] == "/raise":
        raise ValueError("first\\nsecond")
    if scope["path"] == "/odd":
        logging.getLogger("fastserve.error").warning("odd", extra={"odd": Odd(), "trace_id": Odd()})
        raise Odd
    if scope["path"] == "/extra":
        logging.getLogger("fastserve.error").warning("watch %s", "out", extra={"user": "me", "odd": object})
    while scope["path"] == "/waits" and (await receive())["type"] != "http.disconnect":
        pass
    status = 404 if scope["path"] == "/missing" else 200
    body = scope["state"].get("request_id", "none").encode()
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": body})
"""


@pytest.fixture
def run(command: support.StartCommand, tmp_path: Path) -> support.StartCommand:
    (tmp_path / "choices_app.py").write_text(APP)

    def start(*args: str, **options: object) -> support.Command:
        return command("choices_app:app", "--port", "0", "--app-dir", str(tmp_path), *args, **options)

    return start


TRACE = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = f"traceparent: 00-{TRACE}-b7ad6b7169203331-01\r\n"


def lines(server: support.Command) -> list[str]:
    return [line.split('"')[1].split()[1] for line in server.stdout if "HTTP/" in line]


@pytest.mark.parametrize("http", ["auto", "h11"])
def test_access_log_skip(run: support.StartCommand, http: str) -> None:
    server = run("--http", http, "--access-log-skip", "/health,/static/*", "--access-log-skip", "/missing")
    for path in ("/health", "/static/x", "/missing", "/"):
        server.get(path)
    server.stop()
    assert lines(server) == ["/missing", "/"]


@pytest.mark.parametrize("http", ["auto", "h11"])
def test_access_log_sample(run: support.StartCommand, http: str) -> None:
    server = run("--http", http, "--access-log-sample", "0")
    for path in ("/", "/missing"):
        server.get(path)
    server.stop()
    assert lines(server) == ["/missing"]


@pytest.mark.parametrize("http", ["auto", "h11"])
def test_request_id_header(run: support.StartCommand, http: str) -> None:
    """That of a trusted proxy, one of the server's own for anybody else."""
    server = run("--http", http, "--request-id-header", "X-Request-Id", "--access-log-format", "%(U)s %(rid)s")
    response = server.get("/a", "X-Request-Id: from-proxy\r\n")
    assert b"x-request-id: from-proxy\r\n" in response and response.endswith(b"from-proxy")
    server.wait_line("^/a from-proxy$")
    server.stop()
    trusted = ("--forwarded-allow-ips", "10.0.0.1")
    server = run(
        "--http", http, "--request-id-header", "X-Request-Id", "--access-log-format", "%(U)s %(rid)s", *trusted
    )
    response = server.get("/a", "X-Request-Id: from-client\r\n")
    made = server.wait_line("^/a ([0-9a-f]{32})$")[1].encode()
    assert response.count(b"x-request-id: " + made) == 1 and response.endswith(made)


@pytest.mark.parametrize("http", ["auto", "h11"])
def test_id_of_a_request_that_fails(run: support.StartCommand, http: str) -> None:
    """The traceback has the id that the client got, and that of the trace."""
    server = run("--http", http, "--request-id-header", "X-Request-Id", "--log-format", "json")
    response = server.get("/raise", TRACEPARENT)
    server.stop()
    (raised,) = (each for each in map(json.loads, server.stderr) if each["level"] == "ERROR")
    assert f"x-request-id: {raised['request_id']}\r\n".encode() in response
    assert raised["trace_id"] == TRACE


@pytest.mark.parametrize("http", ["auto", "h11"])
def test_trace_of_a_request_that_fails(run: support.StartCommand, http: str) -> None:
    """The general log has it whatever the access log is."""
    server = run("--http", http, "--no-access-log", "--log-format", "json")
    server.get("/raise", TRACEPARENT)
    server.get("/raise")
    server.stop()
    with_trace, without = (each for each in map(json.loads, server.stderr) if each["level"] == "ERROR")
    assert with_trace["trace_id"] == TRACE
    assert not {"trace_id", "request_id"} & set(without)


@pytest.mark.parametrize("http", ["auto", "h11"])
@pytest.mark.parametrize("ids", [(), ("--request-id-header", "x-request-id")], ids=["no ids", "ids"])
def test_log_slow(run: support.StartCommand, http: str, ids: tuple[str, ...]) -> None:
    server = run("--log-slow", "0.05", "--http", http, *ids)
    with server.connect() as client:
        client.sendall(b"GET /waits HTTP/1.1\r\nHost: test\r\n\r\n")
        shown = r"GET /waits from 127\.0\.0\.1:\d+" + (r" \[\w{32}\]" if ids else "")
        server.wait_line(rf"^WARNING:  Slow request: {shown} is under way for \d+\.\d+ s, at:$")
    server.wait_line(rf"^WARNING:  Slow request: {shown} took \d+\.\d+ s, ")
    server.stop()
    assert "Exception in the log" not in server.output


def test_log_slow_of_quick_requests(run: support.StartCommand) -> None:
    server = run("--log-slow", "30")
    server.get("/")
    server.stop()
    assert "Slow request" not in server.output


def test_log_format(run: support.StartCommand) -> None:
    """Each line of the general log is an object, with a traceback and what the program adds in it."""
    server = run("--log-format", "json")
    server.get("/raise")
    server.get("/extra")
    server.stop()
    values = [json.loads(line) for line in server.stderr]
    assert {"INFO", "ERROR", "WARNING"} == {each["level"] for each in values}
    (raised,) = (each for each in values if each["level"] == "ERROR")
    assert raised["message"] == "Exception in ASGI application"
    assert raised["exception"].endswith("ValueError: first\nsecond") and "Traceback" in raised["exception"]
    (extra,) = (each for each in values if each["level"] == "WARNING")
    assert (extra["message"], extra["user"], extra["logger"]) == ("watch out", "me", "fastserve.error")
    assert extra["time"].endswith("Z") and isinstance(extra["process"], int)
    assert lines(server) == ["/raise", "/extra"]


SHOWN = {  # where each platform looks for a level, a time, what was said and why, and a traceback
    "json:ecs": ("log.level", "@timestamp", "message", "error.type", "error.stack_trace"),
    "json:gcp": ("severity", "time", "message", None, "stack_trace"),
    "json:datadog": ("status", "timestamp", "message", "error.kind", "error.stack"),
}


@pytest.mark.parametrize("form", SHOWN)
def test_log_format_of_a_platform(run: support.StartCommand, form: str) -> None:
    level, moment, message, kind, trace = SHOWN[form]

    def at(values: dict[str, Any], name: str) -> Any:
        if name in values or form != "json:datadog":
            return values[name]
        outer, _, inner = name.partition(".")
        return values[outer][inner]

    server = run("--log-format", form, "--access-log-format", form, "--workers", "2")
    server.wait_line("running on")
    server.get("/raise")
    server.stop()
    values = [json.loads(line) for line in server.stderr]
    assert all(at(each, moment).endswith("Z") and at(each, message) for each in values)
    (raised,) = (each for each in values if at(each, level).upper() == "ERROR")
    assert at(raised, level) == ("ERROR" if form == "json:gcp" else "error")
    assert at(raised, trace).endswith("ValueError: first\nsecond")
    assert kind is None or at(raised, kind) == "ValueError"
    (line,) = (json.loads(each) for each in server.stdout)
    place = "worker" if form == "json:gcp" else "fastserve.worker"
    assert at(line, place) == at(raised, place) in (0, 1)
    assert set(line) & {level, moment} == {level, moment}


@pytest.mark.parametrize("form", ["json", *SHOWN])
def test_log_format_of_what_has_no_text(run: support.StartCommand, form: str) -> None:
    """An exception and a value whose own methods raise: the records are written, with the traceback."""
    server = run("--log-format", form)
    assert server.get("/odd").startswith(b"HTTP/1.1 500 ")
    server.stop()
    records = [json.loads(line) for line in server.stderr]
    (odd,) = (each for each in records if each["message"] == "odd")
    assert odd["odd"] == "<unprintable Odd object>"
    (raised,) = (line for line in server.stderr if "Exception in ASGI application" in line)
    assert "choices_app.py" in raised
    assert (raised.count("<unprintable Odd object>") == 1) is (form in ("json:ecs", "json:datadog"))


def test_log_format_leaves_handlers_of_a_configuration(run: support.StartCommand, tmp_path: Path) -> None:
    (tmp_path / "log.json").write_text(json.dumps({
        "version": 1,
        "formatters": {"own": {"format": "OWN %(message)s"}},
        "handlers": {"own": {"class": "logging.StreamHandler", "formatter": "own"}},
        "loggers": {"fastserve": {"handlers": ["own"], "level": "INFO"}},
    }))  # fmt: skip
    server = run("--log-format", "json", "--log-config", str(tmp_path / "log.json"))
    server.wait_line("^OWN .*running on")


@pytest.mark.parametrize("form", ["default", "json"])
@pytest.mark.skipif(sys.platform == "win32", reason="systemd is for Linux")
def test_priorities_for_the_journal(tmp_path: Path, form: str) -> None:
    """Every line of standard error has one where that is the stream that systemd names, and only there."""
    (tmp_path / "choices_app.py").write_text(APP)
    script = (
        "import os, logging, fastserve; place = os.fstat(2);"
        " os.environ['JOURNAL_STREAM'] = f'{place.st_dev}:{place.st_ino + %d}';"
        f" fastserve.Config('a:b', log_format='{form}', log_level='debug');"
        " log = logging.getLogger('fastserve.error');"
        " [getattr(log, each)('said') for each in ('debug', 'info', 'warning', 'error', 'critical')];"
        " log.error('bad', exc_info=ValueError('x'))"
    )
    outputs = [
        subprocess.run([sys.executable, "-c", script % other], capture_output=True, text=True, check=True).stderr
        for other in (0, 1)
    ]
    marks = [line[:3] for line in outputs[0].splitlines()]
    assert marks[:5] == ["<7>", "<6>", "<4>", "<3>", "<3>"]
    assert set(marks[5:]) == {"<3>"}
    assert (len(marks) == 6) is (form == "json")
    assert "".join(line[3:] for line in outputs[0].splitlines(True))[:20] != "" and "<" not in outputs[1][:1]
    assert os.linesep in outputs[1]
