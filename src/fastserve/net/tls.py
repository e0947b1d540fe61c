"""TLS: contexts from files, certificates that are replaced while connections last, and the ASGI `tls` extension.

What a handshake fails with is the client's business: asyncio and uvloop close the connection and say nothing outside of
their debug mode, and `Handshake` leaves one line at debug level.
"""

from __future__ import annotations

import logging
import os
import ssl
import sys
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from fastserve.logging.log_config import ConfigError
from fastserve.net import certificates

if TYPE_CHECKING:
    import asyncio

    from fastserve.options.table import Options

StrPath = str | os.PathLike[str]

ALPN_PROTOCOLS = ["http/1.1"]
SHUTDOWN_SECONDS = 30.0  # for a client of a class that has no such deadlines to close as well
HANDSHAKE_SECONDS = 10.0  # for a handshake, where a request's head does not have less
FOREVER = 86400.0  # seconds; the core has its own deadlines for closing, and they look at what the client still takes

logger = logging.getLogger("fastserve.error")


class Handshake(ssl.SSLObject):
    """The TLS state of one connection, which logs why its handshake failed."""

    underway: ClassVar[weakref.WeakSet[Handshake]] = weakref.WeakSet()  # of connections that no protocol knows of yet
    server_cert: str | None = None
    over = False

    def do_handshake(self) -> None:
        try:
            super().do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            self.underway.add(self)
            raise
        except ssl.SSLError as exc:
            self.end()
            logger.debug("TLS handshake failed: %s", reason_of(exc))
            raise
        self.end()

    def end(self) -> None:
        self.over = True
        self.underway.discard(self)

    def __del__(self) -> None:
        if not self.over:
            logger.debug("TLS handshake failed: the client left or took too long")


class Context(ssl.SSLContext):
    """The context of a server's connections, which remembers the certificate that each of them began with."""

    sslobject_class = Handshake
    server_cert: str | None = None  # in PEM form

    def wrap_bio(self, *args: Any, **options: Any) -> ssl.SSLObject:
        made = super().wrap_bio(*args, **options)
        if isinstance(made, Handshake):
            made.server_cert = self.server_cert
        return made


class Successive(ssl.SSLContext):
    """What a server listens with where contexts follow one another: each connection begins with the latest."""

    latest: ssl.SSLContext

    def wrap_bio(self, *args: Any, **options: Any) -> ssl.SSLObject:
        return self.latest.wrap_bio(*args, **options)


def reason_of(exc: Exception) -> str:
    """Return why OpenSSL failed, in its words and without its numbers."""
    reason = getattr(exc, "verify_message", None) or getattr(exc, "reason", None)
    return str(reason).lower().replace("_", " ") if reason else str(getattr(exc, "strerror", None) or exc)


def create_ssl_context(
    certfile: StrPath,
    keyfile: StrPath | None,
    password: str | None,
    ssl_version: int,
    cert_reqs: int,
    ca_certs: StrPath | None,
    ciphers: str | None,
    alpn_protocols: list[str] | None = None,
) -> ssl.SSLContext:
    """Return a server's context. Raises ConfigError naming the file, or the ciphers, that cannot be used."""
    context = Context(ssl_version)
    load_certificate(context, certfile, keyfile, password)
    context.verify_mode = ssl.VerifyMode(cert_reqs)
    if ca_certs:
        readable("ssl_ca_certs", ca_certs)
        try:
            context.load_verify_locations(ca_certs)
        except ssl.SSLError as exc:
            raise ConfigError(f"ssl_ca_certs '{os.fspath(ca_certs)}' cannot be used: {reason_of(exc)}") from exc
    if ciphers:
        try:
            context.set_ciphers(ciphers)
        except ssl.SSLError as exc:
            raise ConfigError(f"ssl_ciphers '{ciphers}' cannot be used: {reason_of(exc)}") from exc
    if alpn_protocols:
        context.set_alpn_protocols(alpn_protocols)
    return context


