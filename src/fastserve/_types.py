"""The ASGI types that annotations name, as loose as the specification; the names are uvicorn's."""

from __future__ import annotations

import types
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Protocol

Scope = MutableMapping[str, Any]
HTTPScope = WebSocketScope = LifespanScope = WWWScope = ASGIVersions = Scope

Message = MutableMapping[str, Any]
HTTPRequestEvent = HTTPResponseDebugEvent = HTTPResponseEarlyHintEvent = HTTPResponseStartEvent = Message
HTTPResponseBodyEvent = HTTPResponseTrailersEvent = HTTPServerPushEvent = HTTPDisconnectEvent = Message
WebSocketConnectEvent = WebSocketAcceptEvent = WebSocketReceiveEvent = WebSocketSendEvent = Message
WebSocketResponseStartEvent = WebSocketResponseBodyEvent = WebSocketDisconnectEvent = WebSocketCloseEvent = Message
WebSocketEvent = Message
LifespanStartupEvent = LifespanShutdownEvent = LifespanStartupCompleteEvent = LifespanStartupFailedEvent = Message
LifespanShutdownCompleteEvent = LifespanShutdownFailedEvent = Message
ASGIReceiveEvent = ASGISendEvent = Message

Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIReceiveCallable = Receive
ASGISendCallable = Send


class ASGI2Protocol(Protocol):
    """An ASGI 2 application: made with a scope, then called with receive and send."""

    def __init__(self, scope: Scope) -> None: ...

    async def __call__(self, receive: Receive, send: Send) -> None: ...


ASGI3Application = Callable[[Scope, Receive, Send], Awaitable[None]]
ASGI2Application = Callable[[Scope], Callable[[Receive, Send], Awaitable[None]]]
ASGIApplication = ASGI3Application | ASGI2Application

Environ = MutableMapping[str, Any]
ExcInfo = tuple[type[BaseException], BaseException, types.TracebackType | None]
StartResponse = Callable[[str, Iterable[tuple[str, str]], ExcInfo | None], None]
WSGIApp = Callable[[Environ, StartResponse], Iterable[bytes] | BaseException]
