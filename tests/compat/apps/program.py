"""A program as there are many: it imports uvicorn, patches what it logs, and runs a server of its own."""

from __future__ import annotations

import json
import logging
import multiprocessing
import subprocess
import sys
from typing import Any

import uvicorn
from uvicorn.config import LOGGING_CONFIG, Config
from uvicorn.server import Server

LOGGING_CONFIG["formatters"]["access"]["fmt"] = "ACCESS " + LOGGING_CONFIG["formatters"]["access"]["fmt"]


def name_of_uvicorn(queue: Any = None) -> str:
    name: str = uvicorn.__name__
    if queue is not None:
        queue.put(name)
    return name


def spawned() -> str:
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=name_of_uvicorn, args=(queue,))
    process.start()
    name: str = queue.get(timeout=60)
    process.join(20)
    return name


async def app(scope: Any, receive: Any, send: Any) -> None:
    version = subprocess.run([sys.executable, "-m", "uvicorn", "--version"], capture_output=True, text=True, check=True)
    seen = {"here": name_of_uvicorn(), "spawned": spawned(), "version": version.stdout}
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": json.dumps(seen).encode()})


class QuietServer(Server):
    def install_signal_handlers(self) -> None:
        """As programs for uvicorn before 0.29 have it."""


def main() -> None:
    config = Config(app, port=0, lifespan="off")
    logging.getLogger("uvicorn.access").addFilter(lambda record: "secret" not in record.getMessage())
    logging.getLogger("uvicorn.error").info("a line of the program's own")
    QuietServer(config).run()


if __name__ == "__main__":
    main()
