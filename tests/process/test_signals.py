"""Signals: who handles them, what is left behind, and exit codes of real processes."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import support

import fastserve
from fastserve.process import signals
from fastserve.server import Server

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")

HEAD = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"


def server_of(app: Any = None) -> Server:
    return Server(fastserve.Config(app or "a:b", log_config=None, port=0, lifespan="off"))


def test_handlers_are_bound_methods_of_the_server() -> None:
    """Libraries find the server by them, and replace handle_exit on the class."""
    server = server_of()
    before = [signal.getsignal(number) for number in signals.HANDLED_SIGNALS]
    with server.capture_signals():
        for number in signals.HANDLED_SIGNALS:
            handler: Any = signal.getsignal(number)
            assert handler.__self__ is server
            assert handler == server.handle_exit
    assert [signal.getsignal(number) for number in signals.HANDLED_SIGNALS] == before


def test_handle_exit_replaced_on_the_class(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    original = Server.handle_exit

    def replacement(server: Server, sig: int, frame: Any) -> None:
        seen.append(sig)
        original(server, sig, frame)

    monkeypatch.setattr(Server, "handle_exit", replacement)
    server = server_of()
    with pytest.raises(KeyboardInterrupt), server.capture_signals():
        signal.raise_signal(signal.SIGINT)
    assert (seen, server.should_exit) == ([signal.SIGINT], True)


def test_raised_again_last_first() -> None:
    seen: list[int] = []
    previous = {
        number: signal.signal(number, lambda sig, frame: seen.append(sig)) for number in signals.HANDLED_SIGNALS
    }
    try:
        with server_of().capture_signals():
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGTERM)
            assert seen == []
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    assert seen == [signal.SIGTERM, signal.SIGINT]


def test_all_are_raised_again() -> None:
    """A KeyboardInterrupt at the first does not keep the others from being raised."""
    seen: list[int] = []

    def stopped_by_both() -> None:
        with server_of().capture_signals():
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGINT)

    previous = signal.signal(signal.SIGTERM, lambda sig, frame: seen.append(sig))
    try:
        with pytest.raises(KeyboardInterrupt):
            stopped_by_both()
    finally:
        signal.signal(signal.SIGTERM, previous)
    assert seen == [signal.SIGTERM]


def test_not_raised_again_when_the_block_fails() -> None:
    def fail() -> None:
        with server_of().capture_signals():
            signal.raise_signal(signal.SIGTERM)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()


def test_nothing_is_handled_outside_of_the_main_thread() -> None:
    handlers = []

    def work() -> None:
        with server_of().capture_signals():
            handlers.append(signal.getsignal(signal.SIGTERM))

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert handlers == [before]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2), (0, 2, 1), (1, 2, 0)])
def test_servers_that_end_in_any_order(order: tuple[int, ...]) -> None:
    """The signal is always that of the youngest server that runs, and in the end that of who had it before them all."""
    before = signal.getsignal(signal.SIGTERM)
    servers = [server_of() for _ in order]
    captures = [server.capture_signals() for server in servers]
    for capture in captures:
        capture.__enter__()
    for ended in range(len(order)):
        captures[order[ended]].__exit__(None, None, None)
        running = [servers[number] for number in range(len(order)) if number not in order[: ended + 1]]
        assert signal.getsignal(signal.SIGTERM) == (running[-1].handle_exit if running else before)


@pytest.mark.parametrize(
    ("sent", "should_exit", "force_exit"),
    [
        ([signal.SIGINT], True, False),
        ([signal.SIGTERM], True, False),
        ([signal.SIGINT, signal.SIGINT], True, True),
        ([signal.SIGTERM, signal.SIGINT], True, True),
        ([signal.SIGTERM, signal.SIGTERM], True, False),
        ([signal.SIGINT, signal.SIGTERM], True, False),
    ],
)
def test_handle_exit(sent: list[int], should_exit: bool, force_exit: bool) -> None:
    server = server_of()
    for number in sent:
        server.handle_exit(number, None)
    assert (server.should_exit, server.force_exit, server._captured_signals) == (should_exit, force_exit, sent)


def test_serve_in_a_loop_of_ones_own() -> None:
    """The signal reaches the handlers that were there before, once serve() is done."""
    seen: list[int] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        """Never called."""

    class Stopping(Server):
        async def on_tick(self, counter: int) -> bool:
            signal.raise_signal(signal.SIGTERM)
            return await super().on_tick(counter)

    previous = signal.signal(signal.SIGTERM, lambda sig, frame: seen.append(sig))
    try:
        asyncio.run(Stopping(fastserve.Config(app, log_config=None, port=0, lifespan="off")).serve())
    finally:
        signal.signal(signal.SIGTERM, previous)
    assert seen == [signal.SIGTERM]


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, -signal.SIGTERM), (signal.SIGINT, 0)])
def test_exit_codes_and_lines(start: support.StartCommand, loop: str, number: int, code: int) -> None:
    server = start("living", "--loop", loop)
    server.get()
    server.send_signal(number)
    assert server.wait() == code
    pid, port = server.pid, server.port
    assert server.stderr == [
        f"INFO:     Started server process [{pid}]",
        "INFO:     Waiting for application startup.",
        "INFO:     Application startup complete.",
        f"INFO:     Fastserve running on http://127.0.0.1:{port} (Press CTRL+C to quit)",
        "INFO:     Shutting down",
        "INFO:     Waiting for application shutdown.",
        "INFO:     Application shutdown complete.",
        f"INFO:     Finished server process [{pid}]",
    ]
    assert [server.stdout[0], *server.stdout[2:]] == ["application: startup", "application: shutdown"]
    assert re.fullmatch(r'INFO:     127\.0\.0\.1:\d+ - "GET / HTTP/1\.1" 200 OK', server.stdout[1])


def test_sighup_ends_a_single_process(start: support.StartCommand) -> None:
    server = start("app")
    server.wait_line("running on")
    assert server.stop(signal.SIGHUP) == -signal.SIGHUP


def test_user_signals_do_not_end_a_single_process(start: support.StartCommand) -> None:
    server = start("app")
    server.wait_line("running on")
    server.send_signal(signal.SIGUSR1)
    server.wait_line(r"^INFO:     Received SIGUSR1, but there are no log files to open again\.$")
    server.send_signal(signal.SIGUSR2)
    server.wait_line(r"^INFO:     Received SIGUSR2, which has no effect here\.$")
    assert server.get().startswith(b"HTTP/1.1 200")
    assert server.stop() == -signal.SIGTERM


def test_sigusr1_opens_log_files_again(start: support.StartCommand, tmp_path: Path) -> None:
    """What is logged after it is in the new file, and what was logged before in the one that has been moved away."""
    file, moved, settings = tmp_path / "server.log", tmp_path / "server.log.1", tmp_path / "log.json"
    handlers = {
        "file": {"class": "logging.FileHandler", "filename": str(file), "mode": "w"},
        "console": {"class": "logging.StreamHandler"},
    }
    logger = {"handlers": ["file", "console"], "level": "INFO"}
    settings.write_text(json.dumps({"version": 1, "handlers": handlers, "loggers": {"fastserve": logger}}))
    server = start("app", "--log-config", str(settings))
    server.wait_line("running on")
    file.rename(moved)
    server.send_signal(signal.SIGUSR1)
    server.wait_line(r"^Received SIGUSR1: 1 log file\(s\) opened again\.$")
    assert "running on" in moved.read_text()
    assert file.read_text() == "Received SIGUSR1: 1 log file(s) opened again.\n"
    server.send_signal(signal.SIGUSR1)
    server.wait_line("^Received SIGUSR1", count=2)
    assert len(file.read_text().splitlines()) == 2  # a file that nobody has moved goes on


def test_handlers_of_user_signals_stay(command: support.StartCommand, tmp_path: Path) -> None:
    """Those of faulthandler as well, which Python does not know of."""
    (tmp_path / "dumping.py").write_text(
        "import faulthandler, signal\nfaulthandler.register(signal.SIGUSR1)\nfrom shell_apps import app\n"
    )
    where = {"PYTHONPATH": support.APPS}
    server = command("dumping:app", "--port", "0", "--app-dir", str(tmp_path), env=where)
    server.wait_line("running on")
    server.send_signal(signal.SIGUSR1)
    server.wait_line("most recent call first")
    assert server.stop() == -signal.SIGTERM
    assert "Received SIGUSR1" not in server.output


def test_what_was_printed_is_not_lost(command: support.StartCommand, tmp_path: Path) -> None:
    """A process that dies by SIGTERM writes out what print() holds back in a pipe."""
    (tmp_path / "printing.py").write_text(
        "async def app(scope, receive, send):\n"
        "    print('not flushed')\n"
        "    await send({'type': 'http.response.start', 'status': 204})\n"
        "    await send({'type': 'http.response.body'})\n"
    )
    server = command("printing:app", "--port", "0", "--lifespan", "off", "--no-access-log", cwd=tmp_path)
    server.get()
    assert server.stop() == -signal.SIGTERM
    assert server.stdout == ["not flushed"]


def test_graceful_stop_waits_for_the_response(start: support.StartCommand, tmp_path: Path) -> None:
    """A background task goes on after SIGTERM, and the server ends after it."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    server = start("after_response", "--lifespan", "off", env={"GATE": str(gate)})
    assert server.get().endswith(b"done")
    server.wait_line("application: working")
    server.send_signal(signal.SIGTERM)
    server.wait_line(r"INFO:     Waiting for background tasks to complete\. \(CTRL\+C to force quit\)")
    with gate.open("wb"):
        """Opening it and closing it is all that the application waits for."""
    assert server.wait() == -signal.SIGTERM
    assert "application: worked" in server.stdout


