"""Node's ws and Chromium against the compiled WebSocket; where one is not installed its test is skipped and says so."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import Command
from support import command as start_command
from websockets.sync.client import ClientConnection, connect

from .conftest import TIMEOUT, Start

pytestmark = pytest.mark.programs

SCRIPT = Path(__file__).parent / "apps" / "websocket_client.mjs"
NODE_WS = "ws@8"
DEBIAN_MODULES = Path("/usr/share/nodejs")  # where Debian's package node-ws is


def program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


@pytest.fixture(scope="module")
def node_path(pytestconfig: pytest.Config) -> Path:
    """The folder in which Node finds ws: that of Debian's package, or one where npm puts it."""
    program("node")
    if (DEBIAN_MODULES / "ws").is_dir():
        return DEBIAN_MODULES
    folder = pytestconfig.cache.mkdir("node")
    if not (folder / "node_modules" / "ws").is_dir():
        npm = program("npm")
        command = [npm, "install", "--no-audit", "--no-fund", "--no-save", "--prefix", str(folder), NODE_WS]
        result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        if result.returncode:
            pytest.skip(f"npm cannot install ws: {result.stderr.strip().splitlines()[-1:]}")
    return folder / "node_modules"


def test_node(start: Start, node_path: Path) -> None:
    server = start("websocket_app:app")
    command = [program("node"), str(SCRIPT), server.url.replace("http", "ws", 1)]
    environment = {**os.environ, "NODE_PATH": str(node_path)}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=2 * TIMEOUT, check=False)
    assert result.returncode == 0, result.stderr
    outcome = json.loads(result.stdout)
    for name, extension in (("plain", False), ("deflated", True), ("small", True)):
        found = outcome[name]
        assert found["same"] == [True] * 5
        assert (found["pong"], found["code"]) == ("are you there", 4001)
        assert ("permessage-deflate" in found["extensions"]) == extension
    assert outcome["inOrder"] == 2000
    assert outcome["refused"] == {"status": 402, "text": "pay first", "why": "not you"}
    assert outcome["left"] == {"code": 4002, "reason": "geschloßen"}


class Page:
    """A page of a headless Chromium, driven over the DevTools protocol."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._calls = 0
        self._session: dict[str, str] = {}

    def call(self, method: str, **parameters: Any) -> Any:
        """Call a method of the protocol and return its result."""
        self._calls += 1
        message = {"id": self._calls, "method": method, "params": parameters, **self._session}
        self._connection.send(json.dumps(message))
        while (answer := json.loads(self._connection.recv(TIMEOUT))).get("id") != self._calls:
            pass
        assert "error" not in answer, answer
        return answer["result"]

    def open(self, url: str) -> dict[str, str]:
        """Show a page in a new window; return that when it has loaded."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = {"sessionId": self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]}
        self.call("Page.enable")
        self.call("Page.navigate", url=url)
        self._load()
        return self._session

    def reload(self) -> None:
        """Load the page again, and return when it has loaded."""
        self.call("Page.reload")
        self._load()

    def _load(self) -> None:
        while json.loads(self._connection.recv(TIMEOUT)).get("method") != "Page.loadEventFired":
            pass

    def turn_to(self, window: dict[str, str]) -> None:
        """Go on with a window that open() has returned."""
        self._session = window

    def run(self, script: str) -> Any:
        """Evaluate an expression in the page, wait for it if it is a promise, and return its value."""
        answer = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait(self, condition: str) -> None:
        """Return when a JavaScript expression about the document is true."""
        script = f"""new Promise((resolve, reject) => {{
            const check = () => {{ if ({condition}) {{ observer.disconnect(); resolve(); }} }};
            const observer = new MutationObserver(check);
            observer.observe(document, {{ subtree: true, childList: true, attributes: true, characterData: true }});
            setTimeout(() => reject(document.body.innerText), {TIMEOUT * 1000});
            check();
        }})"""
        self.run(script)


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    # A browser that runs as root, as CI may, needs to be told to do without its sandbox.
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    arguments = ["--headless", "--disable-gpu", "--remote-debugging-port=0", f"--user-data-dir={tmp_path}"]
    browser = Command([program("chromium"), *arguments, "--no-first-run", *sandbox, "about:blank"])
    try:
        address = browser.wait_line(r"DevTools listening on (ws://\S+)")[1]
        with connect(address, proxy=None, max_size=None) as connection:
            yield Page(connection)
            connection.send(json.dumps({"id": 0, "method": "Browser.close"}))
        browser.wait()
    finally:
        browser.close()


