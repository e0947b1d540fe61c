"""What the access log leaves out, ids, slow requests, and the general log as JSON and for the journal."""

from __future__ import annotations

from pathlib import Path

import pytest
import support

APP = """
import logging

async def app(scope, receive, send):
    if scope["type"] != "http":
        raise RuntimeError("http only")
    if scope["path"] == "/raise":
        raise ValueError("first\\nsecond")
    if scope["path"] == "/extra":
        logging.getLogger("fastserve.error").warning("watch %s", "out", extra={"user": "me", "odd": object})
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


def test_log_slow(run: support.StartCommand) -> None:
    """Nothing is said of a request that is quick enough; tests/core/http has those that are not."""
    server = run("--log-slow", "30")
    server.get("/")
    server.stop()
    assert "Slow request" not in server.output
