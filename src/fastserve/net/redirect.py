"""The redirect from HTTP to HTTPS (`--ssl-redirect`)."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from fastserve.net.address import Bind

if TYPE_CHECKING:
    from fastserve.net.server_names import ByName

HTTP, HTTPS = 80, 443
HOST = re.compile(rb"(?:([A-Za-z0-9_](?:[A-Za-z0-9._-]{0,253}))|\[([0-9A-Fa-f:.]{2,45})\])(?::([0-9]{1,5}))?\Z")
# RFC 8555 section 8.3. No other path is passed on, nor one that an application could read as another path.
CHALLENGE = re.compile(rb"/\.well-known/acme-challenge/[A-Za-z0-9_-]+\Z")
KEPT = "/:?[]@!$&'()*+,;=-._~%"  # in a target; all other characters are percent-encoded


class Redirect:
    """An ASGI application that redirects to HTTPS, and leaves the challenges of ACME to `app`.

    `names` returns the names in the certificates, None if they are not known: it redirects to no other host. `port` is
    the port of the server with TLS.
    """

    def __init__(self, app: Any, names: Callable[[], ByName[bool] | None], port: int) -> None:
        self.app = app
        self.names = names
        self.port = port

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        path: bytes = scope["raw_path"]
        if CHALLENGE.match(path):
            await self.app(scope, receive, send)
            return
        status, location = self.response(scope, path)
        headers = [(b"content-length", b"0")]
        if location is not None:
            headers.append((b"location", location.encode("ascii")))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body"})

    def response(self, scope: Any, path: bytes) -> tuple[int, str | None]:
        """Return the status, and the location of a redirect."""
        host = next((value for name, value in scope["headers"] if name == b"host"), b"")
        found = HOST.match(host)
        if found is None:
            return 400, None
        name = found[1].decode("ascii") if found[1] else address(found[2].decode("ascii"))
        names = self.names()
        if name is None or (names is not None and names.find(name) is None):
            return 421, None  # RFC 9110 section 15.5.20
        shown = f"[{name}]" if found[2] else name
        port = self.port_for(int(found[3] or HTTP), scope["server"])
        target = quote(path, safe=KEPT) if path.startswith(b"/") else "/"  # that of OPTIONS may be `*`
        query = quote(scope["query_string"], safe=KEPT)
        location = f"https://{shown}{'' if port == HTTPS else f':{port}'}{target}{f'?{query}' if query else ''}"
        # Clients may turn a POST into a GET at a 301, but not at a 308 (RFC 9110 section 15.4.2).
        return 301 if scope["method"] in ("GET", "HEAD") else 308, location

    def port_for(self, asked: int, server: Any) -> int:
        """Return the port to redirect to from the port that the client `asked`.

        If the client asked for port 80 and this server listens on another one, both ports of HTTP are forwarded to it,
        as those of a container are.
        """
        own = server[1] if server else None
        return HTTPS if asked == HTTP and own != HTTP else self.port


def address(text: str) -> str | None:
    """Return an IPv6 address in the form that it has among the names of certificates, None for anything else."""
    try:
        return str(ipaddress.IPv6Address(text))
    except ValueError:
        return None


def redirecting(sockets: Iterable[socket.socket], places: Iterable[Bind]) -> set[int]:
    """Return the indexes of the sockets that are bound to one of the redirecting `places`."""
    places = list(places)
    return {index for index, sock in enumerate(sockets) if any(is_at(sock, place) for place in places)}


def is_at(sock: socket.socket, place: Bind) -> bool:
    name = sock.getsockname()
    if place.fd is not None:
        return sock.fileno() == place.fd
    if place.path is not None:
        return bool(name == place.path)
    return isinstance(name, tuple) and bool(name[1] == place.port)


def secure_port(sockets: Iterable[socket.socket], plain: Mapping[int, bool]) -> int:
    """Return the port of the first socket with TLS that has one."""
    names = [sock.getsockname() for index, sock in enumerate(sockets) if index not in plain]
    return next((int(name[1]) for name in names if isinstance(name, tuple)), HTTPS)
