"""One request of a WSGI application in a thread of the caller's executor, as in uvicorn."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from typing import Any

from fastserve._core.wsgi.environ import Environs
from fastserve._types import Message, Receive, Scope, Send

Headers = Iterable[tuple[str, str]]

environs = Environs(True, True, None)


def build_environ(scope: Scope, message: Message, body: io.BytesIO) -> dict[str, Any]:
    """Return the environ of a request whose body has been read into `body`. `message` is ignored."""
    return environs.make(scope, body)


class WSGIResponder:
    """An ASGI 2 application instance: calls the WSGI application `app`, in `executor`, for the request of `scope`.

    The body is read in full first. Raises what the application raises.
    """

    def __init__(self, app: Callable[..., Iterable[bytes]], executor: Executor, scope: Scope) -> None:
        self.app = app
        self.executor = executor
        self.scope = scope

    async def __call__(self, receive: Receive, send: Send) -> None:
        body = io.BytesIO()
        message: Message = {"more_body": True}
        while message.get("more_body", False):
            message = await receive()
            body.write(message.get("body", b""))
        body.seek(0)
        loop = asyncio.get_running_loop()

        def send_now(message: Message) -> None:
            asyncio.run_coroutine_threadsafe(sent(message), loop).result()

        async def sent(message: Message) -> None:
            await send(message)

        environ = build_environ(self.scope, message, body)
        await loop.run_in_executor(self.executor, self.wsgi, environ, send_now)

    def wsgi(self, environ: dict[str, Any], send: Callable[[Message], None]) -> None:
        """Call the application, in the thread. `send` returns once the message has been sent."""
        head: Message | None = None
        sent = False

        def start_response(status: str, headers: Headers, exc_info: Any = None) -> Callable[[bytes], None]:
            nonlocal head
            if sent and exc_info is not None:
                raise exc_info[1].with_traceback(exc_info[2])
            if head is not None and exc_info is None:
                raise RuntimeError("start_response() was called again without exc_info")
            fields = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
            head = {"type": "http.response.start", "status": int(status[:3]), "headers": fields}
            return write

        def write(piece: bytes) -> None:
            nonlocal sent
            if head is None:
                raise RuntimeError("start_response() was not called")
            if not sent:
                sent = True
                send(head)
            if piece:
                send({"type": "http.response.body", "body": piece, "more_body": True})

        pieces = self.app(environ, start_response)
        try:
            for piece in pieces:
                write(piece)
            write(b"")
        finally:
            close = getattr(pieces, "close", None)
            if close is not None:
                close()
        send({"type": "http.response.body", "body": b"", "more_body": False})
