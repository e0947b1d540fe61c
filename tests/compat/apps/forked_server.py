"""A program that serves in a process of multiprocessing's, terminates it and tells its exit code."""

from __future__ import annotations

import multiprocessing
from typing import Any

import uvicorn


async def app(scope: Any, receive: Any, send: Any) -> None:
    raise AssertionError("nothing is asked")


class Announcing(uvicorn.Server):
    listens: Any

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets=sockets)
        self.listens.set()


if __name__ == "__main__":
    context = multiprocessing.get_context("fork")
    server = Announcing(uvicorn.Config(app, port=0, lifespan="off"))
    server.listens = context.Event()
    process = context.Process(target=server.run)
    process.start()
    server.listens.wait()
    process.terminate()
    process.join()
    print(f"exit code {process.exitcode}", flush=True)
