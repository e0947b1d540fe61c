"""Asking a server: at its control socket, or at the address of its metrics."""

from __future__ import annotations

import http.client
import json
import socket
from typing import Any
from urllib.parse import urlsplit

LONGEST_SECONDS = 15.0  # for a response; the server gives up before


class Failed(Exception):
    """Nothing responds there, or not as a server of ours does."""


class OverUnixSocket(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=LONGEST_SECONDS)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Client:
    """Asks a server whose control socket is at a path, or whose metrics are at a URL."""

    def __init__(self, place: str) -> None:
        self.place = place
        self.is_url = place.startswith(("http://", "https://"))

    def ask(self, method: str, target: str) -> tuple[int, str]:
        """Return status and text of a response. Raises Failed."""
        connection = self.connection()
        try:
            connection.request(method, target)
            response = connection.getresponse()
            return response.status, response.read().decode("utf-8", "replace")
        except (OSError, http.client.HTTPException) as exc:
            raise Failed(f"no response from {self.place}: {getattr(exc, 'strerror', None) or exc}") from None
        finally:
            connection.close()

    def get(self, target: str) -> Any:
        """Return the JSON of a response. Raises Failed."""
        status, text = self.ask("GET", target)
        try:
            found = json.loads(text)
        except ValueError:
            found = None
        if status != 200 or found is None:
            raise Failed(f"{self.place}{target} responds with {status}")
        return found

    def connection(self) -> http.client.HTTPConnection:
        if not self.is_url:
            if not hasattr(socket, "AF_UNIX"):
                raise Failed("no unix sockets on this platform")
            return OverUnixSocket(self.place)
        parts = urlsplit(self.place)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        try:
            return kind(parts.hostname or "", parts.port, timeout=LONGEST_SECONDS)
        except ValueError as exc:
            raise Failed(f"invalid URL {self.place}: {exc}") from None
