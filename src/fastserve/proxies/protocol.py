"""The beginning of connections from proxies that speak the PROXY protocol, before TLS and HTTP."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, cast

from fastserve._core.http.proxies import plain_host
from fastserve._core.http.proxy_protocol import Proxied, parse
from fastserve.middleware.proxy_headers import TrustedHosts
from fastserve.options.environment import TRUSTED_PROXIES
from fastserve.options.table import Options

REMEMBERED = 4096

Factory = Callable[[], asyncio.Protocol]

logger = logging.getLogger("fastserve.error")


class Expected:
    """What connections must begin with, by the options; calling it returns the first protocol of a connection.

    `connections` are those that the server closes when it stops.
    """

    def __init__(self, options: Options, connections: set[Any]) -> None:
        self.mode = options.proxy_protocol
        listed = options.proxy_protocol_from
        self.hosts = TrustedHosts(TRUSTED_PROXIES if listed is None else listed)
        self.seconds = options.timeout_request_head
        self.connections = connections
        self.loop = asyncio.get_running_loop()
        self.waiting: dict[Preface, float] = {}  # with the end of its time, the earliest first
        self.timer: asyncio.TimerHandle | None = None  # one for all: few connections wait so long
        self.trusted: dict[str | None, bool] = {}  # by the host as the transport gives it

    def trusts(self, host: str | None) -> bool:
        found = self.trusted.get(host)
        if found is None:
            if len(self.trusted) >= REMEMBERED:
                self.trusted.clear()
            found = self.trusted[host] = self.hosts.trusts(None if host is None else plain_host(host))
        return found

    def wait(self, preface: Preface) -> None:
        """Refuse a connection if its header does not come in time."""
        self.connections.add(preface)
        if self.seconds:
            self.waiting[preface] = self.loop.time() + self.seconds
            if self.timer is None:
                self.timer = self.loop.call_later(self.seconds, self.expire)

    def forget(self, preface: Preface) -> None:
        self.connections.discard(preface)
        self.waiting.pop(preface, None)

    def expire(self) -> None:
        now = self.loop.time()
        while self.waiting:
            preface, when = next(iter(self.waiting.items()))
            if when > now:
                self.timer = self.loop.call_at(when, self.expire)
                return
            preface.refuse("PROXY header not complete in time")
        self.timer = None

    def __call__(self, factory: Factory, tls: dict[str, Any]) -> asyncio.Protocol:
        return Preface(self, factory, tls)


class Preface(asyncio.Protocol):
    """Reads the PROXY header, then leaves the connection to the protocol that `factory` makes, over TLS if `tls`."""

    transport: asyncio.Transport
    received = b""
    ended = encrypting = eof = False
    task: asyncio.Task[None] | None = None

    def __init__(self, expected: Expected, factory: Factory, tls: dict[str, Any]) -> None:
        self.expected = expected
        self.factory = factory
        self.tls = tls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        expected = self.expected
        peer = transport.get_extra_info("peername")
        host = peer[0] if isinstance(peer, tuple) else None
        if expected.trusts(host):
            expected.wait(self)
        else:
            self.refuse(f"{host or 'a UNIX socket'} is not in --proxy-protocol-from")

    def data_received(self, data: bytes) -> None:
        if self.ended:
            return
        data = self.received = self.received + data if self.received else data
        if self.encrypting:
            return
        try:
            found = parse(data, self.expected.mode)
        except ValueError as exc:
            self.refuse(str(exc))
            return
        if found is None:
            return
        size, client, extension = found
        self.received = b""
        if self.tls:
            self.expected.waiting.pop(self, None)
            self.encrypting = True
            self.task = self.expected.loop.create_task(self.encrypt(client, extension, data[size:]))
        else:
            self.leave(self.transport, client, extension, data[size:])

    def leave(self, transport: Any, client: Any, extension: Any, rest: bytes) -> None:
        self.ended = True
        self.expected.forget(self)
        successor: Any = self.factory()
        transport.set_protocol(successor)
        successor.connection_made(Proxied(transport, client, extension))
        if rest:
            successor.data_received(rest)
        if self.eof and not successor.eof_received():
            transport.close()

    async def encrypt(self, client: Any, extension: Any, rest: bytes) -> None:
        """Begin TLS, of which `rest` has been read already."""
        loop = self.expected.loop
        if rest:  # after start_tls() has connected its protocol, before that reads
            loop.call_soon(loop.call_soon, feed, self.transport, rest)
        arguments = {name: value for name, value in self.tls.items() if name != "ssl"}
        try:
            encrypted = await loop.start_tls(self.transport, self, self.tls["ssl"], server_side=True, **arguments)
        except OSError as exc:
            logger.debug("TLS handshake failed: %s", exc)
            encrypted = None
        if encrypted is None or self.ended:
            self.end()
        else:
            self.leave(encrypted, client, extension, self.received)

    def eof_received(self) -> bool:
        if not self.encrypting and not self.ended:
            self.refuse("PROXY header is cut off" if self.received else "")
        self.eof = True
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.end()

    def shutdown(self) -> None:
        """Close because the server stops."""
        self.refuse("")

    def refuse(self, why: str) -> None:
        """Close; `why` is empty if the client is not to blame."""
        if why:
            logger.warning("Invalid PROXY header received: %s", why)
        self.end()

    def end(self) -> None:
        self.ended = True
        self.expected.forget(self)
        self.transport.abort()


def feed(transport: Any, data: bytes) -> None:
    """Give bytes to a transport's protocol as if they had just been read."""
    protocol = transport.get_protocol()
    if not hasattr(protocol, "get_buffer"):
        protocol.data_received(data)
        return
    while data:
        buffer = protocol.get_buffer(len(data))
        size = min(len(buffer), len(data))
        buffer[:size] = data[:size]
        protocol.buffer_updated(size)
        data = data[size:]