@pytest.fixture
def demo() -> Iterator[Command]:
    server = start_command("fastserve.demo:app", "--port", "0")
    yield server
    server.close()


STATE = "document.getElementById('ws-status').dataset.state"
LOG = "document.getElementById('ws-log').textContent"
COUNT_CHANGES = """
    window.changes = 0;
    new MutationObserver(() => changes++).observe(document.getElementById("room-windows"), { childList: true });
"""


def test_the_room_of_the_demo_in_two_windows(page: Page) -> None:
    """Windows of two workers see one another, and what is said; one that is loaded again comes back silently."""
    server = start_command("fastserve.demo:app", "--workers", "2", "--port", "0")
    try:
        windows: dict[str, dict[str, str]] = {}  # by what they say of their worker
        opened = 0
        while len(windows) < 2:
            window = page.open(f"{server.url}/")
            opened += 1
            page.wait("document.getElementById('room-status').dataset.state === 'open'")
            windows.setdefault(page.run("document.getElementById('room-status').textContent"), window)
        one, two = windows.values()
        for window in (one, two):
            page.turn_to(window)
            page.wait(f"document.getElementById('room-windows').children.length === {opened}")
        page.run("document.getElementById('room-text').value = 'grüße <b>'")
        page.run("document.getElementById('room-form').requestSubmit()")
        page.wait(f"document.getElementById('room-log').textContent.includes('{opened} of {opened} windows')")
        page.turn_to(one)
        page.wait("document.getElementById('room-log').textContent.includes('grüße <b>')")
        assert "worker" in page.run("document.getElementById('room-log').textContent")
        page.run(COUNT_CHANGES)
        page.turn_to(two)
        page.reload()
        page.wait("document.getElementById('room-status').dataset.state === 'open'")
        page.run("document.getElementById('room-form').requestSubmit()")
        page.turn_to(one)
        page.wait("document.getElementById('room-log').children.length === 2")
        assert page.run("changes") == 0
    finally:
        server.close()


def test_the_demo_in_chromium(page: Page, demo: Command) -> None:
    page.open(f"{demo.url}/")
    page.wait(f"{STATE} === 'open'")
    for text in ("Hello", "grüße 😀"):
        page.run(f"document.getElementById('ws-text').value = {json.dumps(text)}")
        page.run("document.getElementById('ws-form').requestSubmit()")
        page.wait(f"/^{text}  \\([\\d.]+ ms\\)$/m.test({LOG})")
    demo.send_signal(signal.SIGTERM)
    page.wait(f"{STATE} === 'closed'")
    assert page.run("document.getElementById('ws-status').textContent") == "Closed, code 1012"
    assert demo.wait() == -signal.SIGTERM


SCRIPT_OF_A_PAGE = """new Promise((resolve) => {
    const socket = new WebSocket(new URL("/echo", location.href.replace("http", "ws")));
    const sent = [new Uint8Array(1 << 20).map((_, index) => index * 7), "ä".repeat(100000), new Uint8Array(0), ""];
    const same = [];
    socket.binaryType = "arraybuffer";
    socket.onopen = () => sent.forEach((payload) => socket.send(payload));
    socket.onmessage = ({ data }) => {
        const payload = sent[same.length];
        same.push(typeof data === "string"
            ? data === payload
            : data.byteLength === payload.length && new Uint8Array(data).every((byte, at) => byte === payload[at]));
        if (same.length === sent.length) socket.close(4000, "done");
    };
    socket.onclose = ({ code, wasClean }) => resolve({ same, code, wasClean, extensions: socket.extensions });
})"""


def test_messages_of_a_page_in_chromium(page: Page, demo: Command) -> None:
    page.open(f"{demo.url}/")
    outcome = page.run(SCRIPT_OF_A_PAGE)
    assert outcome.pop("extensions").startswith("permessage-deflate")
    assert outcome == {"same": [True] * 4, "code": 4000, "wasClean": True}
