"""Formats of the access log from outside: beside the servers whose atoms they have, over every protocol, in workers."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import support
import ws
from bridge import Bridge
from websockets.sync.client import connect as connect_websocket

from fastserve.logging.access_format import ATOMS, PARAMETRIC, PRESETS

APPS = """
    import asyncio

    released = asyncio.Event()

    def wsgi(environ, start_response):
        fields = [("Content-Type", "text/plain"), ("X-Out", "out"), ("X-Two", "1"), ("X-Two", "2")]
        start_response("200 OK", [*fields, ("Content-Length", "5")])
        return [b"hello"]

    async def asgi(scope, receive, send):
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            while (message := await receive())["type"] == "websocket.receive":
                await send({"type": "websocket.send", "text": message["text"]})
            return
        if scope["type"] != "http":
            return
        if scope["path"] == "/slow":
            await released.wait()
        if scope["path"] == "/release":
            released.set()
        if scope["path"] in ("/leaves", "/late"):
            while (await receive())["type"] != "http.disconnect":
                pass
        if scope["path"] == "/leaves":
            return
        if scope["path"] == "/fails":
            raise ValueError("wanted")
        headers = [(b"content-type", b"text/plain"), (b"x-out", b"out"), (b"content-length", b"5")]
        headers += [(b"x-two", b"1"), (b"x-two", b"2")]
        body = scope.get("state", {}).get("request_id", "hello").encode()[:5]
        status = 999 if scope["path"] == "/unnamed" else 200
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})
"""
REQUEST = (
    b"GET /a%20b/%C3%A9?x=%20y HTTP/1.1\r\nHost: test\r\nUser-Agent: agent/1\r\nReferer: http://r/\r\nX-In: in\r\n"
    b"X-Twice: one\r\nX-Twice: two\r\n"
    b"Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\nConnection: close\r\n\r\n"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "formats_app.py").write_text(textwrap.dedent(APPS))
    return tmp_path


@pytest.fixture
def start_other(folder: Path) -> Iterator[Any]:
    running: list[support.Command] = []

    def start(module: str, *args: str) -> support.Command:
        environment = {"XDG_RUNTIME_DIR": str(folder), "LOGGED": "here", "PYTHONPATH": str(folder)}
        running.append(support.Command([sys.executable, "-m", module, *args], env=environment, cwd=folder))
        return running[-1]

    yield start
    for process in running:
        process.close()


def ask(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
        client.sendall(REQUEST)
        assert support.read_all(client).startswith(b"HTTP/1.1 200")


def atoms_of(server: str) -> list[str]:
    return [name for name, atom in ATOMS.items() if server in atom.servers]


def logged(process: support.Command) -> list[str]:
    return process.wait_line(r"\|(.*)\|$")[1].split("|")


TIMES = {"t": r"\[\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\]", "T": r"\d\d?", "L": r"\d\d?\.\d{6}"}
TIMES |= {"D": r"\d{1,8}", "M": r"\d{1,5}", "p": r"<\d+>"}


def test_atoms_of_gunicorn(command: support.StartCommand, start_other: Any, folder: Path) -> None:
    """The same request over WSGI: each atom is what gunicorn itself writes."""
    pytest.importorskip("gunicorn")
    names = [*atoms_of("gunicorn"), "{x-in}i", "{User-Agent}i", "{nothing}i", "{x-out}o", "{X-Out}o", "{nothing}o"]
    names += ["{x-twice}i", "{x-two}o"]
    form = "|" + "|".join(f"%({name})s" for name in names) + "|"
    theirs = start_other("gunicorn", "formats_app:wsgi", "-b", "127.0.0.1:0", "--access-logfile", "-",
                         "--access-logformat", form)  # fmt: skip
    ours = command("formats_app:wsgi", "--interface", "wsgi", "--port", "0", "--app-dir", str(folder),
                   "--access-log-format", form)  # fmt: skip
    ask(int(theirs.wait_line(r"Listening at: http://127\.0\.0\.1:(\d+)")[1]))
    ask(ours.port)
    for name, own, other in zip(names, logged(ours), logged(theirs), strict=True):
        if name in TIMES:
            assert re.fullmatch(TIMES[name], own) and re.fullmatch(TIMES[name], other), name
        elif name == "U":  # bytes that are not ASCII are escaped here
            assert own == "/a b/\\xc3\\xa9"
        else:
            assert own == other, name


def test_atoms_of_hypercorn(command: support.StartCommand, start_other: Any, folder: Path) -> None:
    """Each is what hypercorn writes, but for those whose difference the table tells."""
    pytest.importorskip("hypercorn")
    differ = {"h": r"127\.0\.0\.1", "r": None, "H": "HTTP/1.1", "p": None}
    names = [*atoms_of("hypercorn"), "{x-in}i", "{x-out}o", "{LOGGED}e", "{nothing}e", "{x-twice}i", "{x-two}o"]
    form = "|" + "|".join(f"%({name})s" for name in names) + "|"
    theirs = start_other("hypercorn", "formats_app:asgi", "-b", "127.0.0.1:0", "--access-logfile", "-",
                         "--access-logformat", form)  # fmt: skip
    ours = command("formats_app:asgi", "--port", "0", "--app-dir", str(folder), "--access-log-format", form,
                   env={"LOGGED": "here"})  # fmt: skip
    ask(int(theirs.wait_line(r"Running on http://127\.0\.0\.1:(\d+)")[1]))
    ask(ours.port)
    paths = {"R": "GET /a%20b/%C3%A9?x=%20y HTTP/1.1", "Uq": "/a%20b/%C3%A9?x=%20y", "U": "/a b/\\xc3\\xa9"}
    for name, own, other in zip(names, logged(ours), logged(theirs), strict=True):
        if name in TIMES:
            assert re.fullmatch(TIMES[name], own) and re.fullmatch(TIMES[name], other), name
        elif name in paths:  # hypercorn decodes them
            assert own == paths[name]
        elif name in differ:
            assert own != other, name
        else:
            assert own == other, name


def test_formats_of_granian(command: support.StartCommand, folder: Path) -> None:
    """Its default one, as granian 2.8 has it."""
    form = '[%(time)s] %(addr)s - "%(method)s %(path)s %(protocol)s" %(status)d %(dt_ms).3f'
    server = command("formats_app:asgi", "--port", "0", "--app-dir", str(folder), "--access-log-format", form)
    ask(server.port)
    server.wait_line(
        r'^\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4}\] 127\.0\.0\.1 - "GET /a%20b/%C3%A9 HTTP/1\.1" 200 \d+\.\d{3}$'
    )


def test_access_log_format(command: support.StartCommand) -> None:
    """An unknown atom ends the command, which says what there is."""
    server = command("a:b", "--access-log-format", "%(h)s %(zz)s")
    assert server.wait() == 2
    for name in (*ATOMS, *PARAMETRIC):
        assert name in server.output
    server = command("a:b", "--access-log-format", "jsno")
    assert server.wait() == 2
    assert all(name in server.output for name in PRESETS)


PROTOCOLS = {
    "core": ("asgi",),
    "wsgi": ("wsgi", "--interface", "wsgi"),
    "h11": ("asgi", "--http", "h11"),
    "wsproto": ("asgi", "--ws", "wsproto"),
}


@pytest.mark.parametrize("kind", PROTOCOLS)
def test_protocols(command: support.StartCommand, folder: Path, kind: str) -> None:
    """The same fields from each: a request, one that is slow, a WebSocket, one whose client leaves."""
    app, *options = PROTOCOLS[kind]
    server = command(f"formats_app:{app}", "--port", "0", "--app-dir", str(folder), *options, "--access-log-format",
                     "json", "--request-id-header", "X-Request-Id", "--log-slow", "0.2")  # fmt: skip
    ask(server.port)
    values = json.loads(server.wait_line(r"^(\{.*\})$")[1])
    wanted = {"client": "127.0.0.1", "method": "GET", "path": "/a%20b/%C3%A9", "query": "x=%20y", "http": "1.1",
              "status": 200, "bytes_in": len(REQUEST), "user_agent": "agent/1", "referer": "http://r/", "host": "test",
              "scheme": "http"}  # fmt: skip
    assert wanted.items() <= values.items()
    assert re.fullmatch("[0-9a-f]{32}", values["request_id"])
    assert 0 <= values["wait"] <= values["duration"] < 60
    response = server.get("/id")
    values = json.loads(server.wait_line(r'^(\{.*"/id".*\})$')[1])
    assert f"x-request-id: {values['request_id']}\r\n".encode() in response
    assert values["bytes_out"] == len(response)
    if kind != "wsgi":
        assert response.endswith(values["request_id"][:5].encode())
        with server.connect() as client:
            client.sendall(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
            slow_line = r"Slow request: GET /slow from 127\.0\.0\.1:\d+ \[\w{32}\] is under way for \d+\.\d+ s"
            server.wait_line(slow_line)
            server.wait_line(r"released\.wait\(\)|in asgi")
            server.get("/release")
        server.wait_line(r"Slow request: GET /slow .* took \d+\.\d+ s, ")
        slow = json.loads(server.wait_line(r'^(\{.*"/slow".*\})$')[1])
        assert slow["duration"] > 0.2
        with server.connect() as client:
            client.sendall(ws.upgrade("/ws"))
            client.sendall(ws.close(1000))
            support.read_all(client)
        socket_line = json.loads(server.wait_line(r'^(\{.*"/ws".*\})$')[1])
        assert (socket_line["status"], socket_line["close_code"]) == (101, 1000)


@pytest.mark.parametrize("http", ["auto", "h11"])
def test_unusual_statuses(command: support.StartCommand, folder: Path, http: str) -> None:
    """A status without a phrase has a line as well, and a response of the server's own has its first byte."""
    server = command("formats_app:asgi", "--port", "0", "--app-dir", str(folder), "--http", http,
                     "--access-log-format", "|%(U)s|%(s)s|%(st)s|%(fb)s|")  # fmt: skip
    server.get("/unnamed")
    server.wait_line(r"^\|/unnamed\|999\|-\|\d+\|$")
    server.get("/fails")
    server.wait_line(r"^\|/fails\|500\|Internal Server Error\|\d+\|$")


