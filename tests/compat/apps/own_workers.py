"""A program that starts its workers itself, as FastStream and SkyPilot do."""

from __future__ import annotations

import os
from typing import Any

import uvicorn
from uvicorn.supervisors.multiprocess import Multiprocess, Process


async def app(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(os.getpid()).encode()})


class OwnWorkers(Multiprocess):
    def init_processes(self) -> None:
        for _ in range(self.processes_num):
            self.processes.append(self.started())

    def started(self) -> Process:
        process = Process(self.config, sockets=self.sockets)
        process.start()
        return process

    def restart_all(self) -> None:
        for place, old in enumerate(self.processes):
            new = self.started()
            if not new.wait_until_ready(60, self.should_exit):
                raise RuntimeError("the new worker does not serve")
            old.terminate()
            old.join()
            self.processes[place] = new

    def handle_ttou(self) -> None:
        process = self.processes.pop()
        process.terminate()
        process.join()


if __name__ == "__main__":
    config = uvicorn.Config("compat.apps.own_workers:app", port=0, workers=2, lifespan="off")
    OwnWorkers(config, sockets=[config.bind_socket()]).run()
    print("run() has returned", flush=True)
