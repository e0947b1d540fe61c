"""WSGI applications that tests serve by the command."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def say(text: str) -> None:
    print(text, flush=True)


def app(environ: dict[str, Any], start_response: Any) -> Any:
    """/gate works until somebody opens the pipe that $GATE names, /hang for ever, /stream after its first piece."""
    path = environ["PATH_INFO"]
    if path == "/gate":
        say("application: working")
        Path(os.environ["GATE"]).read_bytes()
        say("application: worked")
    elif path == "/hang":
        say("application: hanging")
        threading.Event().wait()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return stream() if path == "/stream" else [threading.current_thread().name.encode()]


def stream() -> Iterator[bytes]:
    try:
        yield b"piece"
        Path(os.environ["GATE"]).read_bytes()
        while True:
            yield b"more"
    finally:
        say("application: closed")
