"""The client and the scheme as trusted proxies forward them, in X-Forwarded-For and X-Forwarded-Proto.

With --proxy-headers the server does this itself, with the same TrustedHosts. The middleware is for applications that
want it elsewhere, inside other middleware or under another server.
"""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import ipaddress
    from collections.abc import Awaitable

    from fastserve._types import ASGI3Application, Receive, Scope, Send

    Addresses = set[ipaddress.IPv4Address | ipaddress.IPv6Address]
    Networks = list[ipaddress.IPv4Network | ipaddress.IPv6Network]

Client = tuple[str, int]  # host, and port or 0

SCHEMES = frozenset(["http", "https", "ws", "wss"])
REMEMBERED = 4096  # cached hosts
MAPPED_BITS = 96  # of the prefix of IPv4-mapped addresses
LONGEST = 253  # characters of a name in the DNS; anything longer is not cached
UNIX = "unix:"
NOBODY: Client = ("", 0)
IDENTIFIER = re.compile(r"unknown|_[A-Za-z0-9._-]+", re.IGNORECASE)  # RFC 7239 sections 6.2 and 6.3
OBFUSCATED = re.compile(r"_[A-Za-z0-9._-]+")  # a port, RFC 7239 section 6.3
ADDRESS = re.compile(r"[0-9A-Fa-f.:]+(?:%[0-9A-Za-z._~-]+)?")  # the characters of an address, with a zone


class TrustedHosts:
    """The trusted proxies: IP addresses, networks in CIDR form, names to be compared as they are, or "*" for all.

    "unix:" stands for the peers of UNIX sockets, which have no address. They are given as a list, or as a string
    separated by commas. `in`, always_trust and get_trusted_client_address() are what programs ask of uvicorn's.
    """

    def __init__(self, hosts: list[str] | str) -> None:
        self.all = self.always_trust = hosts in ("*", ["*"])
        texts = frozenset(split(hosts) if isinstance(hosts, str) else hosts)
        self.unix = UNIX in texts
        self.texts = texts - {UNIX}
        self._remembered = functools.lru_cache(REMEMBERED)(self._trusts)

    @functools.cached_property
    def parsed(self) -> tuple[set[str], Addresses, Networks]:
        """The addresses and networks in the texts, parsed for the first host not among them: ipaddress loads slowly."""
        import ipaddress

        names: set[str] = set()
        addresses: Addresses = set()
        networks: Networks = []
        for text in self.texts:
            try:
                if "/" in text:
                    networks.append(plain_network(ipaddress.ip_network(text)))
                else:
                    addresses.add(plain_address(ipaddress.ip_address(text)))
            except ValueError:
                names.add(text)
        return names, addresses, networks

    def trusts(self, host: str | None) -> bool:
        """Return whether a host is trusted. None, the client of a UNIX socket, is trusted only by "*" and "unix:"."""
        if self.all or not host:
            return self.all or (host is None and self.unix)
        return self._remembered(host) if len(host) <= LONGEST else self._trusts(host)

    def _trusts(self, host: str) -> bool:
        if host in self.texts and "/" not in host:
            return True
        import ipaddress

        names, addresses, networks = self.parsed
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return host in names
        forms = {address, plain_address(address)}
        return not forms.isdisjoint(addresses) or any(form in network for network in networks for form in forms)

    def __contains__(self, host: str | None) -> bool:
        return self.trusts(host)

    def client(self, forwarded: str) -> Client:
        """Return the client in a value of X-Forwarded-For.

        The host is empty if that is neither an IP address nor an identifier of RFC 7239: then the client is unknown.
        """
        return checked(self.get_trusted_client_address(forwarded))

    def get_trusted_client_address(self, x_forwarded_for: str) -> Client:
        """Return the last host of a value of X-Forwarded-For that is not a trusted proxy, the first if all are."""
        hosts = split(x_forwarded_for)
        if not self.all:
            for host in reversed(hosts):
                address = host_and_port(host)
                if not self.trusts(address[0]):
                    return address
        return host_and_port(hosts[0])


