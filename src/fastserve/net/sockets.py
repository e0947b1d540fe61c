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

if TYPE_CHECKING:
    import asyncio

AddressInfo = tuple[Any, ...]  # as socket.getaddrinfo returns it

EVERY_V6 = "::"
UNIX_MODE = 0o666
UNIX_PATH_BYTES = 107 if sys.platform == "linux" else 103

logger = logging.getLogger("fastserve.error")


def addresses(host: str | None, port: int, flags: int = 0) -> list[AddressInfo]:
    """Return the addresses of a host to listen on, from socket.getaddrinfo; None stands for every local address."""
    # A str goes through the codec "idna", whose tables take longer to load than the server takes to bind.
    name = host.encode() if host is not None and host.isascii() else host
    return socket.getaddrinfo(name, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE | flags)


def resolving_error(host: str | None, exc: OSError) -> OSError:
    return OSError(exc.errno, f"error while resolving host {host!r}: {str(exc.strerror).lower()}")


def bind_addresses(
    infos: Iterable[AddressInfo], port: int, reuse_port: bool = False, only_v6: bool = True
) -> list[socket.socket]:
    """Return a socket for each address of a host, all on one port. Raises OSError naming the address that failed.

    With port 0, all get the port of the first socket. The socket of `::` accepts IPv4 connections as well, unless
    `only_v6` is set or an IPv4 address is among the others.
    """
    infos = list(dict.fromkeys(infos))
    only_v6 = only_v6 or has_ipv4(infos)
    bound: list[socket.socket] = []
    missing: OSError | None = None
    try:
        for family, kind, protocol, _, address in infos:
            try:
                sock = bind_tcp(
                    family,
                    kind,
                    protocol,
                    (address[0], port, *address[2:]),
                    reuse_port=reuse_port,
                    only_v6=only_v6 or address[0] != EVERY_V6,
                )
            except OSError as exc:
                # A name may have addresses of a family that this machine lacks; one usable address is enough.
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
        raise missing or OSError(errno.EADDRNOTAVAIL, "the host has no address")
    return bound


def has_ipv4(infos: Iterable[AddressInfo]) -> bool:
    """Return whether there is an IPv4 address among those of a host."""
    return any(family == socket.AF_INET for family, *_ in infos)


def bind_tcp(
    family: int, kind: int, protocol: int, address: tuple[Any, ...], *, reuse_port: bool = False, only_v6: bool = True
) -> socket.socket:
    """Return a socket bound to an address. Raises OSError naming it."""
    sock = socket.socket(family, kind, protocol)
    try:
        if os.name == "posix" and sys.platform != "cygwin":
            # On other platforms it would let two processes listen on one port.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # Without it, an IPv4 socket could not be bound to the same port.
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only_v6)
        if reuse_port:
            if not hasattr(socket, "SO_REUSEPORT"):
                raise OSError(errno.ENOPROTOOPT, "no SO_REUSEPORT on this platform")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(address)
    except OSError as exc:
        sock.close()
        raise binding_error(f"address {address!r}", exc) from None
    except BaseException:
        sock.close()
        raise
    return sock


def binding_error(what: str, exc: OSError) -> OSError:
    reason = str(exc.strerror or exc).lower()
    return OSError(exc.errno, f"error while attempting to bind on {what}: {reason}")


def bind_both_families(port: int, reuse_port: bool = False) -> socket.socket:
    """Return one socket for all addresses of both families, or of IPv4 where IPv6 is missing. Raises OSError."""
    try:
        return bind_tcp(socket.AF_INET6, socket.SOCK_STREAM, 0, (EVERY_V6, port), reuse_port=reuse_port, only_v6=False)
    except OSError as exc:
        if exc.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
            raise
    return bind_tcp(socket.AF_INET, socket.SOCK_STREAM, 0, ("0.0.0.0", port), reuse_port=reuse_port)


def bind_again(sock: socket.socket) -> socket.socket:
    """Return one more socket bound to the address and port of a socket that allows it (SO_REUSEPORT)."""
    only_v6 = sock.family != socket.AF_INET6 or bool(sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY))
    return bind_tcp(sock.family, sock.type, sock.proto, sock.getsockname(), reuse_port=True, only_v6=only_v6)


