"""The hosts that requests may be for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastserve._types import ASGI3Application, Receive, Scope, Send

REMEMBERED = 1024


class AllowedHosts:
    """Names of hosts, and `*.name` for all subdomains of a name, on any port and in any case."""

    def __init__(self, names: Iterable[str]) -> None:
        texts = [name.lower().encode("latin-1") for name in names]
        self.names = frozenset(texts)
        self.endings = tuple(text[1:] for text in texts if text.startswith(b"*."))
        self.remembered: dict[bytes, bool] = {}

    def allows(self, headers: Iterable[tuple[bytes, bytes]]) -> bool:
        """Return whether the Host header of a request is allowed; a request without one is not."""
        for name, value in headers:
            if name == b"host":
                known = self.remembered.get(value)
                if known is None:
                    if len(self.remembered) >= REMEMBERED:
                        self.remembered.clear()
                    known = self.remembered[value] = self.allows_host(value)
                return known
        return False

    def allows_host(self, value: bytes) -> bool:
        host, colon, port = value.lower().rpartition(b":")
        if not colon or port.endswith(b"]"):
            host = value.lower()
        host = host.removesuffix(b".")
        return host in self.names or any(host.endswith(end) and host != end for end in self.endings)


class HostCheck:
    """Responds with 421 to requests for other hosts, where the compiled core does not serve."""

    def __init__(self, app: ASGI3Application, hosts: AllowedHosts, types: tuple[str, ...]) -> None:
        self.app = app
        self.hosts = hosts
        self.types = types

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind: Any = scope["type"]
        if kind not in self.types or self.hosts.allows(scope["headers"]):
            return await self.app(scope, receive, send)
        prefix = "http.response" if kind == "http" else "websocket.http.response"
        await send({"type": f"{prefix}.start", "status": 421, "headers": [(b"content-length", b"0")]})
        await send({"type": f"{prefix}.body", "body": b""})
