"""The documentation's files for nginx, Caddy, HAProxy and systemd, used by those programs."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import front
import httpx
import pytest
import yaml
from docs.pages import ROOT, block, blocks
from load import until
from support import PATIENCE, Command, StartCommand
from websockets.sync.client import connect

pytestmark = [pytest.mark.programs, pytest.mark.slow]

FULL = """
import os
async def app(scope, receive, send):
    status = os.environ["STATUS"]
    await send({"type": "http.response.start", "status": int(status)})
    await send({"type": "http.response.body", "body": status.encode()})
"""
FORGED = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https", "Host": "app.example", "X-Request-Id": "mine"}
REQUEST_ID = re.compile("[0-9a-f]{32}")


@pytest.fixture
def folder() -> Iterator[Path]:
    with front.open_folder("docs-") as path:
        yield path


@pytest.fixture
def start_proxy() -> Iterator[front.StartProxy]:
    with front.proxies() as start:
        yield start


def start_application(command: StartCommand, folder: Path, page: str, trusted: str = "unix:", number: int = 0) -> None:
    """Serve the application of how-to/nginx.md by a command of a page."""
    (folder / "main.py").write_text(block("how-to/nginx.md", "main.py"))
    options = options_of(page)[number].replace("--forwarded-allow-ips unix:", f"--forwarded-allow-ips {trusted}")
    options = options.replace("/run/app", str(folder)).replace("660", "666")
    process = command("main:app", *options.split(), cwd=folder)
    process.wait_line("Application startup complete")


def options_of(page: str) -> list[str]:
    """Return the options of each command of a page that serves `main:app`."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    found = re.findall(r"^fastserve main:app (.*?)\n```", text, re.DOTALL | re.MULTILINE)
    return [options.replace("\\\n", "").replace("'", "") for options in found]


def check_through(port: int) -> httpx.Response:
    """Check what the application sees through a proxy on that port, of a client that forges; return a response."""
    url = f"http://127.0.0.1:{port}"
    with httpx.Client(base_url=url, timeout=PATIENCE) as client:
        response = client.get("/", headers=FORGED)
        assert response.json() == {"client": "127.0.0.1", "url": "http://app.example/"}
        events = client.get("/events", headers={"Host": "app.example"})
        assert events.text == "data: 0\n\ndata: 1\n\ndata: 2\n\n"
    sock = socket.create_connection(("127.0.0.1", port), PATIENCE)
    with connect("ws://app.example/echo", sock=sock) as websocket:
        websocket.send("hello")
        assert websocket.recv(PATIENCE) == "hello"
    return response


def nginx(folder: Path, site: str) -> Callable[[int], list[str]]:
    program = front.program("nginx")

    def arguments(port: int) -> list[str]:
        text = site.replace("listen 80;", f"listen 127.0.0.1:{port};")
        text = re.sub(r"/(?:run|srv)/app/", f"{folder}/", text)
        user = "user root;" if os.geteuid() == 0 else ""
        (folder / "nginx.conf").write_text(
            f"{user}\ndaemon off;\npid {folder}/nginx.pid;\nerror_log stderr;\nevents {{}}\n"
            f"http {{ access_log off;\n{front.nginx_paths(folder)}\n{text} }}\n"
        )
        return [program, "-p", str(folder), "-c", "nginx.conf", "-e", "stderr"]

    return arguments


def test_nginx(command: StartCommand, folder: Path, start_proxy: front.StartProxy) -> None:
    start = nginx(folder, block("how-to/nginx.md", "app.nginx"))
    start_application(command, folder, "how-to/nginx.md")
    response = check_through(start_proxy(start))
    assert REQUEST_ID.fullmatch(response.headers["X-Request-Id"])


def test_nginx_appending_under_a_star_lets_the_client_choose(
    command: StartCommand, folder: Path, start_proxy: front.StartProxy
) -> None:
    """What the page warns of."""
    site = block("how-to/nginx.md", "app.nginx").replace("$remote_addr", "$proxy_add_x_forwarded_for")
    start = nginx(folder, site)
    start_application(command, folder, "how-to/nginx.md", trusted="*")
    reply = httpx.get(f"http://127.0.0.1:{start_proxy(start)}/", headers=FORGED, timeout=PATIENCE)
    assert reply.json()["client"] == "203.0.113.9"


def test_nginx_of_the_tutorial(command: StartCommand, folder: Path, start_proxy: front.StartProxy) -> None:
    """Workers on a UNIX socket behind nginx: health, the client, logs in JSON, and a restart under load."""
    start = nginx(folder, block("tutorial/production.md", "app.nginx"))
    (folder / "main.py").write_text(block("tutorial/production.md", "main.py"))
    (options,) = (each for each in options_of("tutorial/production.md") if "--uds" in each)
    server = command("main:app", *options.replace(":9464", ":0").split(), cwd=folder)
    server.wait_line("Application startup complete", count=2)
    replaced = "takes over from child process"
    with httpx.Client(base_url=f"http://127.0.0.1:{start_proxy(start)}", timeout=PATIENCE) as client:
        assert client.get("/healthz").json() == {"status": "ok"}
        response = client.get("/", headers=FORGED)
        request_id = response.headers["X-Request-Id"]
        assert REQUEST_ID.fullmatch(request_id)
        assert response.json() == {"client": "127.0.0.1", "scheme": "http", "id": request_id}
        server.process.send_signal(1)
        while sum(replaced in line for line in list(server.lines)) < 2:
            assert client.get("/").status_code == 200
    health = json.loads(server.wait_line(r'.*"path":"/healthz".*')[0])
    assert {"client": "127.0.0.1", "path": "/healthz", "status": 200}.items() <= health.items()
    server.wait_line(f'"path":"/".*"request_id":"{request_id}"')
    assert all(isinstance(json.loads(line), dict) for line in list(server.lines))
    (shown,) = [each.text for each in blocks(ROOT / "docs/tutorial/production.md") if each.language == "json"]
    example = json.loads(shown)
    assert {name: type(value) for name, value in example.items()} == {name: type(health[name]) for name in health}
    assert example["worker"] in (0, 1)


def haproxy(folder: Path, text: str) -> Callable[[int], list[str]]:
    program = front.program("haproxy")

    def arguments(port: int) -> list[str]:
        changed = text.replace("/run/app/", f"{folder}/").replace("bind :80", f"bind 127.0.0.1:{port}")
        (folder / "haproxy.cfg").write_text(changed)
        return [program, "-db", "-f", str(folder / "haproxy.cfg")]

    return arguments


@pytest.mark.parametrize(("number", "title"), [(0, "http.haproxy"), (1, "tcp.haproxy")])
def test_haproxy(command: StartCommand, folder: Path, start_proxy: front.StartProxy, number: int, title: str) -> None:
    start = haproxy(folder, block("how-to/haproxy.md", title))
    start_application(command, folder, "how-to/haproxy.md", number=number)
    check_through(start_proxy(start))


def test_haproxy_asks_others(command: StartCommand, folder: Path, start_proxy: front.StartProxy) -> None:
    """Of two servers one is full and one drains: a GET gets to the second as long as that says it is well."""
    text = block("how-to/haproxy.md", "http.haproxy").replace("inter 1s", "inter 20ms")
    server = next(line for line in text.splitlines() if line.startswith("    server app1"))
    other = server.replace("app1", "app2").replace("app.sock", "other.sock")
    more = block("how-to/haproxy.md", "retry.haproxy").replace("leastconn", "first")
    start = haproxy(folder, f"{text}{more}{other}\n")
    (folder / "main.py").write_text(FULL)
    options = ("--lifespan", "off", "--health", "/healthz", "--shutdown-delay", "1000", "--no-access-log")
    servers = [
        command("main:app", "--uds", str(folder / name), *options, cwd=folder, env={"STATUS": status})
        for name, status in (("app.sock", "503"), ("other.sock", "200"))
    ]
    for each in servers:
        each.wait_line("running on")
    with httpx.Client(base_url=f"http://127.0.0.1:{start_proxy(start)}", timeout=PATIENCE) as client:
        until(lambda: client.get("/").status_code == 200, "a response of the second server")
        assert client.get("/").text == "200"
        post = client.post("/")
        assert (post.status_code, post.text) == (503, "503")
        servers[1].send_signal(signal.SIGTERM)
        until(lambda: client.get("/").text == "503", "nobody is asked but the first")
    for each in servers:
        each.process.kill()


def test_caddy(command: StartCommand, folder: Path, start_proxy: front.StartProxy) -> None:
    program = front.program("caddy")
    start_application(command, folder, "how-to/caddy.md")
    text = block("how-to/caddy.md", "Caddyfile").replace("/run/app/", f"{folder}/")

    def arguments(port: int) -> list[str]:
        site = text.replace("app.example {", f"http://app.example:{port} {{\nbind 127.0.0.1")
        (folder / "Caddyfile").write_text("{\nadmin off\n}\n" + site)
        home = f"XDG_DATA_HOME={folder}", f"XDG_CONFIG_HOME={folder}", f"HOME={folder}"
        return ["env", *home, program, "run", "--config", str(folder / "Caddyfile"), "--adapter", "caddyfile"]

    check_through(start_proxy(arguments))


def test_systemd_units(tmp_path: Path) -> None:
    program = front.program("systemd-analyze")
    for name in ("app.service", "app.socket"):
        text = block("how-to/systemd.md", name).replace("/srv/app/.venv/bin/fastserve", sys.executable)
        (tmp_path / name).write_text(text)
    done = subprocess.run(
        [program, "verify", *map(str, tmp_path.iterdir())],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert str(tmp_path) not in done.stderr, done.stderr


def test_systemd_socket(start_proxy: front.StartProxy, tmp_path: Path) -> None:
    program = front.program("systemd-socket-activate")
    (tmp_path / "main.py").write_text(block("how-to/nginx.md", "main.py"))

    def arguments(port: int) -> list[str]:
        environment = f"--setenv=PYTHONPATH={tmp_path}"
        return [program, f"--listen=127.0.0.1:{port}", environment, sys.executable, "-m", "fastserve", "main:app"]

    reply = httpx.get(f"http://127.0.0.1:{start_proxy(arguments)}/", timeout=PATIENCE)
    assert reply.json()["client"] == "127.0.0.1"


def start_container(command: StartCommand, folder: Path, argv: list[str], **changed: str) -> Command:
    """Run a container's command as a process here, with the tutorial's application and other addresses or times."""
    (folder / "main.py").write_text(block("tutorial/production.md", "main.py"))
    program, *arguments = " ".join(argv).replace("=", " ").split()
    assert program == "fastserve"
    for name, value in {"host": "127.0.0.1", **changed}.items():
        arguments[arguments.index(f"--{name}") + 1] = value
    server = command(*arguments, "--port", "0", cwd=folder)
    assert isinstance(server, Command)
    server.wait_line("running on")
    return server


def test_pod_is_probed_and_drained(command: StartCommand, tmp_path: Path) -> None:
    """What a kubelet does: probes until the pod is to end, then SIGTERM, while requests still arrive."""
    deployment, _ = yaml.safe_load_all(block("how-to/kubernetes.md", "app.yaml"))
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports["http"] == 8000  # the default, for the manifest has no --port
    assert f"--metrics-bind=0.0.0.0:{ports['metrics']}" in container["args"]
    startup, readiness, liveness = (
        container[f"{each}Probe"]["httpGet"] for each in ("startup", "readiness", "liveness")
    )
    changed = {"shutdown-delay": "1000", "metrics-bind": "127.0.0.1:0"}
    server = start_container(command, tmp_path, container["args"], **changed)
    bases = {"http": server.url, "metrics": server.wait_line(r"Metrics on (http://[^/]+)/metrics")[1]}

    def probed(probe: dict[str, str]) -> int:
        return httpx.get(bases[probe["port"]] + probe["path"], timeout=PATIENCE).status_code

    assert [probed(probe) for probe in (startup, readiness, liveness)] == [200, 200, 200]
    with httpx.Client(base_url=server.url, timeout=PATIENCE) as client:
        server.send_signal(signal.SIGTERM)
        server.wait_line("Serving on for 1000 s")
        assert [probed(probe) for probe in (readiness, liveness)] == [503, 200]
        late = client.get("/")
        assert (late.status_code, late.headers["connection"]) == (200, "close")
        assert client.get("/").status_code == 200  # on a new connection
    assert server.stop() == -signal.SIGTERM


def test_container_is_healthy_until_it_is_stopped(command: StartCommand, tmp_path: Path) -> None:
    """The Dockerfile's two commands, as the processes that they are."""
    check, argv = (json.loads(each) for each in re.findall(r"CMD (\[.*\])", block("how-to/docker.md", "Dockerfile")))
    server = start_container(command, tmp_path, argv)
    health = [sys.executable, *(each.replace("127.0.0.1:8000", f"127.0.0.1:{server.port}") for each in check[1:])]
    assert health[-1] != check[-1]
    assert subprocess.run(health, check=False).returncode == 0
    assert server.stop() == -signal.SIGTERM
    assert subprocess.run(health, check=False, capture_output=True).returncode == 1


def test_manifest_leaves_time_to_stop() -> None:
    deployment, service = yaml.safe_load_all(block("how-to/kubernetes.md", "app.yaml"))
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    options = dict(each[2:].split("=") for each in container["args"] if each.startswith("--"))
    stop = int(options["shutdown-delay"]) + int(options["timeout-graceful-shutdown"])
    assert stop + 5 <= pod["terminationGracePeriodSeconds"]
    assert service["spec"]["selector"] == deployment["spec"]["selector"]["matchLabels"]


def test_compose_file_waits_for_health() -> None:
    services = yaml.safe_load(block("how-to/docker.md", "compose.yaml"))["services"]
    assert services["proxy"]["depends_on"]["app"]["condition"] == "service_healthy"
    assert "HEALTHCHECK" in block("how-to/docker.md", "Dockerfile")