_TrustedHosts = TrustedHosts  # under uvicorn's name: programs look there for whom their proxy settings trust


def plain_address(address: Any) -> Any:
    """Return an address of ipaddress; an IPv4-mapped IPv6 address becomes the IPv4 address that it maps."""
    return getattr(address, "ipv4_mapped", None) or address


def plain_network(network: Any) -> Any:
    """Return a network of ipaddress; a network of IPv4-mapped addresses becomes the IPv4 network that it maps."""
    import ipaddress

    first = plain_address(network.network_address)
    if first.version == network.version or network.prefixlen < MAPPED_BITS:
        return network
    return ipaddress.ip_network((first, network.prefixlen - MAPPED_BITS))


def split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",")]


def host_and_port(text: str) -> Client:
    """Return host and port of `host`, `host:port`, `[IPv6]` or `[IPv6]:port`; anything else is a host."""
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if bracket and not rest:
            return host, 0
        if bracket and rest.startswith(":"):
            return host, int(rest[1:]) if is_number(rest[1:]) else 0
        return text, 0
    host, colon, port = text.partition(":")
    if colon and OBFUSCATED.fullmatch(port):
        return host, 0
    if not colon or ":" in port or not is_number(port):
        return text, 0
    return host, int(port)


def checked(client: Client) -> Client:
    """Return the client, with port 0 for an invalid one, or NOBODY."""
    host, port = client
    if not is_node(host):
        return NOBODY
    return host, port if 0 <= port <= 65535 else 0


def is_node(host: str) -> bool:
    if len(host) > LONGEST:
        return False
    if IDENTIFIER.fullmatch(host):
        return True
    import ipaddress

    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return ADDRESS.fullmatch(host) is not None  # ipaddress accepts any zone


def is_number(text: str) -> bool:
    try:
        int(text)
    except ValueError:
        return False
    return True


class ProxyHeadersMiddleware:
    """Sets scope["client"] and scope["scheme"] to what a trusted proxy says, for the application inside.

    The scheme is that of the last X-Forwarded-Proto, the client that of all X-Forwarded-For together.
    """

    def __init__(self, app: ASGI3Application, trusted_hosts: list[str] | str = "127.0.0.1") -> None:
        self.app = app
        self.trusted_hosts = TrustedHosts(trusted_hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            client = scope.get("client")
            if self.trusted_hosts.trusts(client[0] if client else None):
                self.forward(scope)
        await self.app(scope, receive, send)

    def forward(self, scope: Scope) -> None:
        """Apply the headers to the scope."""
        headers = scope["headers"]
        protocols = [value for name, value in headers if name == b"x-forwarded-proto"]
        scheme = scheme_of(protocols[-1], scope["type"] == "websocket") if protocols else None
        if scheme is not None:
            scope["scheme"] = scheme
        forwarded = [value for name, value in headers if name == b"x-forwarded-for"]
        client = self.trusted_hosts.client(b", ".join(forwarded).decode("latin-1")) if forwarded else None
        if client is not None and client[0]:
            scope["client"] = client


class ReadByServer(ProxyHeadersMiddleware):
    """ProxyHeadersMiddleware where the core has done the same already, for programs that look for it and its `app`."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)


class WebSocketProxyHeaders:
    """ProxyHeadersMiddleware for WebSockets only, when the core does the same for everything else."""

    def __init__(self, app: ASGI3Application, trusted_hosts: list[str] | str) -> None:
        self.app = app
        self.websockets = ProxyHeadersMiddleware(app, trusted_hosts)

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        return (self.websockets if scope["type"] == "websocket" else self.app)(scope, receive, send)


def scheme_of(protocol: bytes, websocket: bool) -> str | None:
    """Return the scheme for a value of X-Forwarded-Proto, None unless it is one of the four."""
    scheme = protocol.decode("latin-1").strip()
    if scheme not in SCHEMES:
        return None
    return scheme.replace("http", "ws") if websocket else scheme
