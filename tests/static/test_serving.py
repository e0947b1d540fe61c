"""Static files beside an application: files that change, clients that leave, options, workers, other tools."""

from __future__ import annotations

import errno
import os
import re
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import support
from core.responses import Client
from load import until
from metrics.test_routes import count
from static.conftest import LARGE, LONG_AGO, application, fill, put
from tls.pki import Pki

from fastserve.options import values
from fastserve.options.table import Options
from fastserve.static import files

Log = Callable[[], list[str]]
GET = b"GET /static/%b HTTP/1.1\r\nHost: test\r\n\r\n"
WIRES = ("auto", "h11")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return fill(tmp_path / "public")


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208


@pytest.mark.parametrize("http", WIRES)
def test_static(serve: support.Serve, folder: Path, http: str, log: Log) -> None:
    """A file, what is not there, and the application; all three are in the access log."""
    server = serve(application, http=http, static=f"/static={folder}")
    assert server.fetch("/static/small.txt?a=b")[2] == b"0123456789"
    assert server.fetch("/static/none.txt")[0] == 404
    assert server.fetch("/other")[2] == b"application: /other"
    server.go_round()
    lines = [re.sub(r":\d+ - ", " - ", line) for line in log() if " - " in line]
    assert lines == [
        'INFO 127.0.0.1 - "GET /static/small.txt?a=b HTTP/1.1" 200',
        'INFO 127.0.0.1 - "GET /static/none.txt HTTP/1.1" 404',
        'INFO 127.0.0.1 - "GET /other HTTP/1.1" 200',
    ]


@pytest.mark.parametrize("http", WIRES)
def test_static_headers(serve: support.Serve, folder: Path, http: str) -> None:
    added = [("X-A", "1"), ("Cache-Control", "no-cache"), ("X-A", "2")]
    server = serve(application, http=http, static=[f"/static={folder}"], static_headers=added, headers=[("X-All", "3")])
    headers = server.fetch("/static/small.txt")[1]
    assert headers.get_all("x-a") == ["1", "2"]
    assert headers.get_all("cache-control") == ["no-cache"]
    assert headers.get_all("x-all") == ["3"]
    headers = server.fetch("/other")[1]
    assert (headers.get_all("x-a"), headers.get_all("x-all")) == (None, ["3"])