@pytest.mark.parametrize("http", ["auto", "h11"])
def test_a_client_that_leaves(command: support.StartCommand, folder: Path, http: str) -> None:
    """An application that returns at the disconnect did not fail, and no connection is kept that the client ends."""
    server = command("formats_app:asgi", "--port", "0", "--app-dir", str(folder), "--http", http,
                     "--access-log-format", "|%(U)s|%(s)s|%(X)s|%(D)s|")  # fmt: skip
    for path, status, ending in (("/leaves", "-", "X"), ("/late", "200", "-")):
        with server.connect() as client:
            client.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            client.shutdown(socket.SHUT_WR)
            support.read_all(client)
        server.wait_line(rf"^\|{path}\|{status}\|{ending}\|\d+\|$")


def test_websocket_over_http2(command: support.StartCommand, folder: Path) -> None:
    """The bytes to the client have the response's head in them."""
    server = command("formats_app:asgi", "--port", "0", "--app-dir", str(folder), "--access-log-format",
                     "|%(s)s|%(O)s|%(mi)s|%(mo)s|%(code)s|")  # fmt: skip
    bridge = Bridge(server.port).start()
    try:
        with connect_websocket(f"ws://127.0.0.1:{bridge.port}/", compression=None) as client:
            client.send("hello")
            assert client.recv() == "hello"
            client.close(4000)
        line = server.wait_line(r"^\|200\|(\d+)\|1\|1\|4000\|$")
        assert int(line[1]) > 40  # the frames have 11
    finally:
        bridge.stop()


