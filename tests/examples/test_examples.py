"""Each folder of examples/ is served as its README says, and does what it says, through real sockets."""

from __future__ import annotations

import http.client
import json
import re
import shlex
import signal
import socket
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import front
import pytest
import yaml
from support import PATIENCE, Command, StartCommand, read_all
from websockets.sync.client import connect

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
FOLDERS = sorted(path.name for path in EXAMPLES.iterdir() if path.is_dir())

Example = Callable[..., Command]


def commands(folder: str) -> list[list[str]]:
    """The lines of the README's shell blocks, as words."""
    text = (EXAMPLES / folder / "README.md").read_text("utf-8")
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [shlex.split(line) for block in blocks for line in block.splitlines()]


@pytest.fixture
def example(command: StartCommand) -> Example:
    """Serve a folder by the command of its README, on a free port."""

    def start(folder: str, *options: str) -> Command:
        (words,) = (words for words in commands(folder) if words[0] == "fastserve")
        server = command(*words[1:], "--port", "0", *options, cwd=EXAMPLES / folder)
        server.wait_line(r"running on http://")
        return server

    return start


def ask(server: Command, path: str = "/", method: str = "GET", body: str | None = None) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
    try:
        connection.request(method, path, body and body.encode())
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def test_every_example_is_listed_and_has_a_readme() -> None:
    text = (EXAMPLES / "README.md").read_text("utf-8")
    assert sorted(re.findall(r"^\| \[(\w+)\]\(\1\)", text, re.MULTILINE)) == FOLDERS
    for folder in FOLDERS:
        assert commands(folder), folder


def test_fastapi_chat(example: Example) -> None:
    server = example("fastapi_chat")
    status, page = ask(server)
    assert status == 200
    assert "new WebSocket(" in page
    rooms = server.url.replace("http", "ws", 1) + "/rooms"
    with connect(f"{rooms}/lobby") as one, connect(f"{rooms}/lobby") as other, connect(f"{rooms}/kitchen") as third:
        # What comes back to its sender has been handed to all who were there before.
        third.send("anybody hungry?")
        assert third.recv(PATIENCE) == "anybody hungry?"
        other.send("here")
        assert other.recv(PATIENCE) == "here"
        assert one.recv(PATIENCE) == "here"
        one.send("hello")
        assert other.recv(PATIENCE) == one.recv(PATIENCE) == "hello"
        assert json.loads(ask(server, "/rooms")[1]) == {"lobby": 2, "kitchen": 1}
    assert server.stop() == -signal.SIGTERM
    assert "ERROR" not in server.output


def test_sse_stream(example: Example) -> None:
    server = example("sse_stream")
    with server.connect() as sock, sock.makefile("rb") as lines:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: test\r\nLast-Event-ID: 41\r\n\r\n")
        head = list(iter(lines.readline, b"\r\n"))
        assert head[0] == b"HTTP/1.1 200 OK\r\n"
        assert b"content-type: text/event-stream\r\n" in head
        events = [line for line in (lines.readline() for _ in range(20)) if line.startswith(b"id:")][:2]
        assert events == [b"id: 42\n", b"id: 43\n"]
    # The client has left: nothing keeps the server from stopping at once.
    assert server.stop() == -signal.SIGTERM
    assert "ERROR" not in server.output
    assert "Cancel" not in server.output


def test_django_site(example: Example) -> None:
    server = example("django_site")
    status, home = ask(server)
    assert status == 200
    assert f"You asked for {server.url}/" in home
    assert json.loads(ask(server, "/both")[1]) == {"values": ["one", "two"]}
    assert ask(server, "/count") == (200, "1\n2\n3\n")
    assert ask(server, "/healthz") == (200, "ok")
    assert ask(server, "/nowhere")[0] == 404
    assert server.stop() == -signal.SIGTERM
    assert "Traceback" not in server.output


def test_django_site_is_checked_by_its_own_command() -> None:
    (words,) = (words for words in commands("django_site") if words[0] == "python")
    process = Command([sys.executable, "-W", "error", *words[1:]], cwd=EXAMPLES / "django_site")
    assert process.wait() == 0, process.output
    assert "no issues" in process.output


def test_flask_wsgi(example: Example) -> None:
    server = example("flask_wsgi")
    assert ask(server, "/", "POST", "buy milk") == (201, '{"number":1}\n')
    assert ask(server, "/", "POST", "grün streichen")[0] == 201
    assert json.loads(ask(server)[1]) == ["buy milk", "grün streichen"]
    assert ask(server, "/lines") == (200, "1 buy milk\n2 grün streichen\n")
    assert server.stop() == -signal.SIGTERM


@pytest.fixture
def embedded() -> Iterator[Command]:
    (words,) = (words for words in commands("embedded") if words[0] == "python")
    assert words[-1] == "8000"
    program = Command([sys.executable, *words[1:-1], "0"], cwd=EXAMPLES / "embedded")
    yield program
    program.close()


