"""The listening sockets of a server, grouped by the addresses of its configuration."""

from __future__ import annotations

import contextlib
import logging
import socket
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from fastserve import _version
from fastserve.logging.formatters import style
from fastserve.net import sockets
from fastserve.net.address import Bind

if TYPE_CHECKING:
    import asyncio

    from fastserve.options.table import Options

NONE: Mapping[Bind, list[socket.socket]] = {}
PlainSockets = dict[int, bool]  # sockets without TLS, by index: whether they redirect to those with TLS

logger = logging.getLogger("fastserve.error")


class Listeners:
    """Bound sockets, one or more for each address, and the files made for UNIX sockets.

    A socket file that existed before belongs to the administrator, who set its owner and mode: it outlasts the server.
    """

    def __init__(self) -> None:
        self.groups: list[tuple[Bind, list[socket.socket]]] = []
        self.files: list[sockets.SocketFile] = []

    @classmethod
    def bind(cls, options: Options, inherited: dict[Bind, list[socket.socket]] | None = None) -> Listeners:
        """Bind the addresses of a configuration that are not inherited. Raises OSError saying what failed."""
        there = inherited or {}
        infos = {bind: addresses(bind) for bind in options.places if bind.is_tcp and bind not in there}
        return cls.of(options, infos, there)

    @classmethod
    async def bind_in_loop(cls, options: Options, loop: asyncio.AbstractEventLoop) -> Listeners:
        """Bind like bind(), but resolve names without blocking the loop."""
        return cls.of(options, {bind: await addresses_in_loop(bind, loop) for bind in options.places if bind.is_tcp})

    @classmethod
    def of(
        cls,
        options: Options,
        infos: dict[Bind, list[sockets.AddressInfo]],
        inherited: Mapping[Bind, list[socket.socket]] = NONE,
    ) -> Listeners:
        """Bind every address of a configuration; `infos` has the resolved TCP addresses. Raises OSError."""
        over_ipv4 = {bind.port for bind, found in infos.items() if sockets.has_ipv4(found)} - {0}
        made = cls()
        with made.closed_on_error():
            for bind in options.places:
                if bind in inherited:
                    made.groups.append((bind, inherited[bind]))
                elif bind.is_tcp:
                    made.add_tcp(bind, options, infos[bind], bind.port in over_ipv4)
                else:
                    made.add(bind, options)
        return made

    @classmethod
    def bind_one(cls, options: Options) -> Listeners:
        """Bind one socket for the first address of a configuration. Raises OSError saying what failed."""
        made = cls()
        bind = options.binds[0]
        if not bind.is_tcp:
            made.add(bind, options)
        elif bind.host is None:
            made.groups.append((bind, [sockets.bind_both_families(bind.port, options.reuse_port)]))
        else:
            made.add_tcp(bind, options, addresses(bind)[:1], only_v6=False)
        return made

    @contextlib.contextmanager
    def closed_on_error(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self.close()
            raise

    def add_tcp(self, bind: Bind, options: Options, infos: list[sockets.AddressInfo], only_v6: bool) -> None:
        self.groups.append((bind, sockets.bind_addresses(infos, bind.port, options.reuse_port, only_v6)))

    def add(self, bind: Bind, options: Options) -> None:
        if bind.fd is not None:
            self.groups.append((bind, [sockets.from_descriptor(bind.fd)]))
        else:
            assert bind.path is not None
            was_there = sockets.is_socket_file(bind.path)
            self.groups.append((bind, [sockets.bind_unix(bind.path, options.uds_permissions)]))
            if not was_there:
                self.files.append(sockets.SocketFile(bind.path))

    @property
    def sockets(self) -> list[socket.socket]:
        return [sock for _, group in self.groups for sock in group]

    @property
    def plain(self) -> PlainSockets:
        """Those of `sockets` without TLS, even if the configuration has a certificate."""
        binds = [bind for bind, group in self.groups for _ in group]
        return {index: bind.redirects for index, bind in enumerate(binds) if bind.tls is False}

    def listen(self, backlog: int) -> None:
        """Let connections queue, for processes that will accept them. Raises OSError naming the address."""
        for sock in self.sockets:
            sockets.begin_to_listen(sock, backlog)

    def log_running(self, options: Options) -> None:
        """Log where the server runs, in the lines that tools wait for."""
        for bind, group in self.groups:
            log_running(bind, group[0], options)

    def close(self) -> None:
        """Close the sockets and remove the files that were made for them."""
        for sock in self.sockets:
            sock.close()
        files, self.files = self.files, []  # a second close() must not remove another server's
        for file in files:
            file.remove()


def addresses(bind: Bind) -> list[sockets.AddressInfo]:
    try:
        return sockets.addresses(bind.host, bind.port)
    except socket.gaierror as exc:
        raise sockets.resolving_error(bind.host, exc) from None


async def addresses_in_loop(bind: Bind, loop: asyncio.AbstractEventLoop) -> list[sockets.AddressInfo]:
    with contextlib.suppress(socket.gaierror):
        return sockets.addresses(bind.host, bind.port, flags=socket.AI_NUMERICHOST)
    try:
        return await loop.getaddrinfo(bind.host, bind.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except socket.gaierror as exc:
        raise sockets.resolving_error(bind.host, exc) from None


def log_running(bind: Bind, sock: socket.socket, options: Options) -> None:
    if bind.redirects:
        name = sock.getsockname()
        logger.info("Redirecting to HTTPS from %s", f"port {name[1]}" if isinstance(name, tuple) else name)
        return
    if bind.fd is not None:
        where, args = "socket %s", [sock.getsockname()]
    elif bind.path is not None:
        where, args = "unix socket %s", [bind.path]
    else:
        host = "0.0.0.0" if bind.host is None else bind.host
        where = "%s://[%s]:%d" if ":" in host else "%s://%s:%d"
        scheme = "https" if options.is_ssl and bind.tls is not False else "http"
        args = [scheme, host, bind.port or sock.getsockname()[1]]
    line = f"{_version.server_name} running on {{}} (Press CTRL+C to quit)"
    logger.info(line.format(where), *args, extra={"color_message": line.format(style(where, bold=True))})