def bind_unix(path: str, mode: int | None = None) -> socket.socket:
    """Return a socket bound to a path, replacing one that no process listens on. Raises OSError.

    Its permissions are `mode`, else those of the replaced socket, else UNIX_MODE. It keeps the owner and group of the
    replaced socket.
    """
    from pathlib import Path

    if not hasattr(socket, "AF_UNIX"):
        raise OSError(
            errno.EAFNOSUPPORT, f"error while attempting to bind on {path!r}: no unix sockets on this platform"
        )
    size = len(os.fsencode(path))
    if size > UNIX_PATH_BYTES:
        why = f"the path has {size} bytes, the limit is {UNIX_PATH_BYTES}"
        raise OSError(errno.ENAMETOOLONG, f"error while attempting to bind on unix socket {path!r}: {why}")
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    file = Path(path)
    before: os.stat_result | None = None
    try:
        if is_socket_file(path):
            if is_listened_on(path):
                raise OSError(errno.EADDRINUSE, "another server listens there")
            before = file.stat()
            file.unlink()
        sock.bind(path)
        # Clients cannot connect yet: the socket does not listen.
        if before is not None:
            keep_owner(path, before)
            mode = stat.S_IMODE(before.st_mode) if mode is None else mode
        file.chmod(UNIX_MODE if mode is None else mode)
    except OSError as exc:
        sock.close()
        raise binding_error(f"unix socket {path!r}", exc) from None
    return sock


def is_socket_file(path: str) -> bool:
    """Return whether the path is a UNIX socket, in use or left over."""
    from pathlib import Path

    return Path(path).is_socket()


def keep_owner(path: str, before: os.stat_result) -> None:
    """Give a file the owner and group of another; log a warning if this process is not allowed to."""
    now = os.stat(path)  # noqa: PTH116
    for name, wanted, found in (("owner", before.st_uid, now.st_uid), ("group", before.st_gid, now.st_gid)):
        if wanted == found:
            continue
        try:
            os.chown(path, *((wanted, -1) if name == "owner" else (-1, wanted)))
        except OSError as exc:
            reason = str(exc.strerror).lower()
            logger.warning("The %s of unix socket '%s' was %d and is now %d: %s", name, path, wanted, found, reason)


def is_listened_on(path: str) -> bool:
    """Return whether a process listens on the UNIX socket at this path."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.setblocking(False)
        try:
            sock.connect(path)
        except BlockingIOError:
            return True  # its backlog is full
        except OSError:
            return False
        return True


def from_descriptor(fd: int) -> socket.socket:
    """Return a socket that shares an inherited descriptor. Raises OSError if it cannot listen."""
    try:
        copy = os.dup(fd)
        try:
            sock = socket.socket(fileno=copy)
        except OSError:
            os.close(copy)
            raise
        try:
            check_can_listen(sock)
        except OSError:
            sock.close()
            raise
    except OSError as exc:
        raise OSError(exc.errno, f"cannot listen on file descriptor {fd}: {str(exc.strerror).lower()}") from None
    return sock


def check_can_listen(sock: socket.socket) -> None:
    """Raise OSError if a socket is not a stream socket, or is connected."""
    if sock.type != socket.SOCK_STREAM:
        raise OSError(errno.EPROTOTYPE, "not a stream socket")
    try:
        sock.getpeername()
    except OSError:
        return
    raise OSError(errno.EISCONN, "already connected")


class SocketFile:
    """The file that a UNIX socket has just been bound to."""

    def __init__(self, path: str) -> None:
        from pathlib import Path

        self.path = Path(path).absolute()  # the application may change the directory
        self.identity = self.current_identity()

    def current_identity(self) -> tuple[int, int]:
        found = self.path.stat()
        return found.st_dev, found.st_ino

    def remove(self) -> None:
        """Remove the file, unless it is gone or has been replaced by another server."""
        with contextlib.suppress(OSError):
            if self.current_identity() == self.identity:
                self.path.unlink()


def begin_to_listen(sock: socket.socket, backlog: int) -> None:
    """Let connections queue. Raises OSError naming the address: another process may have bound it, and listen first."""
    try:
        sock.listen(backlog)
    except OSError as exc:
        raise binding_error(f"address {sock.getsockname()!r}", exc) from None


async def listen(
    sock: socket.socket,
    factory: Callable[[], asyncio.Protocol],
    loop: asyncio.AbstractEventLoop,
    backlog: int,
    tls: dict[str, Any],
) -> asyncio.Server:
    """Start accepting connections on a bound socket and return the asyncio server that does.

    `tls` has the arguments of listen_arguments(), none for a socket without TLS. Raises OSError naming the address.
    """
    arguments: Any = {"backlog": backlog, **tls}
    begin_to_listen(sock, backlog)  # uvloop's error would not tell what failed
    if sock.family != getattr(socket, "AF_UNIX", None):
        return await loop.create_server(factory, sock=sock, **arguments)
    # The file of an inherited socket is left to its owner; Listeners removes ours.
    keep: Any = {"cleanup_socket": False} if sys.version_info >= (3, 13) else {}
    return await loop.create_unix_server(factory, sock=sock, **arguments, **keep)


async def stop_listening(server: asyncio.Server, loop: asyncio.AbstractEventLoop) -> None:
    """Close an asyncio server that shares its socket, without losing accepted connections."""
    import asyncio

    if isinstance(loop, getattr(asyncio, "SelectorEventLoop", ())):
        # Up to 3.11, close() breaks connections that are accepted but not attached to the server yet.
        for sock in server.sockets:
            loop.remove_reader(sock.fileno())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    server.close()
