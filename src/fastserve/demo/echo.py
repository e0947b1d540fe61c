"""/echo: a WebSocket that sends back what it receives."""

from __future__ import annotations

from fastserve.demo import pages
from fastserve.demo.asgi import Receive, Scope, Send


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Accept the WebSocket, and echo text as text and bytes as bytes until the client closes."""
    await receive()
    await send({"type": "websocket.accept"})
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            return
        text = message.get("text")
        if text is not None:
            await send({"type": "websocket.send", "text": text})
        else:
            await send({"type": "websocket.send", "bytes": message["bytes"]})


async def reject(scope: Scope, receive: Receive, send: Send) -> None:
    """Refuse a WebSocket that has no handler; the server responds with 403."""
    await receive()
    await send({"type": "websocket.close"})


async def without_upgrade(scope: Scope, receive: Receive, send: Send) -> None:
    """Tell a client that got here by plain HTTP that it must upgrade (RFC 9110, section 15.5.22)."""
    text = "This address is a WebSocket. The server took the request as plain HTTP and did not upgrade it."
    await pages.refuse(scope, send, 426, text, ((b"upgrade", b"websocket"), (b"connection", b"upgrade")))