def test_embedded_ends_when_the_program_has_enough(embedded: Command) -> None:
    assert ask(embedded, method="POST") == (200, '{"count": 1}')
    assert ask(embedded, method="POST") == (200, '{"count": 2}')
    assert ask(embedded, method="DELETE") == (200, '{"count": 2}')
    assert embedded.wait() == 0, embedded.output
    assert embedded.stdout[-1] == "counted to 2"


def test_embedded_ends_by_a_signal(embedded: Command) -> None:
    assert ask(embedded)[0] == 200
    assert embedded.stop() == 0
    assert embedded.stdout[-1] == "counted to 0"


class TestDockerComposeNginx:
    FOLDER = EXAMPLES / "docker_compose_nginx"

    @pytest.fixture
    def compose(self) -> dict[str, Any]:
        services: dict[str, Any] = yaml.safe_load((self.FOLDER / "compose.yaml").read_text("utf-8"))["services"]
        return services

    @pytest.fixture
    def application(self, command: StartCommand, compose: dict[str, Any]) -> Command:
        """The Dockerfile's command with the environment of compose.yaml; only the addresses are those of a test."""
        (line,) = re.findall(r"^CMD (.*)$", (self.FOLDER / "Dockerfile").read_text("utf-8"), re.MULTILINE)
        words = json.loads(line)
        assert words[0] == "fastserve"
        environment = {**compose["app"]["environment"], "FASTSERVE_FORWARDED_ALLOW_IPS": "127.0.0.1"}
        options = ("--host", "127.0.0.1", "--port", "0")
        server = command(*words[1:], *options, env=environment, cwd=self.FOLDER)
        server.wait_line("Application startup complete", count=2)  # it has two workers
        return server

    @pytest.fixture
    def proxy(self, application: Command, tmp_path: Path) -> Iterator[str]:
        """nginx with the example's configuration in front of it, listening on a socket that this process has opened."""
        program = front.program("nginx")
        text = (self.FOLDER / "nginx.conf").read_text("utf-8")
        with socket.create_server(("127.0.0.1", 0)) as listener:
            address = f"127.0.0.1:{listener.getsockname()[1]}"
            paths = front.nginx_paths(tmp_path)
            changes = {
                "http {": f"pid {tmp_path}/pid; error_log stderr notice; http {{ access_log off; {paths}",
                "server app:8000;": f"server 127.0.0.1:{application.port};",
                "listen 80;": f"listen {address};",
            }
            for ours, theirs in changes.items():
                assert text.count(ours) == 1
                text = text.replace(ours, theirs)
            (tmp_path / "nginx.conf").write_text(text)
            arguments = ["-p", str(tmp_path), "-c", "nginx.conf", "-g", "daemon off;", "-e", "stderr"]
            # The way in which nginx hands its sockets to a new version of itself: so no port is picked.
            number = listener.fileno()
            process = Command([program, *arguments], env={"NGINX": f"{number};"}, pass_fds=(number,))
            process.wait_line("start worker processes")
        yield address
        process.close()
        assert process.process.returncode == 0, process.output

    @pytest.mark.programs
    def test_behind_nginx(self, proxy: str, application: Command) -> None:
        host, port = proxy.split(":")
        lie = "X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: https\r\n"
        with socket.create_connection((host, int(port)), timeout=PATIENCE) as sock:
            sock.sendall(f"GET /?a=b HTTP/1.1\r\nHost: example.org\r\n{lie}Connection: close\r\n\r\n".encode())
            head, _, body = read_all(sock).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        assert json.loads(body) == {"client": "127.0.0.1", "url": "http://example.org/?a=b"}
        with connect(f"ws://{proxy}/echo") as websocket:
            websocket.send("through nginx")
            assert websocket.recv(PATIENCE) == "through nginx"
        assert application.stop() == 0

    def test_the_health_check_is_what_the_application_answers(
        self, application: Command, compose: dict[str, Any]
    ) -> None:
        words = compose["app"]["healthcheck"]["test"]
        assert words[:2] == ["CMD", "python"]
        script = words[3].replace("127.0.0.1:8000", f"127.0.0.1:{application.port}")
        assert script != words[3]
        assert Command([sys.executable, words[2], script]).wait() == 0
        assert ask(application, "/healthz") == (200, "ok")

    def test_the_containers_fit_each_other(self, compose: dict[str, Any]) -> None:
        configuration = (self.FOLDER / "nginx.conf").read_text("utf-8")
        (name, port) = re.findall(r"server (\w+):(\d+);", configuration)[0]
        assert name in compose
        assert port == "8000"  # fastserve's own default
        assert compose["proxy"]["ports"] == ["8080:80"]
        assert "listen 80;" in configuration


def test_prometheus(example: Example) -> None:
    server = example("prometheus", "--metrics-bind", "127.0.0.1:0")
    assert ask(server)[1] == "Hello, world\n"
    address = server.wait_line(r"Metrics on (http://\S+)")[1]
    with urllib.request.urlopen(address, timeout=PATIENCE) as response:
        assert 'greetings_total{language="en"} 1\n' in response.read().decode()
