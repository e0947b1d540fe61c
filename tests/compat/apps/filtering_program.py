"""A program that silences its health checks before it imports uvicorn, as many do."""

from __future__ import annotations

import logging
from typing import Any

logging.getLogger("uvicorn.access").addFilter(lambda record: "/health" not in record.getMessage())

import uvicorn  # noqa: E402


async def app(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body"})


if __name__ == "__main__":
    uvicorn.run(app, port=0, lifespan="off")
