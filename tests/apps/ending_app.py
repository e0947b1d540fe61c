"""An application that says what becomes of its process at the end; it has no lifespan."""

from __future__ import annotations

import asyncio
import atexit
import multiprocessing
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

kept: list[object] = []
fork = multiprocessing.get_context("fork")


def say(text: str) -> None:
    print(text, flush=True)


def leave() -> None:
    print(f"exit handler in {os.getpid()}")  # left to the end of the process to write
    if os.environ.get("BLOCKING") == "handler":
        threading.Event().wait()


class Large:
    """What Python takes long to take down, after all exit handlers, as it does the modules of a large program."""

    def __del__(self, sleep: Any = time.sleep) -> None:
        sleep(60)


def sleep() -> None:
    say(f"child {os.getpid()}")
    while True:
        time.sleep(60)


atexit.register(leave)
if os.environ.get("SLOW_IMPORT"):
    try:
        say(f"importing in {os.getpid()}")
        sleep()
    finally:
        say("import left")


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Respond with the process's id; the path may ask for something to be there at the end."""
    if scope["type"] != "http":
        raise RuntimeError("http only")
    path = scope["path"]
    body = str(os.getpid())
    if path == "/daemon":
        child = fork.Process(target=sleep, daemon=True)
        child.start()
        body = str(child.pid)
    elif path == "/terminate":
        child = fork.Process(target=sleep)
        child.start()
        child.terminate()
        await asyncio.get_running_loop().run_in_executor(None, child.join)
        body = str(child.exitcode)
    elif path == "/large":
        kept.append(Large())
    elif path == "/thread":
        threading.Thread(target=threading.Event().wait).start()
    elif path == "/task":
        kept.append(asyncio.ensure_future(staying()))
    elif path == "/gate":
        say(f"waiting in {os.getpid()}")
        await asyncio.get_running_loop().run_in_executor(None, Path(os.environ["GATE"]).read_bytes)
    length = str(len(body)).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]})
    await send({"type": "http.response.body", "body": body.encode()})


async def staying() -> None:
    try:
        await asyncio.Event().wait()
    finally:
        say(f"task left in {os.getpid()}")


def serve(module: str) -> None:
    """Be a program that serves with `run()` of a module, or awaits `serve()` in a loop of its own."""
    name, _, how = module.partition(":")
    server: Any = __import__(name)
    config = server.Config(app, port=0, lifespan="off")
    try:
        if how == "serve":
            asyncio.run(server.Server(config).serve())
        elif how == "Server":
            server.Server(config).run()
        else:
            server.run(app, port=0, lifespan="off")
        say("after run")
    finally:
        say("finally")


if __name__ == "__main__":
    if os.environ.get("FIRST"):
        os.getpid = lambda: 1
    signal.signal(signal.SIGINT, signal.default_int_handler)
    serve(sys.argv[1])
