"""Listening sockets: TCP on one or more addresses, a UNIX path, or a file descriptor that is a socket already."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
import stat
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from fastserve.logs import style
from fastserve.tls import listen_arguments

if TYPE_CHECKING:
    import asyncio

    from fastserve.config import Config

AddressInfo = tuple[Any, ...]  # as socket.getaddrinfo returns it

UNIX_MODE = 0o666

logger = logging.getLogger("fastserve.error")


async def bind_in_loop(config: Config, loop: asyncio.AbstractEventLoop) -> list[socket.socket]:
    """Return what bind() returns, without blocking the loop to resolve a name. Raises OSError saying what failed."""
    if config.fd is not None or config.uds is not None:
        return bind(config)
    with contextlib.suppress(socket.gaierror):
        return bind_addresses(addresses(config, flags=socket.AI_NUMERICHOST), config)
    try:
        infos = await loop.getaddrinfo(config.host, config.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except socket.gaierror as exc:
        raise resolving(config.host, exc) from None
    return bind_addresses(infos, config)


def bind(config: Config) -> list[socket.socket]:
    """Return the bound sockets that a configuration asks for. Raises OSError saying what failed."""
    if config.fd is not None:
        return [from_descriptor(config.fd)]
    if config.uds is not None:
        return [bind_unix(config.uds)]
    try:
        return bind_addresses(addresses(config), config)
    except socket.gaierror as exc:
        raise resolving(config.host, exc) from None


def addresses(config: Config, flags: int = 0) -> list[AddressInfo]:
    return socket.getaddrinfo(config.host, config.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE | flags)


def resolving(host: str | None, exc: OSError) -> OSError:
    return OSError(exc.errno, f"error while resolving host {host!r}: {str(exc.strerror).lower()}")


def bind_addresses(infos: Iterable[AddressInfo], config: Config) -> list[socket.socket]:
    """Return a socket for each address of a host, all on one port. Raises OSError naming the address that failed.

    With port 0 the first socket's port is that of all.
    """
    infos = list(dict.fromkeys(infos))
    bound: list[socket.socket] = []
    missing: OSError | None = None
    port = config.port
    try:
        for family, kind, protocol, _, address in infos:
            try:
                sock = bind_tcp(family, kind, protocol, (address[0], port, *address[2:]))
            except OSError as exc:
                # A name may have addresses of a family that this machine has not; one that it has is enough.
                if exc.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT) or len(infos) == 1:
                    raise
                missing = exc
                continue
            bound.append(sock)
            port = port or sock.getsockname()[1]
    except BaseException:
        for sock in bound:
            sock.close()
        raise
    if not bound:
        raise missing or OSError(errno.EADDRNOTAVAIL, f"host {config.host!r} has no address")
    return bound


def bind_tcp(family: int, kind: int, protocol: int, address: tuple[Any, ...]) -> socket.socket:
    sock = socket.socket(family, kind, protocol)
    try:
        if os.name == "posix" and sys.platform != "cygwin":
            # Elsewhere it would let two processes listen on one port.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # An IPv4 socket on the same port stays possible, and the family of a client's address is clear.
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
    except OSError as exc:
        sock.close()
        raise binding(f"address {address!r}", exc) from None
    except BaseException:
        sock.close()
        raise
    return sock


def binding(what: str, exc: OSError) -> OSError:
    reason = str(exc.strerror or exc).lower()
    return OSError(exc.errno, f"error while attempting to bind on {what}: {reason}")


def bind_unix(path: str) -> socket.socket:
    """Return a socket bound to a path, taking the place of a socket that is there, with its mode. Raises OSError."""
    from pathlib import Path

    if not hasattr(socket, "AF_UNIX"):
        raise OSError(
            errno.EAFNOSUPPORT, f"error while attempting to bind on {path!r}: no unix sockets on this platform"
        )
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    file = Path(path)
    mode = UNIX_MODE
    try:
        if file.exists():
            mode = stat.S_IMODE(file.stat().st_mode)
            if file.is_socket():
                file.unlink()
        sock.bind(path)
        file.chmod(mode)
    except OSError as exc:
        sock.close()
        raise binding(f"unix socket {path!r}", exc) from None
    return sock


def from_descriptor(fd: int) -> socket.socket:
    """Return a socket that shares what an inherited descriptor stands for. Raises OSError if that is no socket."""
    try:
        copy = os.dup(fd)
        try:
            return socket.socket(fileno=copy)
        except OSError:
            os.close(copy)
            raise
    except OSError as exc:
        raise OSError(
            exc.errno, f"file descriptor {fd} is no socket to listen on: {str(exc.strerror).lower()}"
        ) from None


class SocketFile:
    """The file that a UNIX socket has just been bound to."""

    def __init__(self, path: str) -> None:
        from pathlib import Path

        self.path = Path(path)
        self.identity = self.current_identity()

    def current_identity(self) -> tuple[int, int]:
        found = self.path.stat()
        return found.st_dev, found.st_ino

    def remove(self) -> None:
        """Remove the file, unless it is gone or another server's has taken its place."""
        with contextlib.suppress(OSError):
            if self.current_identity() == self.identity:
                self.path.unlink()


async def listen(
    sock: socket.socket,
    factory: Callable[[], asyncio.Protocol],
    config: Config,
    loop: asyncio.AbstractEventLoop,
    backlog: int | None = None,
) -> asyncio.Server:
    """Start accepting connections on a bound socket and return the asyncio server that does.

    `backlog` is that of the configuration unless it is given.
    """
    arguments: Any = {"backlog": config.backlog if backlog is None else backlog, **listen_arguments(config, loop)}
    if sock.family != getattr(socket, "AF_UNIX", None):
        return await loop.create_server(factory, sock=sock, **arguments)
    # The file of an inherited socket is its owner's to remove, and ours is removed by Server.
    keep: Any = {"cleanup_socket": False} if sys.version_info >= (3, 13) else {}
    return await loop.create_unix_server(factory, sock=sock, **arguments, **keep)


def log_running(config: Config, sock: socket.socket) -> None:
    """Log where the server runs; the line that tools wait for."""
    if config.fd is not None:
        where, args = "socket %s", [sock.getsockname()]
    elif config.uds is not None:
        where, args = "unix socket %s", [config.uds]
    else:
        host = "0.0.0.0" if config.host is None else config.host
        where = "%s://[%s]:%d" if ":" in host else "%s://%s:%d"
        args = ["https" if config.is_ssl else "http", host, config.port or sock.getsockname()[1]]
    line = "Fastserve running on {} (Press CTRL+C to quit)"
    logger.info(line.format(where), *args, extra={"color_message": line.format(style(where, bold=True))})