@pytest.mark.parametrize("preload", [False, True][: 2 if sys.platform == "linux" else 1])
def test_workers_are_named_by_their_place(command: support.StartCommand, folder: Path, preload: bool) -> None:
    """As in the metrics and in `fastserve top`: one that takes another's place has its name."""
    server = command("formats_app:asgi", "--port", "0", "--app-dir", str(folder), "--workers", "2", "--lifespan", "off",
                     "--access-log-format", "|%(wk)s|%(p)s|", "--log-format", "json",
                     *(["--preload"] if preload else []))  # fmt: skip
    places: dict[int, int] = {}

    def find(count: int) -> None:
        while len(places) < count:
            server.get()
            for line in server.stdout:
                if match := re.fullmatch(r"\|(\d)\|<(\d+)>\|", line.strip()):
                    assert places.setdefault(int(match[2]), int(match[1])) == int(match[1])

    find(2)
    assert sorted(places.values()) == [0, 1]
    killed = next(iter(places))
    os.kill(killed, signal.SIGKILL)
    find(3)
    assert list(places.values())[2] == places[killed]
    server.stop()
    said = [json.loads(line) for line in server.stderr]
    (died,) = (each for each in said if "died" in each["message"])
    assert died["worker"] == places[killed]
    started = {each["process"]: each.get("worker") for each in said if "Started server process" in each["message"]}
    assert started == places
    assert "worker" not in next(each for each in said if "parent process" in each["message"])


@pytest.mark.parametrize("form", [*PRESETS, "combined", "%(r)s %(D)s"])
def test_four_workers_on_one_pipe(folder: Path, form: str) -> None:
    """No line is torn, though the pipe is read slowly and paths have a kilobyte."""
    read, write = os.pipe()
    argv = [sys.executable, "-m", "fastserve", "formats_app:asgi", "--port", "0", "--app-dir", str(folder)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FASTSERVE_")}
    process = subprocess.Popen(
        [*argv, "--workers", "4", "--access-log-format", form], stdout=write, stderr=subprocess.PIPE, env=environment
    )
    os.close(write)
    taken: list[bytes] = []

    def drain() -> None:
        while piece := os.read(read, 1000):
            taken.append(piece)

    reader = threading.Thread(target=drain)
    reader.start()
    try:
        assert process.stderr is not None
        port = next(
            int(match[1]) for line in process.stderr if (match := re.search(rb"running on http://.*:(\d+)", line))
        )
        paths = [f"/{number}{'p' * 1000}" for number in range(400)]
        clients = [socket.create_connection(("127.0.0.1", port), timeout=60) for _ in range(20)]
        for start, client in enumerate(clients):
            client.sendall(b"".join(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode() for path in paths[start::20]))
        for client in clients:
            got = b""
            while got.count(b"HTTP/1.1 200") < len(paths) // 20:
                piece = client.recv(65536)
                assert piece
                got += piece
            client.close()
    finally:
        process.terminate()
        assert process.stderr is not None
        process.stderr.read()
        process.wait(60)
        process.stderr.close()
        reader.join(60)
        os.close(read)
    lines = b"".join(taken).decode("ascii").splitlines()
    assert len(lines) == len(paths)
    seen = sorted(re.findall(r"/(\d+)p", " ".join(re.search(r"/\d+p", line)[0] for line in lines)), key=int)  # type: ignore[index]
    assert seen == [str(number) for number in range(400)]
    if form in PRESETS:
        assert all(json.loads(line) for line in lines)
