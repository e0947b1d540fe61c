"""An application that says which package it gets under uvicorn's name."""

from __future__ import annotations

import json
from typing import Any

import uvicorn


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": json.dumps({"uvicorn": uvicorn.__name__}).encode()})
