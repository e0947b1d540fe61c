"""The beginning of connections from proxies that speak the PROXY protocol, before TLS and HTTP."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fastserve._core.http.proxies import plain_host
from fastserve._core.preface import Preface
from fastserve.middleware.proxy_headers import TrustedHosts
from fastserve.options.environment import TRUSTED_PROXIES
from fastserve.options.table import Options

if TYPE_CHECKING:
    from fastserve._core.worker import Worker

REMEMBERED = 4096

Factory = Callable[[], asyncio.Protocol]

logger = logging.getLogger("fastserve.error")


class Expected:
    """What connections must begin with, by the options.

    `connections` are those that the server closes when it stops, `worker` that of the core where the core serves them.
    """

    def __init__(self, options: Options, connections: set[Any], worker: Worker | None = None) -> None:
        self.mode = options.proxy_protocol
        listed = options.proxy_protocol_from
        self.hosts = TrustedHosts(TRUSTED_PROXIES if listed is None else listed)
        self.seconds = options.timeout_request_head
        self.connections = connections
        self.worker = worker
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

    def warn(self, why: str) -> None:
        logger.warning("Invalid PROXY header received: %s", why)

    def expire(self) -> None:
        now = self.loop.time()
        while self.waiting:
            preface, when = next(iter(self.waiting.items()))
            if when > now:
                self.timer = self.loop.call_at(when, self.expire)
                return
            preface.refuse("PROXY header not complete in time")
        self.timer = None

    def before(self, factory: Factory, tls: dict[str, Any]) -> Factory:
        if tls:
            return functools.partial(Encrypted, self, factory, tls)
        return functools.partial(Preface, self, factory, self.worker)


class Encrypted(Preface):
    """Begins TLS after the PROXY header."""

    task: asyncio.Task[None] | None = None

    def __init__(self, expected: Expected, factory: Factory, tls: dict[str, Any]) -> None:
        super().__init__(expected, factory)
        self.expecting = expected
        self.tls = tls

    def found(self, client: Any, extension: Any, rest: bytes) -> None:
        self.expecting.waiting.pop(self, None)
        self.encrypting = True
        self.task = self.expecting.loop.create_task(self.encrypt(client, extension, rest))

    async def encrypt(self, client: Any, extension: Any, rest: bytes) -> None:
        """Begin TLS, of which `rest` has been read already."""
        loop = self.expecting.loop
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
