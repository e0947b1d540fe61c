"""Accepting connections on the sockets of a server, pausing before the process runs out of descriptors.

An accept() that fails for lack of descriptors cannot be left to the event loops: uvloop accepts waiting connections and
closes them at once, asyncio logs a traceback every second. So accepting stops a little earlier: the kernel gives each
new descriptor the lowest free number, and a number within RESERVE of the limit shows that no lower one is free. Clients
then wait in the kernel's queue, and the reserve is left for the application. If the application uses up the reserve
between two checks, uvloop closes the connections that arrive at that moment.

With --limit-connections accepting also stops at that number of connections. If the server has a path for health checks,
which come by connections of their own, it accepts SPARE more; other requests on those get a 503.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import logging
import os
import socket
import sys
import time
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from fastserve.net.sockets import listen
from fastserve.net.tls import listen_arguments

if TYPE_CHECKING:
    from ssl import SSLContext

    from fastserve.config import Config
    from fastserve.server_state import ServerState

RESERVE = 32  # descriptors below the limit that connections do not get
NO_DESCRIPTOR = 2**31 - 1
SETTLE_SECONDS = 0.05  # between asyncio's last accept() and the close of its server
ACCEPT_STEPS = 4  # iterations of a loop from the end of its poll to connection_made()
SETTLE_ROUNDS = 50  # at most, where clients never stop coming
PROBED = 4  # connections between two checks for free descriptors
BATCH = 8  # connections that asyncio accepts before anything else runs, such as that check
SPARE = 16  # connections accepted beyond --limit-connections, for health checks
FRESH_SECONDS = 15.0  # from the accept of a connection to connection_made(), which follows the TLS handshake
RETRY_SECONDS = 1.5  # after which asyncio has retried to accept
WARN_SECONDS = 60.0  # between two warnings of a server that keeps reaching its limit

PAUSE = "Out of file descriptors (the limit is %d): not accepting connections until some are closed"
FULL = "Reached the limit of %d connections: further clients wait to be accepted"
RESUME = "File descriptors are free again: accepting connections"
ASYNCIO_MESSAGE = "socket.accept() out of system resource"
ASYNCIO_RETRY = "._start_serving("  # in the message when the retry fails, which asyncio calls after a second

Factory = Callable[[], asyncio.Protocol]

logger = logging.getLogger("fastserve.error")


class Expected(Protocol):
    """What comes before the protocols of connections, and before TLS."""

    def before(self, factory: Factory, tls: dict[str, Any]) -> Factory:
        """Return what makes the first protocol of a connection; that of `factory` follows it, over TLS if `tls`."""
        ...


def descriptor_limit() -> int:
    """Return the limit of open descriptors of this process, 0 for no limit."""
    if sys.platform == "win32":
        return 0
    import resource

    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return 0 if limit == resource.RLIM_INFINITY else limit


def last_of(limit: int) -> int:
    """Return the number of the first descriptor that belongs to the reserve."""
    return limit - min(RESERVE, limit // 4)


def is_specific(sock: socket.socket) -> bool:
    """Return whether each connection that this socket accepts has its address: an IPv4 one, and no wildcard."""
    if sock.family != socket.AF_INET or sock.getsockname()[0] == "0.0.0.0":
        return False
    transparent = getattr(socket, "IP_TRANSPARENT", None)  # with it a socket gets what was sent to others
    return transparent is None or not sock.getsockopt(socket.IPPROTO_IP, transparent)


class Acceptor:
    """Starts an asyncio server for each socket, in `servers`, and starts them anew after a pause.

    `factory` makes the protocol of a connection, which adds itself to the connections of `state`. What is `expected`
    comes before it, if anything is. Call start() for each socket, look() regularly, close() at the end.
    """

    def __init__(
        self,
        factory: Factory,
        config: Config,
        servers: list[asyncio.Server],
        state: ServerState,
        expected: Expected | None = None,
    ) -> None:
        self.factory = factory
        self.config = config
        self.servers = servers
        self.state = state
        self.expected = expected
        self.paused = False
        self._limit = config.limit_connections
        self._most = (self._limit or 0) + (SPARE if config.health is not None else 0)
        self._full = False  # paused because of that limit
        self._resuming = False
        self._settling: list[asyncio.Server] = []  # paused, and to be closed a moment later
        self._fresh: dict[weakref.ref[asyncio.Protocol], float] = {}  # protocols that `state` may not have yet
        # Copies of the sockets, as asyncio servers close theirs; whether they are plain; what makes their protocols.
        self._copies: list[tuple[socket.socket, bool, Factory]] = []
        self._loop = asyncio.get_running_loop()
        self._handler = self._loop.get_exception_handler()
        self._accepted = 0
        self._warned = -WARN_SECONDS
        self._failed = False
        # asyncio accepts a whole backlog before it makes the first protocol, which may use up the reserve.
        self._in_batches = isinstance(self._loop, asyncio.BaseEventLoop)
        if self._in_batches:
            self._loop.set_exception_handler(self._take_exception)

    async def start(self, sock: socket.socket, plain: bool = False, factory: Factory | None = None) -> None:
        """Accept connections on a bound socket, which is closed with the server. Raises OSError.

        A `plain` socket has no TLS, whatever the configuration says. It may have a `factory` of its own.
        """
        factory = factory or self.factory
        self.servers.append(await self._listen(sock, plain, factory))
        self._copies.append((sock.dup(), plain, factory))
        self._set_last()
        self._note_addresses()

    @property
    def sockets(self) -> list[socket.socket]:
        """The listening sockets, also during a pause."""
        return [copy for copy, *_ in self._copies]

    async def _listen(self, sock: socket.socket, plain: bool, factory: Factory) -> asyncio.Server:
        config, loop = self.config, self._loop
        context = None if plain else config.listening_context
        tls = listen_arguments(context, config.timeout_request_head, config.uses_core, loop)
        backlog = BATCH if self._in_batches else config.backlog
        if context is not None and config.uses_core and self.state.worker is not None:
            seconds, tls = tls["ssl_handshake_timeout"], {}
            if self.expected is None:
                make = self._over_tls(self._maker(factory, False), context, seconds)
            else:
                after = self._over_tls(functools.partial(self._make_successor, factory), context, seconds)
                make = self._maker(self.expected.before(after, tls), False)
        else:
            counts_itself = factory is self.factory and not tls
            if self.expected is not None:
                factory, tls = self.expected.before(factory, tls), {}
            make = self._maker(factory, counts_itself)
        server = await listen(sock, make, loop, backlog, tls)
        if self._in_batches:
            sock.listen(config.backlog)
        return server

    def _maker(self, factory: Factory, counts_itself: bool) -> Factory:
        """Return what makes the protocols of connections: where the core looks at their descriptors, its own class."""
        worker = self.state.worker
        counted = self._limit is not None or self._in_batches
        if worker is None or counted or not self.config.uses_core or not counts_itself:
            return functools.partial(self._make_protocol, factory)
        worker.when_scarce = self._pause_soon
        return factory

    def _over_tls(self, factory: Factory, context: SSLContext, seconds: float) -> Factory:
        from fastserve._core.tls.transport import TlsServer

        assert self.state.worker is not None
        return functools.partial(TlsServer(self.state.worker, context, seconds).serve, factory)

    def _pause_soon(self) -> None:
        if not self.paused:
            self.paused = True
            self._loop.call_soon(self._pause)

    def _set_last(self) -> None:
        if self.state.worker is not None:
            limit = descriptor_limit()
            self.state.worker.last_descriptor = last_of(limit) if limit else NO_DESCRIPTOR

    def _note_addresses(self) -> None:
        """Tell the core whether all connections come to one address."""
        worker = self.state.worker
        if worker is not None:
            worker.has_one_address = len(self._copies) == 1 and is_specific(self._copies[0][0])

    def _make_protocol(self, factory: Factory) -> asyncio.Protocol:
        self._accepted += 1
        if self._accepted % PROBED == 0 and not self.paused and not self._has_room(1):
            self._pause_soon()  # not now: uvloop is about to take the connection from the listening handle
        protocol = factory()
        if self._limit is not None:
            self._count(protocol, self._limit)
        return protocol

    def _make_successor(self, factory: Factory) -> asyncio.Protocol:
        """Return the protocol of a connection that is counted already, before its TLS handshake."""
        protocol = factory()
        if self._limit is not None:
            self._fresh[weakref.ref(protocol)] = time.monotonic()
        return protocol

    def _count(self, protocol: asyncio.Protocol, limit: int) -> None:
        """Count a new connection, and pause at the limit."""
        self._fresh[weakref.ref(protocol)] = time.monotonic()
        count = self._open_connections()
        if count > limit and hasattr(protocol, "accepted_beyond"):
            protocol.accepted_beyond()
        if count >= self._most and not self.paused:
            self.paused = self._full = True
            if self.state.worker is not None:
                self.state.worker.when_lost = self._connection_lost
            self._loop.call_soon(self._pause)

    def _open_connections(self) -> int:
        """Return the number of connections, including those in their TLS handshake."""
        known, oldest = self.state.connections, time.monotonic() - FRESH_SECONDS
        self._fresh = {
            ref: when
            for ref, when in self._fresh.items()
            if when > oldest and (protocol := ref()) is not None and protocol not in known
        }
        return self.state.open_connections + len(self._fresh)

    def _connection_lost(self, protocol: asyncio.Protocol) -> None:
        """Accept as soon as there is room, rather than with the next look()."""
        self._fresh.pop(weakref.ref(protocol), None)
        if self._full and not self._resuming and self._open_connections() < self._most:
            self._loop.create_task(self.look())  # nobody else needs the task: it never waits

    def _has_room(self, count: int) -> bool:
        """Return whether `count` descriptors are free besides the reserve."""
        limit = descriptor_limit()
        if not limit or not self._copies:
            return True
        last = last_of(limit)
        found: list[int] = []
        try:
            while len(found) < count and (not found or found[-1] < last):
                found.append(os.dup(self._copies[0][0].fileno()))
        except OSError:
            return False
        finally:
            for descriptor in found:
                os.close(descriptor)
        return found[-1] < last

    def _pause(self) -> None:
        self.paused = True
        self._warn()
        if not self._copies:
            return  # close() came first
        for server in self.servers:
            if self._in_batches:
                # Accepted connections are attached to the server a few steps later, and close() must come after that.
                for sock in server.sockets:
                    self._loop.remove_reader(sock.fileno())
                self._loop.call_later(SETTLE_SECONDS, server.close)
                self._settling.append(server)
            else:
                server.close()

    def _warn(self) -> None:
        now = time.monotonic()
        if now - self._warned >= WARN_SECONDS:
            if self._full:
                logger.warning(FULL, self._limit)
            else:
                logger.warning(PAUSE, descriptor_limit())
            self._warned = now

    def _take_exception(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Handle exceptions of the loop: pause when accept() failed for lack of descriptors.

        asyncio still retries after a second, which fails as the socket is closed by then.
        """
        message, exception = context.get("message", ""), context.get("exception")
        if message == ASYNCIO_MESSAGE and isinstance(exception, OSError) and exception.errno == errno.EMFILE:
            self._failed = True
            if not self.paused:
                self.paused = True
                self._loop.call_soon(self._pause)
        elif self._failed and ASYNCIO_RETRY in message and isinstance(exception, ValueError):
            return
        elif self._handler is not None:
            self._handler(loop, context)
        else:
            loop.default_exception_handler(context)

    async def look(self) -> None:
        """Pause when descriptors run out (the application opens files as well); resume when there is room again."""
        self._set_last()
        if self.paused:
            if self._resuming or (self._full and self._open_connections() >= self._most):
                return
            if self._has_room(max(min(RESERVE, descriptor_limit() // 4) // 2, 1)):
                self._resuming = True
                try:
                    await self._resume()
                finally:
                    self._resuming = False
        elif not self._has_room(1):
            self._pause()

    async def _resume(self) -> None:
        resumed: list[asyncio.Server] = []
        try:
            for copy, plain, factory in self._copies:
                resumed.append(await self._listen(copy.dup(), plain, factory))
        except OSError:
            for server in resumed:
                server.close()
            return
        if not self._copies:  # close() has come
            for server in resumed:
                server.close()
            return
        self.servers[:] = resumed
        self._settling = [server for server in self._settling if server.is_serving()]
        self.paused = False
        if not self._full:
            logger.info(RESUME)
        self._full = False
        if self.state.worker is not None:
            self.state.worker.when_lost = None

    async def settle(self) -> None:
        """Return when the loop has accepted what was waiting, and given each connection its protocol."""
        for _ in range(SETTLE_ROUNDS):
            before = self._all_accepted()
            for _ in range(ACCEPT_STEPS):
                await asyncio.sleep(0)
            if self._all_accepted() == before:
                return

    def _all_accepted(self) -> int:
        return self._accepted + (0 if self.state.worker is None else self.state.worker.made)

    def close(self) -> None:
        """Stop accepting for good."""
        if self.state.worker is not None:
            self.state.worker.when_lost = self.state.worker.when_scarce = None
        for server in (*self.servers, *self._settling):
            server.close()
        for copy, *_ in self._copies:
            copy.close()
        self._copies.clear()
        if self._failed and not self._loop.is_closed():
            self._loop.call_later(RETRY_SECONDS, self._give_handler_back)
        else:
            self._give_handler_back()

    def _give_handler_back(self) -> None:
        if self._in_batches and self._loop.get_exception_handler() == self._take_exception:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._loop.set_exception_handler(self._handler)
