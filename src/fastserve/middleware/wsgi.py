"""WSGIMiddleware: a WSGI application as an ASGI one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from fastserve._core.http.exchange import HttpExchange
from fastserve._core.wsgi.call import WSGIApplication
from fastserve._core.wsgi.environ import Environs
from fastserve._types import Message, Receive, Scope, Send
from fastserve.wsgi.call import ServedCall
from fastserve.wsgi.files import FileWrapper
from fastserve.wsgi.inline import InlineCall
from fastserve.wsgi.responder import WSGIResponder, build_environ
from fastserve.wsgi.threads import Threads

__all__ = ["WSGIMiddleware", "WSGIResponder", "build_environ"]

BODY_HEADERS = (b"content-length", b"transfer-encoding")


class WSGIMiddleware:
    """Wraps a WSGI application as an ASGI one, and calls it in at most `workers` threads of its own.

    With `workers=0` it is called in the event loop's thread, one request at a time. The middleware takes part in the
    lifespan, and refuses WebSockets. `multiprocess` becomes wsgi.multiprocess, and `multithread` says that threads of
    other event loops call the application as well; `outermost` means that no middleware around this one needs to see
    the bodies of responses. close() ends idle threads; later requests start new ones.
    """

    def __init__(
        self,
        app: Callable[..., Iterable[bytes]],
        workers: int = 10,
        *,
        multiprocess: bool = False,
        multithread: bool = False,
        outermost: bool = False,
    ) -> None:
        if workers < 0:
            raise ValueError(f"the number of threads must be at least 0, not {workers}")
        self.app = app
        self.outermost = outermost
        self.threads = Threads(workers) if workers else None
        self.environs = Environs(workers > 1 or multithread, multiprocess, FileWrapper)
        kind = ServedCall if workers else InlineCall
        self.calls = WSGIApplication(app, self.threads, self.environs, kind, FileWrapper)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await answer_other(scope, receive, send)
            return
        if not (self.outermost or may_send_files(scope, send)):
            scope = without_zerocopysend(scope)
        call = self.calls.call(asyncio.get_running_loop(), scope, *arrived_of(scope, receive))
        await call.serve(receive, send)

    def close(self) -> None:
        """End idle threads now, and the others after their request."""
        if self.threads is not None:
            self.threads.close()
        self.calls.close()


def may_send_files(scope: Scope, send: Send) -> bool:
    """Return whether the server may send files itself: no middleware has replaced `send`, or --sendfile is set."""
    own = type(getattr(send, "__self__", None)) is HttpExchange
    return own or "http.response.pathsend" in scope.get("extensions", ())


def without_zerocopysend(scope: Scope) -> Scope:
    """Return the scope for a response that passes through middleware, which may compress it or count its bytes."""
    extensions = scope.get("extensions") or {}
    if "http.response.zerocopysend" not in extensions:
        return scope
    left = {name: value for name, value in extensions.items() if name != "http.response.zerocopysend"}
    return {**scope, "extensions": left}


def arrived_of(scope: Scope, receive: Receive) -> tuple[bytes, bool]:
    """Return the request's body so far, and whether there may be more, without asking the client for it."""
    exchange = getattr(receive, "__self__", None)
    if type(exchange) is HttpExchange:
        return exchange.arrived()
    return b"", any(name in BODY_HEADERS for name, _ in scope["headers"])


async def answer_other(scope: Scope, receive: Receive, send: Send) -> None:
    """Complete the lifespan's startup and shutdown, or refuse a WebSocket."""
    message: Message = await receive()
    if scope["type"] == "lifespan":
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
    elif message["type"] == "websocket.connect":
        await send({"type": "websocket.close"})