def test_a_static_header_as_people_write_it(serve: support.Serve, folder: Path) -> None:
    """The blanks after the colon are not sent a second time; those of --header are, as uvicorn does."""
    added = [values.Headers().parsed(text) for text in ("X-A: 1", "X-B:\t2 ")]
    server = serve(application, static=[f"/static={folder}"], static_headers=added, headers=[("X-All", " 3")])
    response = server.request(b"GET /static/small.txt HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
    assert b"\r\nx-a: 1\r\nx-b: 2\r\n" in response
    assert b"\r\nx-all:  3\r\n" in response


@pytest.mark.parametrize(("seconds", "value"), [(None, None), (0, "max-age=0"), (86400, "max-age=86400")])
def test_static_expires(serve: support.Serve, folder: Path, seconds: int | None, value: str | None) -> None:
    server = serve(application, static=[f"/static={folder}"], static_expires=seconds)
    assert server.fetch("/static/small.txt")[1]["cache-control"] == value
    assert server.fetch("/static/none.txt")[1]["cache-control"] is None


@pytest.mark.parametrize("http", WIRES)
def test_a_route_of_everything_leaves_the_rest(serve: support.Serve, folder: Path, http: str) -> None:
    """With the route / what is not a file, and any other method, is the application's."""
    server = serve(application, http=http, static=[f"/={folder}", f"/sub={folder / 'sub'}"])
    for _ in range(2):
        assert server.fetch("/small.txt")[2] == b"0123456789"
        for path in ("/", "/none", "/.env", "/outside.txt", "/gr%C3%B6%C3%9Fe", "/sub.txt"):
            assert server.fetch(path)[2].startswith(b"application: ")
        assert server.fetch("/small.txt", "POST", b"x" * 100)[2] == b"application: /small.txt"
        assert server.fetch("/sub/index.html")[2] == b"<p>index"
        assert [server.fetch(path)[0] for path in ("/sub", "/sub/", "/sub/none")] == [404] * 3


def test_the_rest_costs_a_look_at_the_disk(serve: support.Serve, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = serve(application, static=[f"/={folder}"])
    monkeypatch.setattr(files, "opened", None)
    assert server.fetch("/none")[2] == b"application: /none"
    assert server.fetch("/sub")[2] == b"application: /sub"


@pytest.mark.parametrize("http", WIRES)
def test_the_route_is_what_a_proxy_leaves_of_a_path(serve: support.Serve, folder: Path, http: str) -> None:
    server = serve(application, http=http, static=[f"/static={folder}"], root_path="/api")
    assert server.fetch("/static/small.txt")[2] == b"0123456789"
    assert server.fetch("/other")[2] == b"application: /api/other"


@pytest.mark.parametrize("http", [*WIRES, "uvicorn.protocols.http.h11_impl:H11Protocol"])
def test_the_route_is_compared_with_what_is_given(serve: support.Serve, folder: Path, http: str) -> None:
    """A proxy that sends the prefix as well: the route has it, too."""
    options = {"static": [f"/api/static={folder}"], "root_path": "/api", "root_path_mode": "given"}
    server = serve(application, http=http, **options)
    assert server.fetch("/api/static/small.txt")[2] == b"0123456789"
    assert server.fetch("/api/other")[2] == b"application: /api/other"


@pytest.mark.parametrize("http", WIRES)
def test_in_front_of_a_wsgi_application(serve: support.Serve, folder: Path, http: str) -> None:
    def wsgi(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"wsgi"]

    server = serve(wsgi, http=http, interface="wsgi", static=[f"/static={folder}", f"/={folder / 'sub'}"])
    assert server.fetch("/static/small.txt")[2] == b"0123456789"
    assert server.fetch("/index.html")[2] == b"<p>index"
    assert server.fetch("/other")[2] == b"wsgi"


def test_a_websocket_below_the_route_is_the_applications(serve: support.Serve, folder: Path) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": scope["path"]})
        await receive()

    server = serve(app, static=[f"/static={folder}"])
    with server.connect() as sock:
        sock.sendall(UPGRADE)
        seen = b""
        while not seen.partition(b"\r\n\r\n")[2].endswith(b"/static/small.txt"):
            seen += sock.recv(1000) or pytest.fail("closed")
    assert seen.startswith(b"HTTP/1.1 101 ")


UPGRADE = (
    b"GET /static/small.txt HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


# Files that change


@pytest.mark.parametrize("name", ["small.txt", "large.bin"])
def test_a_file_that_changes(serve: support.Serve, folder: Path, name: str) -> None:
    """Replaced, written to, with the same size and time, removed, made anew: no response has the old content."""
    size = len((folder / name).read_bytes())
    server = serve(application, static=[f"/static={folder}"])
    seen = set()
    for step in range(3):
        put(folder, "new", b"a" * size, LONG_AGO + step)
        (folder / "new").replace(folder / name)
        for _ in range(2):  # remembered, and found to be unchanged
            assert server.fetch(f"/static/{name}")[2] == b"a" * size
        put(folder, name, b"b" * size, LONG_AGO + step)
        _, headers, body = server.fetch(f"/static/{name}")
        assert body == b"b" * size
        seen.add(headers["etag"])
    assert len(seen) == 3
    (folder / name).unlink()
    assert server.fetch(f"/static/{name}")[0] == 404
    put(folder, name, b"c")
    assert server.fetch(f"/static/{name}")[2] == b"c"


def test_a_directory_that_is_replaced(serve: support.Serve, folder: Path, tmp_path: Path) -> None:
    """As deployments do it, by a link to the newest."""
    current = tmp_path / "current"
    current.symlink_to(folder)
    server = serve(application, static=[f"/static={current}"])
    assert [server.fetch(f"/static/{name}")[0] for name in ("small.txt", "large.bin")] == [200, 200]
    put(tmp_path / "next", "small.txt", b"next")
    (tmp_path / "link").symlink_to(tmp_path / "next")
    (tmp_path / "link").replace(current)
    assert server.fetch("/static/small.txt")[2] == b"next"
    assert server.fetch("/static/large.bin")[0] == 404


def test_a_file_that_becomes_a_link_out(serve: support.Serve, folder: Path) -> None:
    server = serve(application, static=[f"/static={folder}"])
    for name in ("small.txt", "large.bin"):
        assert server.fetch(f"/static/{name}")[0] == 200
        (folder / name).unlink()
        (folder / name).symlink_to(folder.parent / "secret.txt")
        assert server.fetch(f"/static/{name}")[0] == 404


def test_a_variant_that_goes_and_comes(serve: support.Serve, folder: Path) -> None:
    """One that comes is found after a while: until then the response without it is remembered."""
    server = serve(application, static=[f"/static={folder}"])

    def fetched() -> bytes:
        return server.fetch("/static/app.js", headers={"Accept-Encoding": "br"})[2]

    assert fetched() == b"as br"
    (folder / "app.js.br").unlink()
    assert fetched() == b"let plain;"
    put(folder, "app.js.br", b"new br")
    until(lambda: fetched() == b"new br", "it is found")


def test_what_has_just_changed_is_not_remembered(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second change may not show in a file system whose clock stands still for that long."""
    made = files_of(folder)
    assert answer_of(made, "small.txt").kept is not None
    monkeypatch.setattr(files, "SETTLED_NS", 3600 * 10**9)
    assert answer_of(made, "small.txt").kept is None


def answer_of(made: files.StaticFiles, name: str) -> files.Answer:
    answer = made.answer("GET", f"/static/{name}".encode(), [])
    assert answer is not None
    if answer.fd >= 0:
        os.close(answer.fd)
    return answer


def files_of(folder: Path) -> files.StaticFiles:
    return files.StaticFiles(Options("a:b", static=[f"/static={folder}"]))


def test_without_openat2(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the kernel, or a filter of system calls, has none, the real path is looked at."""
    monkeypatch.setattr(files, "open_beneath", lambda directory, name: None)
    made = files_of(folder)

    for name in ("small.txt", "large.bin", "inside.txt", "sub/index.html"):
        assert answer_of(made, name).status == 200
    for name in ("outside.txt", "up.txt", "above/secret.txt", "none", "sub", "fifo"):
        assert answer_of(made, name).status == 404


def test_a_modification_in_the_future(serve: support.Serve, folder: Path) -> None:
    """RFC 9110 section 8.8.2.1: Last-Modified is not later than Date."""
    put(folder, "future.txt", b"x", 4102444800)
    headers = serve(application, static=[f"/static={folder}"]).fetch("/static/future.txt")[1]
    assert (headers["last-modified"], headers["etag"] is None) == (None, False)


def test_a_file_that_may_not_be_read(serve: support.Serve, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = serve(application, static=[f"/static={folder}"])

    def refused(directory: bytes, name: bytes) -> int:
        raise PermissionError

    monkeypatch.setattr(files, "open_beneath", refused)
    assert server.fetch("/static/small.txt")[0] == 403


def test_a_file_that_cannot_be_opened(
    serve: support.Serve, folder: Path, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as for want of descriptors: that is not the client's fault, and the server goes on."""
    server = serve(application, static=[f"/static={folder}"])

    def failing(directory: bytes, name: bytes) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patched:
        patched.setattr(files, "open_beneath", failing)
        assert server.fetch("/static/small.txt")[0] == 500
    server.go_round()
    assert "ERROR Error while serving the static file '/static/small.txt'" in log()
    assert server.fetch("/static/small.txt")[0] == 200


# Connections


@pytest.mark.parametrize("http", WIRES)
def test_pipelined(serve: support.Serve, folder: Path, http: str) -> None:
    client = Client(serve(application, http=http, static=[f"/static={folder}"]).connect())
    names = [b"small.txt", b"large.bin", b"none", b"app.js", b"large.bin", b"small.txt"]
    client.send(b"".join(GET % name for name in names))
    found = [client.read() for _ in names]
    assert [response.status for response in found] == [200, 200, 404, 200, 200, 200]
    assert [response.body == LARGE for response in found] == [False, True, False, False, True, False]


@pytest.mark.parametrize("http", WIRES)
def test_http_1_0_and_a_client_that_ends_its_side(serve: support.Serve, folder: Path, http: str) -> None:
    server = serve(application, http=http, static=[f"/static={folder}"])
    for name, content in (("small.txt", b"0123456789"), ("large.bin", LARGE)):
        with server.connect() as sock:
            sock.sendall(f"GET /static/{name} HTTP/1.0\r\n\r\n".encode())
            sock.shutdown(socket.SHUT_WR)
            assert support.read_all(sock).partition(b"\r\n\r\n")[2] == content


@pytest.mark.parametrize("http", WIRES)
def test_clients_that_leave(serve: support.Serve, folder: Path, http: str, log: Log) -> None:
    """Nothing is left open, and nothing is said."""
    server = serve(application, http=http, static=[f"/static={folder}"], access_log=False)
    server.fetch("/static/large.bin")
    server.go_round()
    before = descriptors()
    for _ in range(10):
        with server.connect() as sock:
            sock.sendall(GET % b"large.bin")
            assert sock.recv(1000)
    while descriptors() > before:
        server.go_round()
    assert [line for line in log() if "WARNING" in line or "ERROR" in line] == []
    worker = server.server.server_state.worker
    assert worker is not None
    assert worker.active == 0


def test_a_file_that_shrinks_while_it_is_sent(serve: support.Serve, folder: Path, log: Log) -> None:
    server = serve(application, static=[f"/static={folder}"])
    with server.connect() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        sock.sendall(GET % b"large.bin")
        assert sock.recv(1000)
        os.truncate(folder / "large.bin", 1000)
        assert len(support.read_all(sock)) < len(LARGE)
    server.go_round()
    assert "ERROR Error while serving the static file '/static/large.bin'" in log()
    assert server.fetch("/static/small.txt")[0] == 200
    worker = server.server.server_state.worker
    assert worker is not None
    assert worker.active == 0


@pytest.mark.parametrize("http", WIRES)
def test_a_stop_waits_for_files_that_are_sent(serve: support.Serve, folder: Path, http: str) -> None:
    server = serve(application, http=http, static=[f"/static={folder}"])
    with server.connect() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        sock.sendall(GET % b"large.bin")
        seen = sock.recv(1000)
        server.server.should_exit = True
        server.go_round()
        seen += support.read_all(sock)
    assert seen.partition(b"\r\n\r\n")[2] == LARGE
    server.join()


@pytest.mark.parametrize("http", WIRES)
def test_the_end_of_an_exchange_in_the_log(start: support.StartCommand, folder: Path, http: str) -> None:
    """With sizes and ids, which are known at the end alone, and a warning for what takes long."""
    words = (
        "--access-log-format",
        "|%(m)s %(U)s %(s)s %(B)s %(X)s|",
        "--request-id-header",
        "X-Id",
        "--log-slow",
        "0.01",
    )
    server = start("app", "--http", http, "--lifespan", "off", "--static", f"/static={folder}", *words)
    for name, size in (("small.txt", 10), ("large.bin", len(LARGE)), ("none", 9)):
        head = server.get(f"/static/{name}").partition(b"\r\n\r\n")[0]
        assert re.search(rb"\r\nx-id: [0-9a-f]{32}(\r|\Z)", head)
        server.wait_line(rf"\|GET /static/{name} {404 if size == 9 else 200} {size} -\|")
    with server.connect() as sock:
        client = Client(sock)
        client.send(GET % b"large.bin")
        server.wait_line(r"Slow request: GET /static/large\.bin .* is under way")
        assert client.read().body == LARGE


def test_limits_count_static_files(serve: support.Serve, folder: Path) -> None:
    server = serve(application, static=[f"/static={folder}"], limit_concurrency=1, health="/static/health")
    with server.connect() as idle:
        idle.sendall(b"GET ")
        assert server.fetch("/static/small.txt")[0] == 503
        assert server.fetch("/static/health")[2] == b"ok"


def test_routes_in_metrics(serve: support.Serve, folder: Path) -> None:
    before = count("/static/{file}")
    server = serve(application, static=[f"/static={folder}"], metrics_routes=True)
    for name in ("small.txt", "small.txt", "large.bin"):
        server.fetch(f"/static/{name}")
    server.go_round()
    assert count("/static/{file}") == before + 3


# The command


def test_over_workers_with_curl(command: support.StartCommand, folder: Path, pki: Pki, tmp_path: Path) -> None:
    """HTTP/2 over TLS, from a file of options, by the tools of others."""
    (tmp_path / "apps.py").write_text("async def app(scope, receive, send):\n    assert scope['type'] == 'lifespan'\n")
    (tmp_path / "fastserve.toml").write_text('app = "apps:app"\nworkers = 2\nstatic = ["/static=public"]\nport = 0\n')
    server = command("--lifespan", "off", "--ssl-certfile", pki.certificate, "--ssl-keyfile", pki.key, cwd=tmp_path)
    base = f"https://127.0.0.1:{server.port}/static"

    def curl(*arguments: str) -> bytes:
        words = ["curl", "-sS", "--cacert", pki.ca, "--max-time", "60", *arguments]
        return subprocess.run(words, check=True, stdout=subprocess.PIPE).stdout

    shown = "%{http_version} %{response_code} %{size_download}"
    assert curl("-o", str(tmp_path / "got"), "-w", shown, f"{base}/large.bin").decode() == f"2 200 {len(LARGE)}"
    assert (tmp_path / "got").read_bytes() == LARGE
    assert curl("--compressed", f"{base}/small.txt") == b"0123456789"
    half = tmp_path / "half"
    half.write_bytes(LARGE[: len(LARGE) // 2])
    curl("-C", "-", "-o", str(half), f"{base}/large.bin")
    assert half.read_bytes() == LARGE
    assert curl("-z", str(folder / "small.txt"), "-w", "%{response_code}", f"{base}/small.txt") == b"304"
    assert curl("--path-as-is", f"{base}/../secret.txt") == b"Not Found"
    etags = tmp_path / "etags"
    curl("--etag-save", str(etags), "-o", str(tmp_path / "got"), f"{base}/app.js")
    assert curl("--etag-compare", str(etags), "-w", "%{response_code}", f"{base}/app.js") == b"304"


def test_with_openssl(command: support.StartCommand, folder: Path, pki: Pki) -> None:
    server = command(
        "shell_apps:app", "--app-dir", support.APPS, "--port", "0", "--static", f"/static={folder}", *pki.arguments
    )
    words = ["openssl", "s_client", "-quiet", "-verify_return_error", "-CAfile", pki.ca]
    request = b"GET /static/large.bin HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"
    asked = subprocess.run(
        [*words, "-connect", f"127.0.0.1:{server.port}"], input=request, capture_output=True, check=False, timeout=60
    )
    assert asked.stdout.partition(b"\r\n\r\n")[2] == LARGE


@pytest.mark.parametrize("checking", [True, False])
def test_a_directory_that_is_missing(command: support.StartCommand, tmp_path: Path, checking: bool) -> None:
    words = ["--check-config"] if checking else ["--port", "0"]
    process = command("shell_apps:app", "--app-dir", support.APPS, "--static", "/s=nowhere", *words, cwd=tmp_path)
    assert process.wait() == 3
    line = "static '/s=nowhere' cannot be used: 'nowhere': no such file or directory"
    assert any(line in each for each in process.lines)
