"""What the tests of the control socket share."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import support


class Controlled:
    """A server with a control socket."""

    def __init__(self, command: support.Command, path: Path) -> None:
        self.command = command
        self.path = path

    def connect(self) -> socket.socket:
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(support.PATIENCE)
        client.connect(str(self.path))
        return client

    def text(self, target: str, method: str = "GET") -> tuple[int, str]:
        with self.connect() as client:
            client.sendall(f"{method} {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            head, _, body = support.read_all(client).partition(b"\r\n\r\n")
        return int(head.split()[1]), body.decode()

    def get(self, target: str) -> Any:
        status, text = self.text(target)
        assert status == 200, text
        return json.loads(text)

    def post(self, target: str) -> Any:
        status, text = self.text(target, "POST")
        assert status == 200, text
        return json.loads(text)

    def refusal(self, target: str, method: str = "POST") -> tuple[int, str]:
        status, text = self.text(target, method)
        return status, json.loads(text)["error"]

    def pids(self) -> list[int]:
        """Return the pids of the workers that are ready."""
        return [each["pid"] for each in self.get("/workers") if each["state"] == "ready"]

    def until(self, true: Callable[[], Any]) -> Any:
        return until(true)


def until(true: Callable[[], Any]) -> Any:
    """Return what the function returns once that is true."""
    end = time.monotonic() + support.PATIENCE
    while not (found := true()):
        assert time.monotonic() < end
        time.sleep(0.02)
    return found
