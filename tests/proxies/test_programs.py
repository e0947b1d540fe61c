"""nginx and HAProxy in front, in each mode, with every header forged by the client."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import front
import httpx
import pytest
import support

from .seen import started

pytestmark = pytest.mark.programs

FORGED = {
    "X-Forwarded-For": "6.6.6.6",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Port": "666",
    "X-Forwarded-Prefix": "/evil",
    "X-Real-IP": "6.6.6.6",
    "Forwarded": "for=6.6.6.6;proto=https;host=evil.example",
}
OTHER_HOST = (
    "proxy_set_header X-Forwarded-Host $http_host; proxy_set_header X-Forwarded-Port '';"
    " proxy_set_header Host internal; proxy_set_header X-Forwarded-Prefix /shop;"
)
# What nginx adds, which appends to X-Forwarded-For and to Forwarded, and the options for it.
NGINX: dict[str, tuple[str, dict[str, Any]]] = {
    "x-forwarded": (
        "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header X-Forwarded-Proto $scheme;",
        {},
    ),
    "hops": (
        "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header X-Forwarded-Proto $scheme;",
        {"forwarded_hops": 1, "forwarded_allow_ips": "*"},
    ),
    "host": (
        "proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Forwarded-Proto $scheme;" + OTHER_HOST,
        {"forwarded_host": True, "forwarded_prefix": True},
    ),
    "real-ip": (
        "proxy_set_header X-Real-IP $remote_addr; proxy_set_header X-Forwarded-Proto $scheme;",
        {"client_ip_header": "X-Real-IP"},
    ),
    "forwarded": (
        'proxy_set_header Forwarded "$http_forwarded, for=$remote_addr;proto=$scheme;host=$host";',
        {"proxy_headers_family": "forwarded", "forwarded_host": True},
    ),
}
HAPROXY: dict[str, tuple[str, str, str, dict[str, Any]]] = {
    "x-forwarded": ("http", "option forwardfor\n    http-request set-header X-Forwarded-Proto http", "", {}),
    "forwarded": (
        "http",
        "http-request add-header Forwarded for=%[src];proto=http;host=app.example",
        "",
        {"proxy_headers_family": "forwarded", "forwarded_host": True},
    ),
    "send-proxy": ("tcp", "", "send-proxy", {"proxy_protocol": "v1", "proxy_headers": False}),
    "send-proxy-v2": ("tcp", "", "send-proxy-v2", {"proxy_protocol": "v2", "proxy_headers": False}),
    "auto": ("tcp", "", "send-proxy-v2", {"proxy_protocol": "auto", "proxy_headers": False}),
}


@pytest.fixture
def folder() -> Iterator[Path]:
    with front.open_folder("proxies-") as path:
        yield path


@pytest.fixture
def start_proxy() -> Iterator[front.StartProxy]:
    with front.proxies() as start:
        yield start


def seen_through(port: int, scheme: str = "http", **options: Any) -> Any:
    """Return what the application sees of a client that forges, at 127.0.0.2."""
    transport = httpx.HTTPTransport(local_address="127.0.0.2", **options)
    with httpx.Client(transport=transport, timeout=support.PATIENCE) as client:
        response = client.get(f"{scheme}://127.0.0.1:{port}/p", headers={**FORGED, "Host": "app.example"})
    assert response.status_code == 200
    return json.loads(response.text)


@pytest.mark.parametrize("http", ["auto", "h11"])
@pytest.mark.parametrize("mode", list(NGINX))
def test_nginx(serve: support.Serve, folder: Path, start_proxy: front.StartProxy, mode: str, http: str) -> None:
    name = front.program("nginx")
    headers, options = NGINX[mode]
    headers += "" if mode == "host" else " proxy_set_header Host $host;"
    server = started(serve, "http1", http=http, **options)

    def arguments(port: int) -> list[str]:
        user = "user root;" if os.geteuid() == 0 else ""
        (folder / "nginx.conf").write_text(
            f"{user}\ndaemon off;\nmaster_process off;\npid {folder}/nginx.pid;\nerror_log stderr;\nevents {{}}\n"
            f"http {{ access_log off;\n{front.nginx_paths(folder)}\nserver {{ listen 127.0.0.1:{port};\nlocation / {{\n"
            f"{headers}\nproxy_pass http://127.0.0.1:{server.port};\n}} }} }}\n"
        )
        return [name, "-p", str(folder), "-c", "nginx.conf", "-e", "stderr"]

    found = seen_through(start_proxy(arguments))
    assert (found["client"][0], found["scheme"], found["host"]) == ("127.0.0.2", "http", "app.example")
    assert found["root_path"] == ("/shop" if mode == "host" else "")


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("http", ["auto", "h11"])
@pytest.mark.parametrize("mode", list(HAPROXY))
def test_haproxy(
    serve: support.Serve, folder: Path, start_proxy: front.StartProxy, mode: str, http: str, tls: bool
) -> None:
    """In TCP mode it passes TLS on after its header."""
    name = front.program("haproxy")
    kind, rules, sending, options = HAPROXY[mode]
    if tls:
        if kind == "http":
            return  # TLS ends at HAProxy
        options = {**options, "ssl_keyfile": str(folder / "key"), "ssl_certfile": str(folder / "cert")}
        make_certificate(folder)
    server = started(serve, "http1", http=http, **options)

    def arguments(port: int) -> list[str]:
        (folder / "haproxy.cfg").write_text(
            f"defaults\n    mode {kind}\n    timeout connect 60s\n    timeout client 60s\n    timeout server 60s\n"
            f"frontend web\n    bind 127.0.0.1:{port}\n    {rules}\n    default_backend app\n"
            f"backend app\n    server app 127.0.0.1:{server.port} {sending}\n"
        )
        return [name, "-db", "-f", str(folder / "haproxy.cfg")]

    extra: dict[str, Any] = {"verify": ssl._create_unverified_context()} if tls else {}
    found = seen_through(start_proxy(arguments), "https" if tls else "http", **extra)
    assert (found["client"][0], found["host"]) == ("127.0.0.2", "app.example")
    assert found["scheme"] == ("https" if tls else "http")
    assert ("fastserve.proxy_protocol" in found["extensions"]) is (kind == "tcp")


def make_certificate(folder: Path) -> None:
    subprocess.run(
        [front.program("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
         "-subj", "/CN=app", "-keyout", str(folder / "key"), "-out", str(folder / "cert")],
        check=True, capture_output=True,
    )  # fmt: skip


def test_star_lets_the_client_choose(serve: support.Serve) -> None:
    """What is warned of."""
    server = started(serve, "http1", forwarded_allow_ips="*")
    assert seen_through(server.port)["client"][0] == "6.6.6.6"
