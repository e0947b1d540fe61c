"""An address to listen on, written as host:port, [v6]:port, unix:path or fd://number, optionally after http://."""

from __future__ import annotations

from dataclasses import dataclass, replace

FORMS = "host:port, [v6]:port, unix:path or fd://number"
SCHEMES = {"http://": False, "https://": True}


@dataclass(frozen=True)
class Bind:
    """An address to listen on: a path, an inherited descriptor, or a host and port."""

    host: str | None = None  # None for every address of both families
    port: int = 0
    path: str | None = None  # of a UNIX socket
    fd: int | None = None
    tls: bool | None = None  # None where the server's configuration decides
    redirects: bool = False  # to an address with TLS

    @classmethod
    def parse(cls, text: str) -> Bind:
        """Return the address written in `text`. Raises ValueError."""
        for scheme, tls in SCHEMES.items():
            if text.startswith(scheme):
                return replace(cls.parse(text.removeprefix(scheme)), tls=tls)
        if text.startswith("unix:"):
            path = text.removeprefix("unix:")
            if not path:
                raise ValueError(f"{text!r}: expected a path, as in unix:/run/app.sock")
            return cls(path=path)
        if text.startswith("fd://"):
            digits = text.removeprefix("fd://")
            if not digits.isdecimal():
                raise ValueError(f"{text!r}: expected a file descriptor, as in fd://3")
            return cls(fd=int(digits))
        host, colon, digits = text.rpartition(":")
        if not colon or not digits.isdecimal() or int(digits) > 65535:
            raise ValueError(f"{text!r} is not of the form {FORMS}, with a port from 0 to 65535")
        if host.startswith("[") and host.endswith("]"):
            host = host[1:-1]
        elif ":" in host:
            raise ValueError(f"{text!r} is not of the form {FORMS}: an IPv6 address goes in brackets")
        return cls(host=host or None, port=int(digits))

    @property
    def is_tcp(self) -> bool:
        return self.path is None and self.fd is None
