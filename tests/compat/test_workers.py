"""Real applications on two workers: each of them serves all of it, and replacing them costs no request."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx
import pytest
from compat.conftest import TIMEOUT, Start
from process.clients import ready
from support import Command

Check = Callable[[httpx.Client], None]


def fastapi(client: httpx.Client) -> None:
    item = {"name": "cup", "price": 1.5, "tags": ["blue"]}
    assert client.get("/").json() == {"hello": "world"}
    assert client.post("/items", json=item).json() == item
    assert client.post("/items", json={"name": "cup", "price": -1}).status_code == 422


def django(client: httpx.Client) -> None:
    assert client.get("/").text == "hello from a view in a thread"
    assert client.post("/json/", json={"a": [1]}).json() == {"took": {"a": [1]}}
    assert client.get("/stream/").text.count("\n") == 500


APPS = [("fastapi_app:app", fastapi), ("django_app:application", django)]


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """Have a process stand still while the block runs."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def new_client(server: Command) -> httpx.Client:
    return httpx.Client(base_url=server.url, timeout=TIMEOUT, trust_env=False)


class Visitors:
    """Threads that check an application again and again while the block runs, each on a connection that it keeps."""

    def __init__(self, server: Command, check: Check) -> None:
        self.failures: list[str] = []
        self.more = threading.Semaphore(0)  # released at the end of each round
        self.ending = threading.Event()
        self.threads = [threading.Thread(target=self.visit, args=(server, check)) for _ in range(3)]

    def visit(self, server: Command, check: Check) -> None:
        with new_client(server) as client:
            while not self.ending.is_set():
                try:
                    check(client)
                except Exception as exc:
                    self.failures.append(f"{type(exc).__name__}: {exc}")
                    self.ending.set()
                self.more.release()

    def wait(self, rounds: int) -> None:
        for _ in range(rounds):
            assert self.more.acquire(timeout=TIMEOUT), self.failures

    def __enter__(self) -> Visitors:
        for thread in self.threads:
            thread.start()
        self.wait(3)
        return self

    def __exit__(self, *exc: object) -> None:
        self.ending.set()
        for thread in self.threads:
            thread.join(TIMEOUT)


@pytest.mark.parametrize(("app", "check"), APPS)
def test_application(start: Start, app: str, check: Check) -> None:
    server = start(app, "--workers", "2", "--log-level", "debug", "--no-access-log")
    first, second = ready(server, 2)
    for sleeper in (first, second):
        with stopped(sleeper), new_client(server) as client:  # the other one answers
            check(client)
    with Visitors(server, check) as visitors:
        server.send_signal(signal.SIGHUP)
        for old in (first, second):
            server.wait_line(rf"takes over from child process \[{old}\]")
            server.wait_line(rf"Finished server process \[{old}\]")
        visitors.wait(3)
    assert visitors.failures == []
    assert server.stop() == 0
    assert [line for line in server.lines if line.startswith(("ERROR", "WARNING"))] == []
