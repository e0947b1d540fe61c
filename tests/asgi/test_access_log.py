"""The access log of a whole server, compared with what uvicorn writes."""

from __future__ import annotations

import logging
import re
import signal
import socket
import struct
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

import pytest
import support
from core.responses import Client
from fakes.worker import TIME, get, respond
from over_http2 import Http2Socket
from protocols import PROTOCOLS

APP = """
    import logging

    async def app(scope, receive, send):
        if scope["type"] != "http":
            return
        if scope["path"] == "/change":
            logging.getLogger("fastserve.access").addHandler(Printer())
        status = 404 if scope["path"] == "/missing" else 200
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    class Printer(logging.Handler):
        def emit(self, record):
            print("ARGS", record.msg, record.args, flush=True)
"""
VERSIONS = {"auto": "1.1", "http2": "2"}
PATHS = ["/", "/a?b=c", "/%1b[31m%0a", "/a%20b/%C3%A4", "/missing", "/?q=%20"]


@pytest.fixture(params=["auto", "http2"])
def http(request: pytest.FixtureRequest) -> str:
    wire: str = request.param
    return wire


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "access_app.py").write_text(textwrap.dedent(APP))
    return tmp_path


def start(command: support.StartCommand, folder: Path, *args: str) -> support.Command:
    return command("access_app:app", "--port", "0", "--app-dir", str(folder), *args)


def connect(process: support.Command, http: str) -> Client:
    sock: Any = process.connect()
    if http == "http2":
        sock = Http2Socket(sock)
    return Client(sock)


def ask_all(process: support.Command, paths: list[str], http: str = "auto") -> None:
    connected = connect(process, http)
    for path in paths:
        connected.ask(get(path))
    connected.close()


def lines(process: support.Command) -> list[str]:
    return [re.sub(r"127\.0\.0\.1:\d+", "CLIENT", line) for line in process.stdout if "HTTP/" in line]


@pytest.mark.parametrize("colours", [False, True])
def test_lines(command: support.StartCommand, folder: Path, colours: bool, http: str) -> None:
    process = start(command, folder, "--use-colors" if colours else "--no-use-colors")
    ask_all(process, PATHS, http)
    process.stop()
    level = "\x1b[32mINFO\x1b[0m" if colours else "INFO"
    expected = []
    for path, status in [
        ("/", "200 OK"), ("/a?b=c", "200 OK"), ("/%1B%5B31m%0A", "200 OK"), ("/a%20b/%C3%A4", "200 OK"),
        ("/missing", "404 Not Found"), ("/?q=%20", "200 OK"),
    ]:  # fmt: skip
        request, result = f"GET {path} HTTP/{VERSIONS[http]}", status
        if colours:
            request = f"\x1b[1m{request}\x1b[0m"
            result = f"\x1b[{32 if status.startswith('2') else 31}m{status}\x1b[0m"
        expected.append(f'{level}:     CLIENT - "{request}" {result}')
    assert lines(process) == expected


def test_same_text_as_uvicorn(command: support.StartCommand, folder: Path) -> None:
    pytest.importorskip("uvicorn")
    ours = start(command, folder, "--no-use-colors")
    argv = [sys.executable, "-m", "uvicorn", "access_app:app", "--port", "0", "--app-dir", str(folder)]
    theirs = support.Command([*argv, "--no-use-colors", "--lifespan", "off"])
    try:
        theirs_url = theirs.wait_line(r"running on (http://\S*:\d+)")[1]
        ask_all(ours, PATHS)
        sock = socket.create_connection(("127.0.0.1", int(theirs_url.rpartition(":")[2])), timeout=60)
        connected = Client(sock)
        for path in PATHS:
            connected.send(get(path))
            connected.read_until(b"ok")
        connected.close()
        theirs.stop()
    finally:
        theirs.close()
    ours.stop()
    assert lines(ours) == lines(theirs)