def load_certificate(context: Context, certfile: StrPath, keyfile: StrPath | None, password: str | None) -> None:
    """Have new connections of `context` begin with the certificate and key of these files. Raises ConfigError."""
    certificate = f"ssl_certfile '{os.fspath(certfile)}'"
    key = f"ssl_keyfile '{os.fspath(keyfile)}'" if keyfile else certificate
    chain = readable("ssl_certfile", certfile)
    if keyfile:
        readable("ssl_keyfile", keyfile)
    leaf = certificates.first_certificate(chain)
    if leaf is None:
        raise ConfigError(f"{certificate} cannot be used: there is no certificate in PEM form in it")
    asked = False

    def answer() -> str:
        nonlocal asked
        asked = True
        if not password:
            raise ConfigError(f"{key} cannot be used: the key is encrypted and needs ssl_keyfile_password")
        return password

    try:
        context.load_cert_chain(certfile, keyfile, answer)
    except (ssl.SSLError, OSError, ValueError) as exc:
        if getattr(exc, "reason", None) == "KEY_VALUES_MISMATCH":
            raise ConfigError(f"{key} cannot be used: it is not the key of {certificate}") from exc
        if asked:
            raise ConfigError(f"{key} cannot be used: ssl_keyfile_password does not open it") from exc
        wrong = key if certificates.is_well_formed(leaf) and not certificates.is_too_weak(exc) else certificate
        raise ConfigError(f"{wrong} cannot be used: {reason_of(exc)}") from exc
    context.server_cert = ssl.DER_cert_to_PEM_cert(leaf)


def readable(option: str, path: StrPath) -> str:
    """Return the text of an option's file. Raises ConfigError naming both if it cannot be read."""
    from pathlib import Path

    try:
        return Path(path).read_text("latin-1")
    except OSError as exc:
        why = str(exc.strerror or exc).lower()
        raise ConfigError(f"{option} '{os.fspath(path)}' cannot be read: {why}") from exc


class Certificates:
    """The TLS side of a configuration: the context that its options or its factory make, and the next ones.

    `context` is the latest one, `listening` what a server has to listen with. Raises ConfigError for what cannot be
    used.
    """

    def __init__(self, options: Options, alpn_protocols: list[str] | None) -> None:
        self.options = options
        self.alpn_protocols = alpn_protocols
        self.context = self.listening = self.make()
        if options.ssl_context_factory is not None:
            self.listening = successive = Successive(ssl.PROTOCOL_TLS_SERVER)
            successive.latest = self.context

    def make(self) -> ssl.SSLContext:
        factory = self.options.ssl_context_factory
        if factory is None:
            return self.from_options()
        try:
            context: Any = factory(self.options, self.from_options)  # or whatever else
        except Exception as exc:
            if isinstance(exc, ConfigError):
                raise
            raise ConfigError(f"ssl_context_factory raised {type(exc).__name__}: {exc}") from exc
        if not isinstance(context, ssl.SSLContext):
            kind = type(context).__name__
            raise ConfigError(f"ssl_context_factory has to return an ssl.SSLContext, and returned an object of {kind}")
        if context.sslobject_class is ssl.SSLObject:
            context.sslobject_class = Handshake
        return context

    def from_options(self) -> ssl.SSLContext:
        options = self.options
        if not options.ssl_certfile:
            raise ConfigError("the default context that ssl_context_factory asks for needs ssl_certfile")
        return create_ssl_context(
            options.ssl_certfile,
            options.ssl_keyfile,
            options.ssl_keyfile_password,
            options.ssl_version,
            options.ssl_cert_reqs,
            options.ssl_ca_certs,
            options.ssl_ciphers,
            self.alpn_protocols,
        )

    def reload(self) -> None:
        """Read certificate and key again for the connections from now on; those that are open keep theirs.

        A context factory is called again. A context made from the options stays the same object, with all that a
        program may have set on it. Raises ConfigError, and goes on with what there is, if the files cannot be used.
        """
        made = self.make()  # tried on a fresh one: a file that cannot be used leaves half of what it has in a context
        if isinstance(self.listening, Successive):
            self.listening.latest = self.context = made
            return
        assert isinstance(self.context, Context) and isinstance(made, Context)
        before, after = (certificates.key_algorithm(each.server_cert) for each in (self.context, made))
        if before != after:
            # OpenSSL keeps one certificate for each kind of key, and many a client would still be shown the old one.
            raise ConfigError(
                f"ssl_certfile '{self.options.ssl_certfile}' has another kind of key than the one in use: "
                "restart the server to use it"
            )
        assert self.options.ssl_certfile
        load_certificate(
            self.context, self.options.ssl_certfile, self.options.ssl_keyfile, self.options.ssl_keyfile_password
        )


