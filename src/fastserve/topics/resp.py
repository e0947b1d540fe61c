"""A connection to Redis or Valkey: RESP by hiredis' reader, commands in order, messages of pub/sub aside."""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

from fastserve._version import requirement
from fastserve.topics.engine import EngineDown

CONNECT_SECONDS = 5.0
PING_SECONDS = 5.0


class Address(NamedTuple):
    """Where a server is, and who asks."""

    host: str
    port: int
    path: str | None  # of a UNIX socket, in place of the two
    database: int
    user: str | None
    password: str | None
    tls: ssl.SSLContext | None


def address_of(url: str) -> Address:
    """Return what redis://[user:password@]host[:port][/database], rediss:// or redis+unix:///path says.

    rediss:// verifies the server's certificate; `?cafile=` names an authority of one's own. Raises ValueError.
    """
    parts = urlsplit(url)
    query = parse_qs(parts.query)
    user = unquote(parts.username) if parts.username else None
    password = unquote(parts.password) if parts.password else None
    if parts.scheme == "redis+unix":
        return Address("", 0, parts.path, int(query.get("db", ["0"])[0]), user, password, None)
    if parts.scheme not in ("redis", "rediss") or not parts.hostname:
        raise ValueError(f"{parts.scheme}://...: expected redis://host, rediss://host or redis+unix:///path")
    database = parts.path.strip("/") or "0"
    if not database.isdigit():
        raise ValueError(f"the path of a redis URL is the number of a database, not {database!r}")
    tls = ssl.create_default_context(cafile=query.get("cafile", [None])[0]) if parts.scheme == "rediss" else None
    return Address(parts.hostname, parts.port or 6379, None, int(database), user, password, tls)


def reader() -> Any:
    """Return a parser of what the server sends. Raises EngineDown without the package."""
    try:
        import hiredis
    except ImportError:
        extra = requirement("redis")
        raise EngineDown(f"--topics redis://... needs the package hiredis: install it, or {extra}.") from None
    return hiredis.Reader(encoding=None)


def command(*words: bytes | str | float) -> bytes:
    parts = [b"*%d\r\n" % len(words)]
    for word in words:
        data = word if isinstance(word, bytes) else str(word).encode()
        parts.append(b"$%d\r\n%b\r\n" % (len(data), data))
    return b"".join(parts)


class Redis(asyncio.Protocol):
    """One connection. `pushed` is called with each message of pub/sub, `lost` once when the connection has ended.

    The commands of a turn of the loop leave in one write.
    """

    def __init__(self, pushed: Callable[[list[Any]], None], lost: Callable[[Exception], None]) -> None:
        self.loop = asyncio.get_running_loop()
        self.reader = reader()
        self.unsent: list[bytes] = []
        self.pushed = pushed
        self.on_lost = lost
        self.transport: asyncio.Transport
        self.asked: deque[asyncio.Future[Any]] = deque()
        self.closed = False
        self.heard = True  # something has come since the last ping

    # What is asked

    def ask(self, *words: bytes | str | float) -> asyncio.Future[Any]:
        """Send a command; return the future of its reply, which raises EngineDown for an error of the server.

        Raises ValueError for text that has no UTF-8, as tell() does; nothing is sent then.
        """
        future: asyncio.Future[Any] = self.loop.create_future()
        if self.closed:
            future.set_exception(EngineDown("the connection to Redis is gone"))
            return future
        self.tell(*words)
        self.asked.append(future)
        return future

    def tell(self, *words: bytes | str | float) -> None:
        """Send a command that has no reply but messages: of pub/sub."""
        if self.closed:
            return
        encoded = command(*words)
        if not self.unsent:
            self.loop.call_soon(self._send)
        self.unsent.append(encoded)

    def _send(self) -> None:
        unsent, self.unsent = self.unsent, []
        if not self.closed:
            self.transport.write(b"".join(unsent))

    def close(self, reason: Exception) -> None:
        if not self.closed:
            self.closed = True
            self.transport.abort()
            while self.asked:
                future = self.asked.popleft()
                if not future.done():
                    future.set_exception(EngineDown(f"the connection to Redis is gone: {reason}"))
            self.on_lost(reason)

    # What the loop calls

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self.close(exc or ConnectionResetError("it has closed the connection"))

    def data_received(self, data: bytes) -> None:
        self.heard = True
        get, pushed = self.reader.gets, self.pushed
        try:
            self.reader.feed(data)
            while (reply := get()) is not False:
                if type(reply) is list and reply and type(reply[0]) is bytes and reply[0] in PUSHED:
                    pushed(reply)
                else:
                    self._take(reply)
        except Exception as exc:  # of the parser: what it is given is not RESP
            self.close(exc)

    def _take(self, reply: Any) -> None:
        if not self.asked:
            raise ValueError(f"a reply to nothing: {reply!r}")
        future = self.asked.popleft()
        if future.done():
            return
        if isinstance(reply, Exception):
            future.set_exception(EngineDown(str(reply)))
        else:
            future.set_result(reply)


PUSHED = frozenset((b"message", b"subscribe", b"unsubscribe"))


async def connect(address: Address, pushed: Callable[[list[Any]], None], lost: Callable[[Exception], None]) -> Redis:
    """Return an open connection. Raises OSError, EngineDown where the server refuses, asyncio.TimeoutError."""
    loop = asyncio.get_running_loop()
    opened: list[Redis] = []

    def ended(reason: Exception) -> None:
        if opened:
            lost(reason)

    async def work() -> Redis:
        protocol: Redis
        if address.path is not None:
            _, protocol = await loop.create_unix_connection(lambda: Redis(pushed, ended), address.path)
        else:
            _, protocol = await loop.create_connection(
                lambda: Redis(pushed, ended), address.host, address.port, ssl=address.tls
            )
        try:
            if address.password is not None:
                user = () if address.user is None else (address.user,)
                await protocol.ask("AUTH", *user, address.password)
            if address.database:
                await protocol.ask("SELECT", address.database)
            await protocol.ask("PING")
        except BaseException as exc:
            protocol.close(exc if isinstance(exc, Exception) else ConnectionAbortedError("cancelled"))
            raise
        opened.append(protocol)
        return protocol

    return await asyncio.wait_for(work(), CONNECT_SECONDS)
