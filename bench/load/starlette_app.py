"""The Starlette application of the rows: a plain-text page behind its router and default middleware, and a file."""

from __future__ import annotations

import tempfile

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse
from starlette.routing import Route

from bench.load.apps import MEGABYTE

file = tempfile.NamedTemporaryFile(suffix=".txt")  # noqa: SIM115  # it is there as long as the server
file.write(MEGABYTE)
file.flush()


async def hello(request: Request) -> PlainTextResponse:
    return PlainTextResponse("Hello, World!")


async def send_file(request: Request) -> FileResponse:
    return FileResponse(file.name)


app = Starlette(routes=[Route("/", hello), Route("/file", send_file)])