def test_real_records_from_the_moment_of_a_change(command: support.StartCommand, folder: Path, http: str) -> None:
    version = VERSIONS[http]
    process = start(command, folder, "--no-use-colors")
    ask_all(process, ["/before", "/change", "/after?x"], http)
    process.stop()
    assert [line.split('"')[1] for line in lines(process) if line.startswith("INFO")] == [
        f"GET /before HTTP/{version}", f"GET /change HTTP/{version}", f"GET /after?x HTTP/{version}",
    ]  # fmt: skip
    records = [line for line in process.stdout if line.startswith("ARGS")]
    assert len(records) == 2
    assert re.fullmatch(
        rf"""ARGS %s - "%s %s HTTP/%s" %d \('127\.0\.0\.1:\d+', 'GET', '/after\?x', '{version}', 200\)""", records[-1]
    )


@pytest.mark.parametrize("how", ["SIGTERM", "SIGINT"])
def test_no_line_is_lost_when_the_process_stops(
    command: support.StartCommand, folder: Path, how: str, http: str
) -> None:
    process = start(command, folder, "--no-use-colors")
    clients = [connect(process, http) for _ in range(20)]
    for turn in range(10):
        for number, client in enumerate(clients):
            client.send(get(f"/{turn}/{number}"))
        for client in clients:
            client.read()
    for client in clients:
        client.close()
    process.stop(getattr(signal, how))
    logged = [line.split()[4] for line in lines(process)]
    assert sorted(logged) == sorted(f"/{turn}/{number}" for turn in range(10) for number in range(20))


def test_switched_off(command: support.StartCommand, folder: Path) -> None:
    process = start(command, folder, "--no-access-log")
    ask_all(process, ["/"])
    process.stop()
    assert lines(process) == []


def test_a_line_is_there_when_the_answer_is(command: support.StartCommand, folder: Path) -> None:
    process = start(command, folder, "--no-use-colors")
    connected = Client(process.connect())
    for number in range(5):
        connected.ask(get(f"/{number}"))
        process.wait_line(rf"GET /{number} HTTP/1\.1")
    connected.close()


@pytest.mark.parametrize(
    "damage",
    [
        lambda scope: scope.clear(),
        lambda scope: scope.update(path=5),
        lambda scope: scope.update(method=b"x"),
        lambda scope: scope.update(query_string="x"),
        lambda scope: scope.update(http_version=1.1),
        lambda scope: scope.update(client=7),
    ],
    ids=["cleared", "path", "method", "query_string", "http_version", "client"],
)
def test_a_scope_that_cannot_be_logged_is_answered_all_the_same(serve: support.Serve, damage: Any) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        damage(scope)
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"here"})

    answer = serve(app).request(get("/?a", "Connection: close"))
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(b"\r\n\r\nhere")


def test_a_filter_that_raises_does_not_cost_the_answer(serve: support.Serve) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"here"})

    def refuse(record: logging.LogRecord) -> bool:
        raise RuntimeError("no")

    server = serve(app)
    logger = logging.getLogger("fastserve.access")
    logger.addFilter(refuse)
    try:
        assert server.request(get("/", "Connection: close")).endswith(b"\r\n\r\nhere")
    finally:
        logger.removeFilter(refuse)


@pytest.mark.parametrize("http", PROTOCOLS)
@pytest.mark.usefixtures("time_stops")
def test_requests_behind_a_reset_do_not_count_as_failed(
    serve: support.Serve, caplog: pytest.LogCaptureFixture, http: str
) -> None:
    caplog.set_level(logging.INFO)
    sent, reset, second = threading.Event(), threading.Event(), threading.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            await respond(send)
        finally:
            if scope["path"] == "/1":
                sent.set()
                assert reset.wait(60)
                TIME.wait(0.003)  # what was sent is held no longer: it is written before the next request, in vain
            else:
                second.set()

    server = serve(app, http=http, access_log=True)
    sock = server.connect()
    sock.sendall(get("/1") + get("/2") + get("/3"))
    assert sent.wait(60)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()
    reset.set()
    assert second.wait(60)
    assert Client(server.connect()).ask(get("/other")).status == 200
    found = [record.getMessage().split('"')[1:] for record in caplog.records if record.name == "fastserve.access"]
    assert found[0] == ["GET /1 HTTP/1.1", " 200"]
    assert found[-1] == ["GET /other HTTP/1.1", " 200"]
    assert {status for _, status in found} == {" 200"}
