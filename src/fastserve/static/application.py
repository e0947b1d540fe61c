"""Static files before an application, for protocols outside the core."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from fastserve.static.files import Answer, StaticFiles

if TYPE_CHECKING:
    from fastserve._types import ASGI3Application, Receive, Scope, Send

BLOCK = 1 << 18


class StaticApplication:
    """Responds to requests for static files, and leaves all others to an application."""

    def __init__(self, files: StaticFiles, app: ASGI3Application, root_path: str) -> None:
        self.files = files
        self.app = app
        self.prefix = len(root_path.encode())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            path = scope["raw_path"][self.prefix :]
            answer = self.files.answer(scope["method"], path, list(scope["headers"]))
            if answer is not None:
                return await respond(answer, send)
        return await self.app(scope, receive, send)


async def respond(answer: Answer, send: Send) -> None:
    try:
        await send(
            {"type": "http.response.start", "status": answer.status, "headers": answer.headers, "trailers": False}
        )
        if answer.fd < 0:
            await send({"type": "http.response.body", "body": answer.body, "more_body": False})
            return
        left, offset = answer.size, answer.offset
        while True:
            block = await asyncio.get_running_loop().run_in_executor(None, read, answer.fd, min(left, BLOCK), offset)
            if not block and left:
                raise RuntimeError("the file ended before all of the announced bytes were sent")
            left -= len(block)
            offset += len(block)
            await send({"type": "http.response.body", "body": block, "more_body": left > 0})
            if not left:
                return
    finally:
        if answer.fd >= 0:
            os.close(answer.fd)


def read(fd: int, size: int, offset: int) -> bytes:
    if hasattr(os, "pread"):
        return os.pread(fd, size, offset)
    os.lseek(fd, offset, os.SEEK_SET)
    return os.read(fd, size)
