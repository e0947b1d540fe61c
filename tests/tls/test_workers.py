"""TLS on two workers: each of them serves, and SIGHUP brings in a new certificate without a failed request."""

from __future__ import annotations

import contextlib
import shutil
import ssl
import threading
from collections.abc import Callable
from typing import Any

import httpx
import pytest
import support
from fakes.worker import hello as answering
from supervisors.clients import TIMEOUT, Visitors, ready, replace_workers, stopped
from tls.pki import Pki, TlsRunning

REQUEST = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"


def test_a_handshake_that_is_under_way_when_a_worker_retires(serve: Callable[..., TlsRunning]) -> None:
    """Its connection gets its response before the server stops."""
    server = serve(answering())
    looks = threading.Semaphore(0)  # at whether it is time to stop

    async def look(counter: int) -> None:
        looks.release()

    server.server._notify = look  # type: ignore[method-assign]
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = server.context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    sock = server.connect_plain()
    while True:
        try:
            client.do_handshake()  # the server waits for the rest of it, which is sent later
            break
        except ssl.SSLWantReadError:
            sock.sendall(outgoing.read())
            incoming.write(sock.recv(65536))
    server.server.retire()
    while looks.acquire(blocking=False):
        pass
    for _ in range(5):
        assert looks.acquire(timeout=60)
    client.write(REQUEST)
    sock.sendall(outgoing.read())
    answer = b""
    while not answer.endswith(b"hello"):
        incoming.write(sock.recv(65536))
        with contextlib.suppress(ssl.SSLWantReadError):
            answer += client.read()
    assert b"\r\nconnection: close\r\n" in answer


@pytest.mark.slow
def test_workers(pki: Pki, command: support.StartCommand, start: support.StartCommand) -> None:
    certificate, key = pki.issue("before")
    files = ["--ssl-certfile", certificate, "--ssl-keyfile", key]
    patient = ("--timeout-worker-healthcheck", "60")  # with workers that this test has stopped
    server = start("app", "--workers", "2", "--log-level", "debug", "--no-access-log", *patient, *files)
    context = ssl.create_default_context(cafile=pki.ca)
    url = f"https://localhost:{server.port}"

    def new_client() -> httpx.Client:
        return httpx.Client(base_url=url, verify=context, timeout=TIMEOUT, trust_env=False)

    def check(client: httpx.Client) -> None:
        assert client.get("/").json()["path"] == "/"
        assert client.get("/", headers={"Connection": "close"}).status_code == 200

    def name_of_the_server() -> str:
        with context.wrap_socket(server.connect(), server_hostname="localhost") as sock:
            found = sock.getpeercert()
        assert found is not None
        subject: Any = found["subject"]
        return str(dict(pair for (pair,) in subject)["commonName"])

    pids = ready(server, 2)
    for sleeper in pids:
        with stopped(sleeper), new_client() as client:  # the other one responds
            check(client)
    assert name_of_the_server() == "before"
    with Visitors(new_client, check) as visitors:
        for new, old in zip(pki.issue("after"), (certificate, key), strict=True):
            shutil.copyfile(new, old)
        replace_workers(server, pids)
        visitors.wait(3)
    assert visitors.failures == []
    assert {name_of_the_server() for _ in range(8)} == {"after"}
    assert server.stop() == 0
    assert [line for line in server.lines if line.startswith(("ERROR", "WARNING"))] == []
