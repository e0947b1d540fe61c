"""The ASGI types that annotations name, as loose as the specification."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGI3Application = Callable[[Scope, Receive, Send], Awaitable[None]]
ASGI2Application = Callable[[Scope], Callable[[Receive, Send], Awaitable[None]]]
ASGIApplication = ASGI3Application | ASGI2Application
