"""What proxies say about requests that the compiled core does not serve: with --http h11, and by classes of others."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastserve._core.http.proxies import Proxies
    from fastserve._types import ASGI3Application, Receive, Scope, Send


class Forwarding:
    """Applies what trusted proxies say to scopes of these types."""

    def __init__(self, app: ASGI3Application, proxies: Proxies, types: tuple[str, ...]) -> None:
        self.app = app
        self.proxies = proxies
        self.types = types

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] in self.types:
            self.proxies.forward_scope(scope)
        return self.app(scope, receive, send)