def test_second_sigint_does_not_wait(start: support.StartCommand) -> None:
    server = start("endless", "--lifespan", "off")
    with server.connect() as client:
        client.sendall(HEAD)
        assert client.recv(1) == b"H"
        server.send_signal(signal.SIGINT)
        server.wait_line(r"INFO:     Waiting for connections to close\. \(CTRL\+C to force quit\)")
        server.send_signal(signal.SIGINT)
        assert server.wait() == 0
    assert "application: cancelled, Task cancelled, server forced to exit" in server.stdout


def test_second_sigterm_waits_on(start: support.StartCommand) -> None:
    """It is not a second SIGINT: the response that has no end goes on, until a SIGINT after all."""
    server = start("endless", "--lifespan", "off", "--timeout-graceful-shutdown", "1000")
    with server.connect() as client:
        client.sendall(HEAD)
        assert client.recv(1) == b"H"
        server.send_signal(signal.SIGTERM)
        server.wait_line("Waiting for connections to close")
        server.send_signal(signal.SIGTERM)
        with pytest.raises(AssertionError, match="still running"):
            server.wait(0.5)
        server.send_signal(signal.SIGINT)
        assert server.wait() == -signal.SIGTERM


def test_second_sigint_skips_the_applications_shutdown(start: support.StartCommand) -> None:
    server = start("deaf")
    server.wait_line("running on")
    server.send_signal(signal.SIGINT)
    server.wait_line("application: stopping")
    server.send_signal(signal.SIGINT)
    assert server.wait() == 0


def test_sigint_during_startup(start: support.StartCommand) -> None:
    """The first lets the application finish starting; the second ends the wait, and the server has never started."""
    server = start("silent")
    server.wait_line("application: starting")
    server.send_signal(signal.SIGINT)
    with pytest.raises(AssertionError, match="still running"):
        server.wait(0.3)
    server.send_signal(signal.SIGINT)
    assert server.wait() == 3
    assert "unsupported" not in server.output
    assert "Traceback" not in server.output