def certificates_of(options: Options, alpn_protocols: list[str] | None) -> Certificates | None:
    """Return the TLS side of a configuration, None where it has none. Raises ConfigError for what cannot be used."""
    if not options.is_ssl:
        return None
    made = Certificates(options, alpn_protocols)
    if options.ssl_context_factory is None:
        if options.ssl_cert_reqs and not options.ssl_ca_certs:
            logger.warning("No client certificate can be verified: ssl_cert_reqs is set, and ssl_ca_certs is not.")
        elif options.ssl_ca_certs and not options.ssl_cert_reqs:
            logger.warning("No client certificate is asked for: ssl_ca_certs is set, and ssl_cert_reqs is not.")
    return made


def listen_arguments(
    context: ssl.SSLContext | None, request_head_seconds: float, uses_core: bool, loop: asyncio.AbstractEventLoop
) -> dict[str, Any]:
    """Return the arguments for create_server() and create_unix_server() that concern TLS."""
    if context is None:
        return {}
    arguments: dict[str, Any] = {
        "ssl": context,
        "ssl_handshake_timeout": min(request_head_seconds or HANDSHAKE_SECONDS, HANDSHAKE_SECONDS),
    }
    if sys.version_info >= (3, 11) or type(loop).__module__.startswith("uvloop"):
        arguments["ssl_shutdown_timeout"] = FOREVER if uses_core else SHUTDOWN_SECONDS
    return arguments


MOST_SHARED = 64  # descriptions of connections; certificates are replaced now and then
TLS_VERSIONS = {"TLSv1": 0x0301, "TLSv1.1": 0x0302, "TLSv1.2": 0x0303, "TLSv1.3": 0x0304}


class Extension:
    """Makes the ASGI extension `tls` of a connection from its SSLObject; called once a connection.

    The ssl module verifies a client's certificate or breaks off the handshake, so there is never an error to report.
    Before Python 3.13 it shows of a client's certificates the first alone. Connections whose clients have none share
    what is returned, which is copied into scopes.
    """

    def __init__(self) -> None:
        self.suites: dict[str, int] = {}
        self.shared: dict[Any, dict[str, Any]] = {}

    def __call__(self, connection: ssl.SSLObject) -> dict[str, Any]:
        cipher = connection.cipher()
        chain = client_chain(connection)
        suite = None if cipher is None else self.suite(cipher[0], connection.context)
        if chain:
            return self.describe(connection, suite, chain)
        key = (getattr(connection, "server_cert", None), connection.version(), suite)
        if key not in self.shared:
            if len(self.shared) >= MOST_SHARED:
                self.shared.clear()
            self.shared[key] = self.describe(connection, suite, chain)
        return self.shared[key]

    def describe(self, connection: ssl.SSLObject, suite: int | None, chain: list[bytes]) -> dict[str, Any]:
        return {
            "server_cert": getattr(connection, "server_cert", None),
            "tls_version": TLS_VERSIONS.get(connection.version() or ""),
            "cipher_suite": suite,
            "client_cert_chain": tuple(map(ssl.DER_cert_to_PEM_cert, chain)),
            "client_cert_name": certificates.subject(chain[0]) if chain else None,
            "client_cert_error": None,
        }

    def suite(self, name: str, context: ssl.SSLContext) -> int | None:
        """Return the IANA number of a cipher suite by OpenSSL's name for it."""
        if name not in self.suites:
            # The upper half of OpenSSL's numbers says which protocol's they are.
            self.suites |= {each["name"]: each["id"] & 0xFFFF for each in context.get_ciphers()}
        return self.suites.get(name)


def client_chain(connection: ssl.SSLObject) -> list[bytes]:
    """Return the certificates of a client in DER form, its own first; none where it sent none."""
    own = connection.getpeercert(binary_form=True)
    if own is None:
        return []
    unverified: Callable[[], list[bytes]] | None = getattr(connection, "get_unverified_chain", None)
    return [own] if unverified is None else list(unverified())
