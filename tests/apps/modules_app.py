"""An application that loads nothing itself, and responds with the names of all modules that the server has loaded."""

import sys


async def app(scope, receive, send):  # type: ignore[no-untyped-def]
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": " ".join(sys.modules).encode()})
