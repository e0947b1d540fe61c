"""One test for each option of the command, showing its effect from outside; the last test counts them."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import stat
import struct
import sys
from pathlib import Path
from typing import Any

import pytest
import support

import fastserve
from fastserve.options.table import OPTIONS
from fastserve.server import Server

Start = support.StartCommand


def body_of(response: bytes) -> bytes:
    return response.partition(b"\r\n\r\n")[2]


def seen_by(command: support.Command, path: str = "/") -> dict[str, Any]:
    seen: dict[str, Any] = json.loads(body_of(command.get(path)))
    return seen


def status_of(response: bytes) -> int:
    return int(response.split(b" ", 2)[1])


def test_host(start: Start) -> None:
    server = start("app", "--host", "127.0.0.2")
    assert server.url == f"http://127.0.0.2:{server.port}"
    with server.connect(host="127.0.0.2"), pytest.raises(ConnectionRefusedError):
        server.connect(host="127.0.0.1")


def test_port(command: support.StartCommand) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = command("shell_apps:app", "--app-dir", support.APPS, "--port", str(port))
        assert server.wait() == 3
        line = f"error while attempting to bind on address ('127.0.0.1', {port}): address already in use"
        assert line in server.output


def test_uds(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    server = start("app", "--uds", str(path))
    server.wait_line(rf"running on unix socket {re.escape(str(path))} \(Press CTRL\+C to quit\)$")
    assert stat.S_IMODE(path.stat().st_mode) == 0o666
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(60)
        client.connect(str(path))
        client.sendall(b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
        assert status_of(support.read_all(client)) == 200
    server.stop()
    assert not path.exists()


def test_fd(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = start("app", "--fd", str(listener.fileno()), pass_fds=(listener.fileno(),))
        port = listener.getsockname()[1]
        server.wait_line(rf"running on socket \('127\.0\.0\.1', {port}\) \(Press CTRL\+C to quit\)$")
        with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
            assert status_of(support.read_all(client)) == 200


@pytest.mark.parametrize(
    ("choice", "module"),
    [("auto", "uvloop"), ("uvloop", "uvloop"), ("asyncio", "asyncio.unix_events"), ("shell_apps:new_loop", "custom")],
)
def test_loop(start: Start, choice: str, module: str) -> None:
    if "uvloop" in (choice, module):
        pytest.importorskip("uvloop")
    assert seen_by(start("app", "--loop", choice))["loop"] == module


@pytest.mark.parametrize("choice", ["auto", "llhttp", "httptools", "h11"])
def test_http(start: Start, choice: str) -> None:
    assert status_of(start("app", "--http", choice).get()) == 200


@pytest.mark.parametrize(
    ("choice", "code", "complaint"),
    [
        ("zttp", 2, "'zttp' is not one of auto, llhttp, httptools, h11 or module:Class"),
        ("no_such:Class", 3, 'Could not import module "no_such". For "http" choose auto, llhttp, httptools, h11 or'),
    ],
)
def test_http_names_the_choices(start: Start, choice: str, code: int, complaint: str) -> None:
    server = start("app", "--http", choice)
    assert server.wait() == code
    assert complaint in server.output


@pytest.mark.parametrize(
    ("given", "served"),
    [
        ((), True),
        (("--http2",), True),
        (("--http", "httptools"), True),
        (("--no-http2",), False),
        (("--http", "h11"), False),
    ],
)
def test_http2(start: Start, given: tuple[str, ...], served: bool) -> None:
    server = start("app", *given)
    with server.connect() as client:
        client.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0")
        answer = client.makefile("rb").read(12)
    assert answer[3:5] == b"\4\0" if served else answer.startswith(b"HTTP/1.1 50")


def test_limit_http2_streams(start: Start) -> None:
    server = start("app", "--limit-http2-streams", "7")
    with server.connect() as client:
        client.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0")
        support.read_until(client, b"\0\3\0\0\0\7")


def test_h11_max_incomplete_event_size(start: Start) -> None:
    server = start("app", "--http", "h11", "--h11-max-incomplete-event-size", "100")
    with server.connect() as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 100)
        assert support.read_until(client).startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize(("mode", "state"), [("auto", {"started": "yes"}), ("on", {"started": "yes"}), ("off", {})])
def test_lifespan(start: Start, mode: str, state: dict[str, str]) -> None:
    server = start("living", "--lifespan", mode)
    assert seen_by(server) == state
    assert ("Waiting for application startup." in server.output) == (mode != "off")


def test_env_file(start: Start, tmp_path: Path) -> None:
    pytest.importorskip("dotenv")
    file = tmp_path / "env"
    file.write_text("GREETING=hello\n")
    server = start("app", "--env-file", str(file))
    assert seen_by(server)["greeting"] == "hello"
    assert f"INFO:     Loading environment from '{file}'" in server.lines


def test_log_config(start: Start, tmp_path: Path) -> None:
    config = json.loads(json.dumps(fastserve.config.LOGGING_CONFIG))
    config["formatters"]["default"]["fmt"] = "mine %(message)s"
    file = tmp_path / "log.json"
    file.write_text(json.dumps(config))
    server = start("app", "--log-config", str(file))
    server.wait_line(r"^mine Fastserve running on ")


def test_log_level(start: Start) -> None:
    server = start("app", "--log-level", "trace")
    server.get("/a")
    server.wait_line(r"^TRACE:    127\.0\.0\.1:\d+ - ASGI \[2\] Completed$")
    server = start("failing", "--log-level", "error")
    assert server.wait() == 3
    assert server.lines == ["ERROR:    no database", "ERROR:    Application startup failed. Exiting."]


def test_access_log(start: Start) -> None:
    server = start("app")
    server.get("/a%20b?c=d")
    server.stop()
    line = r'INFO:     127\.0\.0\.1:\d+ - "GET /a%20b\?c=d HTTP/1\.1" 200 OK'
    assert [bool(re.fullmatch(line, each)) for each in server.stdout] == [True]
    server = start("app", "--no-access-log")
    server.get("/a")
    server.stop()
    assert server.stdout == []


def test_use_colors(start: Start) -> None:
    server = start("app", "--use-colors")
    server.get("/a")
    server.stop()
    assert server.stderr[0] == f"\x1b[32mINFO\x1b[0m:     Started server process [\x1b[36m{server.pid}\x1b[0m]"
    line = (
        r"\x1b\[32mINFO\x1b\[0m:     127\.0\.0\.1:\d+ - "
        r'"\x1b\[1mGET /a HTTP/1\.1\x1b\[0m" \x1b\[32m200 OK\x1b\[0m'
    )
    assert [bool(re.fullmatch(line, each)) for each in server.stdout] == [True]
    server = start("app", "--no-use-colors")
    assert server.wait_line("Started")[0] == "Started"
    assert "\x1b" not in server.output


@pytest.mark.parametrize(
    ("app", "interface", "version"),
    [("Old", "auto", "2.0"), ("Old", "asgi2", "2.0"), ("old", "auto", "2.0"), ("old", "asgi2", "2.0")],
)
def test_interface(start: Start, app: str, interface: str, version: str) -> None:
    assert seen_by(start(app, "--interface", interface))["version"] == version


@pytest.mark.parametrize(
    ("app", "interface"), [("app", "auto"), ("app", "asgi3"), ("plain", "auto"), ("plain", "asgi3")]
)
def test_interface_asgi3(start: Start, app: str, interface: str) -> None:
    assert seen_by(start(app, "--interface", interface))["asgi"]["version"] == "3.0"


def test_server_header(start: Start) -> None:
    assert b"\r\nserver: fastserve\r\n" in start("app").get()
    assert b"server:" not in start("app", "--no-server-header").get().lower()


def test_date_header(start: Start) -> None:
    assert re.search(rb"\r\ndate: \w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT\r\n", start("app").get())
    assert b"date:" not in start("app", "--no-date-header").get().lower()


def test_root_path(start: Start) -> None:
    seen = seen_by(start("app", "--root-path", "/api"), "/users")
    assert (seen["root_path"], seen["path"]) == ("/api", "/api/users")


@pytest.mark.parametrize("http", ["auto", "h11"])
@pytest.mark.parametrize(("given", "root"), [("/", ""), ("/shop/", "/shop"), ("/shop//", "/shop"), ("", "")])
def test_root_path_that_ends_in_a_slash(start: Start, http: str, given: str, root: str) -> None:
    """It makes no path of two slashes."""
    seen = seen_by(start("app", "--root-path", given, "--http", http), "/users")
    assert (seen["root_path"], seen["path"]) == (root, f"{root}/users")


@pytest.mark.parametrize(
    ("environment", "args", "coloured"),
    [
        ({"FORCE_COLOR": "1"}, [], True),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, [], False),
        ({"FORCE_COLOR": ""}, [], False),
        ({"FORCE_COLOR": "1"}, ["--no-use-colors"], False),
        ({"NO_COLOR": "1"}, ["--use-colors"], True),
    ],
)
def test_colours_by_environment(start: Start, environment: dict[str, str], args: list[str], coloured: bool) -> None:
    server = start("app", *args, env=environment)
    server.get("/a")
    server.stop()
    assert ["\x1b" in line for line in (server.stderr[0], server.stdout[0])] == [coloured, coloured]


def test_limit_concurrency(start: Start) -> None:
    server = start("app", "--limit-concurrency", "2")
    assert status_of(server.get()) == 200
    with server.connect():
        assert status_of(server.get()) == 503


def test_limit_max_requests(start: Start) -> None:
    server = start("app", "--limit-max-requests", "2")
    server.get()
    server.get()
    assert server.wait() == 0
    assert "INFO:     Maximum request limit of 2 exceeded. Terminating process." in server.lines


def test_limit_max_requests_jitter(start: Start) -> None:
    server = start("app", "--limit-max-requests", "1", "--limit-max-requests-jitter", "3")
    try:
        for _ in range(100):
            server.get()
    except OSError:
        pass
    assert server.wait() == 0
    assert re.search(r"Maximum request limit of [1-4] exceeded", server.output)
    config = fastserve.Config("a:b", limit_max_requests=1, limit_max_requests_jitter=3, log_config=None)
    assert {Server(config).limit_max_requests for _ in range(200)} == {1, 2, 3, 4}


@pytest.mark.skipif(sys.platform != "linux", reason="TCP_INFO of a listening socket is Linux's")
def test_backlog(serve: support.Serve) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        """Never called."""

    for backlog in (3, 77):
        listener = serve(app, backlog=backlog).server.servers[0].sockets[0]
        with socket.socket(fileno=os.dup(listener.fileno())) as copy:
            info = copy.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 32)
        assert struct.unpack_from("I", info, 28) == (backlog,)  # tcpi_sacked: the length of the accept queue


@pytest.mark.parametrize("seconds", ["0.2", "0"])
def test_timeout_keep_alive(start: Start, seconds: str) -> None:
    server = start("app", "--timeout-keep-alive", seconds)
    with server.connect(timeout=4) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
        assert status_of(support.read_all(client)) == 200  # returns when the server closes


def test_timeout_graceful_shutdown(start: Start) -> None:
    server = start("endless", "--timeout-graceful-shutdown", "0.1", "--lifespan", "off")
    with server.connect() as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
        assert client.recv(1) == b"H"
        server.send_signal(signal.SIGTERM)
        assert server.wait() == -signal.SIGTERM
    assert "ERROR:    Cancel 1 running task(s), timeout graceful shutdown exceeded" in server.lines
    assert "application: cancelled, Task cancelled, timeout graceful shutdown exceeded" in server.stdout
    server.wait_line(r'shell_apps\.py", line \d+, in endless$')


def test_headers(start: Start) -> None:
    response = start("app", "--header", "X-One:1", "--header", "X-Two: two words", "--header", "Server:mine").get()
    assert b"\r\nx-one: 1\r\n" in response
    assert b"two words\r\n" in response
    assert b"\r\nserver: mine\r\n" in response
    assert response.lower().count(b"server:") == 1
    assert b"\r\nx-one: 1\r\n" in start("app", env={"FASTSERVE_HEADERS": "X-One:1 X-Two:2"}).get()


def test_factory(start: Start) -> None:
    server = start("make", "--factory")
    assert status_of(server.get()) == 200
    assert "factory" not in server.output
    server = start("make")
    assert status_of(server.get()) == 200
    line = "ASGI app factory detected. Using it, but please consider setting the --factory flag explicitly."
    assert f"WARNING:  {line}" in server.lines


def test_reset_contextvars(start: Start) -> None:
    assert seen_by(start("app"))["where"] == "the module"
    assert seen_by(start("app", "--reset-contextvars"))["where"] == "nowhere"


def limited(start: Start, option: str, limit: int, within: bytes, beyond: bytes, status: int) -> None:
    server = start("app", option, str(limit))
    assert status_of(server.request(within)) == 200
    assert status_of(server.request(beyond)) == status


def test_limit_request_line(start: Start) -> None:
    end = b" HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"
    limited(start, "--limit-request-line", 100, b"GET /a" + end, b"GET /" + b"a" * 100 + end, 414)


def test_limit_request_head(start: Start) -> None:
    begin = b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\nX: "
    limited(start, "--limit-request-head", 200, begin + b"1\r\n\r\n", begin + b"1" * 200 + b"\r\n\r\n", 431)


def test_limit_request_fields(start: Start) -> None:
    begin = b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n"
    limited(start, "--limit-request-fields", 3, begin + b"A: 1\r\n\r\n", begin + b"A: 1\r\nB: 2\r\n\r\n", 431)


def test_limit_request_fields_without_end(start: Start) -> None:
    """Memory is for the fields that a request has, whatever it might have."""
    server = start("app", "--limit-request-fields", str(2**31 - 1))
    request = b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n" + b"A: 1\r\n" * 1000 + b"\r\n"
    assert status_of(server.request(request)) == 200


def test_limit_request_body(start: Start) -> None:
    begin = b"POST / HTTP/1.1\r\nHost: test\r\nConnection: close\r\nContent-Length: "
    limited(start, "--limit-request-body", 3, begin + b"3\r\n\r\nabc", begin + b"4\r\n\r\nabcd", 413)


def test_timeout_request_head(start: Start) -> None:
    server = start("app", "--timeout-request-head", "0.2")
    assert status_of(server.request(b"GET / HTTP/1.1\r\n")) == 408


def test_timeout_request_body(start: Start) -> None:
    server = start("reading", "--timeout-request-body", "0.2", "--lifespan", "off")
    server.request(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 3\r\n\r\nab")  # returns when the server closes
    server.wait_line(r"^application: http\.disconnect$")


def test_timeout_write(start: Start) -> None:
    server = start("flooding", "--timeout-write", "0.2", "--lifespan", "off", "--disconnect", "raise")
    with server.connect() as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
        server.wait_line(r"^application: ClientDisconnected$")


def test_disconnect(start: Start) -> None:
    for value, version in (("silent", "2.3"), ("raise", "2.5")):
        assert seen_by(start("app", "--disconnect", value))["asgi"]["spec_version"] == version


def test_interface_wsgi(start: Start) -> None:
    server = start("wsgi", "--interface", "wsgi", "--root-path", "/api")
    assert seen_by(server, "/x") == {"script": "/api", "path": "/x", "thread": "wsgi-1"}
    server.wait_line(r"Application startup complete\.")
    assert server.stop() == -signal.SIGTERM


def test_wsgi_threads(start: Start) -> None:
    server = start("wsgi_pairs", "--interface", "wsgi", "--wsgi-threads", "2")
    with server.connect() as one, server.connect() as two:
        for client in (one, two):
            client.sendall(b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
        assert [body_of(support.read_all(client)) for client in (one, two)] == [b"2 at a time", b"2 at a time"]


def test_app_dir(start: Start, command: support.StartCommand, tmp_path: Path) -> None:
    (tmp_path / "here.py").write_text("from shell_apps import app\n")
    here = support.APPS
    assert seen_by(start("app"))["sys_path"] == here
    server = command("here:app", "--port", "0", cwd=tmp_path, env={"PYTHONPATH": os.pathsep.join([*sys.path, here])})
    assert seen_by(server)["sys_path"] == ""
    assert command("here:app", "--port", "0").wait() == 3


def test_proxy_headers(start: Start) -> None:
    headers = "X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: https\r\n"
    server = start("secure", "--lifespan", "off")
    seen = json.loads(body_of(server.get("/", headers)))
    assert (seen["client"], seen["scheme"]) == (["1.2.3.4", 0], "https")
    server.wait_line(r'1\.2\.3\.4:0 - "GET / HTTP/1\.1" 200 OK$')
    seen = json.loads(body_of(start("secure", "--lifespan", "off", "--no-proxy-headers").get("/", headers)))
    assert (seen["client"][0], seen["scheme"]) == ("127.0.0.1", "http")


def test_forwarded_allow_ips(start: Start) -> None:
    headers = "X-Forwarded-For: 1.2.3.4, 10.1.1.1\r\n"
    for trusted, client in [("10.0.0.0/8,127.0.0.1", "1.2.3.4"), ("127.0.0.1", "10.1.1.1"), ("::1", "127.0.0.1")]:
        server = start("secure", "--lifespan", "off", env={"FORWARDED_ALLOW_IPS": trusted})
        assert json.loads(body_of(server.get("/", headers)))["client"][0] == client
    server = start("secure", "--lifespan", "off", "--forwarded-allow-ips", "*", env={"FORWARDED_ALLOW_IPS": "::1"})
    assert json.loads(body_of(server.get("/", headers)))["client"][0] == "1.2.3.4"


@pytest.mark.parametrize("workers", ["1", "2"])
def test_sendfile(start: Start, workers: str) -> None:
    """Off unless it is asked for; with it an application can name a file, here relative to the working directory."""
    assert "http.response.pathsend" not in seen_by(start("files", "--workers", workers))
    file = Path(__file__)
    server = start("files", "--workers", workers, "--sendfile", cwd=file.parent)
    assert "http.response.pathsend" in seen_by(server)
    assert body_of(server.get(f"/{file.name}")) == file.read_bytes()


FOLDERS = "options net logs loops lifespan process supervisors tls topics metrics proxies"


def test_every_option_has_a_test() -> None:
    """Here, or in another file of tests from outside."""
    tests = Path(__file__).parent.parent
    files = [
        file
        for folder in (
            ".",
            "options",
            "net",
            "logs",
            "loops",
            "lifespan",
            "process",
            "supervisors",
            "tls",
            "topics",
            "metrics",
            "operations",
            "static",
            "proxies",
            "overload",
        )
        for file in (tests / folder).glob("test_*.py")
    ]
    names = {name for file in files for name in re.findall(r"^ *def test_(\w+)", file.read_text("utf-8"), re.MULTILINE)}
    tls = (tests / "tls" / "test_server.py").read_text("utf-8") + (tests / "tls" / "pki.py").read_text("utf-8")
    names.update(option.param for option in OPTIONS if f'"{option.name}"' in tls)  # several in one test
    assert {option.param for option in OPTIONS} - names == set()
