"""TLS: contexts from files, certificates that can be replaced while serving, and the ASGI `tls` extension.

A failed handshake is the client's concern: asyncio and uvloop close the connection without logging outside their debug
mode, and `TlsHandshake` logs one line at debug level.
"""

from __future__ import annotations

import logging
import os
import ssl
import sys
import threading
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from fastserve._core.metrics import SCALAR_CELLS
from fastserve.logging.log_config import ConfigError
from fastserve.metrics.pages import of_worker
from fastserve.net import certificates
from fastserve.net.server_names import ByName, silence_wrong_names

if TYPE_CHECKING:
    import asyncio

    from fastserve.options.table import Options

StrPath = str | os.PathLike[str]

ALPN_PROTOCOLS = ["http/1.1"]
ALPN_PROTOCOLS_HTTP2 = ["h2", "http/1.1"]
BEFORE_TLS_1_2 = (3, 4)  # ssl.PROTOCOL_TLSv1 and PROTOCOL_TLSv1_1: HTTP/2 asks for more (RFC 9113 section 9.2)
SHUTDOWN_SECONDS = 30.0  # for the client to close as well, with protocol classes that have no such deadline
HANDSHAKE_SECONDS = 10.0  # for a handshake, unless timeout_request_head is less
TLS_OK, TLS_FAILED = SCALAR_CELLS["tls_ok"], SCALAR_CELLS["tls_failed"]
FOREVER = 86400.0  # seconds; the core has its own deadlines for closing, which watch the client's progress

logger = logging.getLogger("fastserve.error")


class Underway(threading.local):
    """The handshakes that are under way in the loop of this thread."""

    def __init__(self) -> None:
        self.handshakes: weakref.WeakSet[TlsHandshake] = weakref.WeakSet()


class TlsHandshake(ssl.SSLObject):
    """The TLS state of one connection, which logs why its handshake failed."""

    underway: ClassVar = Underway()  # of connections that have no protocol yet
    server_cert: str | None = None
    over = False

    def do_handshake(self) -> None:
        try:
            super().do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            self.underway.handshakes.add(self)
            raise
        except ssl.SSLError as exc:
            self.end()
            of_worker().add(TLS_FAILED)
            logger.debug("TLS handshake failed: %s", reason_of(exc))
            raise
        if not self.over:
            of_worker().add(TLS_OK)
        self.end()

    def end(self) -> None:
        self.over = True
        self.underway.handshakes.discard(self)

    def __del__(self) -> None:
        if not self.over:
            of_worker().add(TLS_FAILED)
            logger.debug("TLS handshake failed: the client left or took too long")


class Context(ssl.SSLContext):
    """The context of a server's connections, which gives each the certificate that it began with."""

    sslobject_class = TlsHandshake
    server_cert: str | None = None  # in PEM form
    names: tuple[str, ...] = ()  # that it is for

    def wrap_bio(self, *args: Any, **options: Any) -> ssl.SSLObject:
        made = super().wrap_bio(*args, **options)
        if isinstance(made, TlsHandshake):
            made.server_cert = self.server_cert
        return made


class Choice:
    """The SNI callback that gives a connection the context for the name it asks for, by default the first.

    `unused` are the contexts whose names all belong to earlier ones.
    """

    def __init__(self, contexts: list[Context]) -> None:
        self.contexts = contexts
        self.by_name: ByName[Context] = ByName()
        self.unused = [each for each in contexts if not self.by_name.add(each.names, each)]
        if contexts[0] in self.unused:  # it may have no name: it is the default
            self.unused.remove(contexts[0])
        silence_wrong_names()

    def __call__(self, connection: Any, name: str | None, listening: ssl.SSLContext) -> None:
        chosen = (self.by_name.find(name) if name else None) or self.contexts[0]
        if chosen is not listening:
            connection.context = chosen
            connection.server_cert = chosen.server_cert


class Successive(ssl.SSLContext):
    """The context to listen with where a factory makes new ones: each connection begins with the latest."""

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
) -> Context:
    """Return a server's context. Raises ConfigError naming the unusable file or ciphers."""
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
        too_old = ssl_version in BEFORE_TLS_1_2
        context.set_alpn_protocols([name for name in alpn_protocols if name != "h2" or not too_old])
    return context


def load_certificate(context: Context, certfile: StrPath, keyfile: StrPath | None, password: str | None) -> None:
    """Load the certificate and key for new connections of `context`. Raises ConfigError."""
    certificate = f"ssl_certfile '{os.fspath(certfile)}'"
    key = f"ssl_keyfile '{os.fspath(keyfile)}'" if keyfile else certificate
    leaf = leaf_of(certfile)
    if keyfile:
        readable("ssl_keyfile", keyfile)
    asked = False

    def ask_password() -> str:
        nonlocal asked
        asked = True
        if not password:
            raise ConfigError(f"{key} cannot be used: the key is encrypted and needs ssl_keyfile_password")
        return password

    try:
        context.load_cert_chain(certfile, keyfile, ask_password)
    except (ssl.SSLError, OSError, ValueError) as exc:
        if getattr(exc, "reason", None) == "KEY_VALUES_MISMATCH":
            raise ConfigError(f"{key} cannot be used: it does not match {certificate}") from exc
        if asked:
            raise ConfigError(f"{key} cannot be used: ssl_keyfile_password is wrong") from exc
        wrong = key if certificates.is_well_formed(leaf) and not certificates.is_too_weak(exc) else certificate
        raise ConfigError(f"{wrong} cannot be used: {reason_of(exc)}") from exc
    context.server_cert = ssl.DER_cert_to_PEM_cert(leaf)
    context.names = tuple(certificates.names(leaf))


def leaf_of(certfile: StrPath) -> bytes:
    """Return the server's own certificate of a file, in DER form. Raises ConfigError."""
    leaf = certificates.first_certificate(readable("ssl_certfile", certfile))
    if leaf is None:
        raise ConfigError(f"ssl_certfile '{os.fspath(certfile)}' cannot be used: it contains no PEM certificate")
    return leaf


def readable(option: str, path: StrPath) -> str:
    """Return the text of an option's file. Raises ConfigError naming both if reading fails."""
    from pathlib import Path

    try:
        return Path(path).read_text("latin-1")
    except OSError as exc:
        why = str(exc.strerror or exc).lower()
        raise ConfigError(f"{option} '{os.fspath(path)}' cannot be read: {why}") from exc


class Certificates:
    """The TLS side of a configuration: the context made from its options or by its factory, and later ones.

    `context` is the latest one, `listening` the one to listen with. Raises ConfigError for unusable files and options.
    """

    def __init__(self, options: Options, alpn_protocols: list[str] | None) -> None:
        self.options = options
        self.alpn_protocols = alpn_protocols
        self.context = self.listening = self.make()
        if options.ssl_context_factory is not None:
            self.listening = successive = Successive(ssl.PROTOCOL_TLS_SERVER)
            successive.latest = self.context
        self.names = self.names_in_use()

    def make(self) -> ssl.SSLContext:
        factory = self.options.ssl_context_factory
        if factory is None:
            return self.from_options()
        try:
            context: Any = factory(self.options, self.from_options)  # a factory may return anything
        except Exception as exc:
            if isinstance(exc, ConfigError):
                raise
            raise ConfigError(f"ssl_context_factory raised {type(exc).__name__}: {exc}") from exc
        if not isinstance(context, ssl.SSLContext):
            kind = type(context).__name__
            raise ConfigError(f"ssl_context_factory returned {kind}, not an ssl.SSLContext")
        if context.sslobject_class is ssl.SSLObject:
            context.sslobject_class = TlsHandshake
        return context

    def from_options(self) -> ssl.SSLContext:
        """Return the context of the first certificate; if there are more, its callback chooses among all."""
        options = self.options
        if not options.certificate_files:
            raise ConfigError("ssl_context_factory asks for the default context, which needs ssl_certfile")
        made = [
            create_ssl_context(
                certfile,
                keyfile,
                options.ssl_keyfile_password,
                options.ssl_version,
                options.ssl_cert_reqs,
                options.ssl_ca_certs,
                options.ssl_ciphers,
                self.alpn_protocols,
            )
            for certfile, keyfile in options.certificate_files
        ]
        if len(made) > 1:
            made[0].sni_callback = Choice(made)
        return made[0]

    @property
    def in_use(self) -> list[ssl.SSLContext]:
        """The contexts of new connections, in the order of the certificates."""
        choice = self.context.sni_callback
        return list(choice.contexts) if isinstance(choice, Choice) else [self.context]

    def names_in_use(self) -> ByName[bool] | None:
        """Return the names in the certificates in use; None if those of one are not known."""
        found: ByName[bool] = ByName()
        for context in self.in_use:
            names = getattr(context, "names", ())
            if not names:
                return None
            found.add(names, True)
        return found

    @property
    def ends(self) -> list[float]:
        """When the certificates in use expire, in seconds since 1970; without those whose end is not known."""
        pems = [pem for context in self.in_use if (pem := getattr(context, "server_cert", None))]
        found = [certificates.validity(ssl.PEM_cert_to_DER_cert(pem)) for pem in pems]
        return [each[1] for each in found if each is not None]

    @property
    def unused(self) -> list[str]:
        """The files of certificates that are never sent to a client."""
        choice = self.context.sni_callback
        if not isinstance(choice, Choice):
            return []
        files = [os.fspath(certfile) for certfile, _ in self.options.certificate_files]
        return [file for file, context in zip(files, choice.contexts, strict=True) if context in choice.unused]

    def reload(self) -> None:
        """Reload certificates and keys for new connections; open ones keep theirs.

        A context factory is called again. A context made from the options stays the same object, with everything that
        the program may have set on it. Raises ConfigError for unusable files, and then changes nothing.
        """
        made = self.make()  # a fresh context first: an unusable file would leave a context half changed
        if isinstance(self.listening, Successive):
            self.listening.latest = self.context = made
            self.names = self.names_in_use()
            return
        assert isinstance(self.context, Context) and isinstance(made, Context)
        (certfile, keyfile), *others = self.options.certificate_files
        before, after = (certificates.key_algorithm(each.server_cert) for each in (self.context, made))
        if before != after:
            # OpenSSL keeps one certificate per kind of key: many clients would still get the old one.
            raise ConfigError(
                f"ssl_certfile '{os.fspath(certfile)}' has a different kind of key than the current one: "
                "restart the server to use it"
            )
        load_certificate(self.context, certfile, keyfile, self.options.ssl_keyfile_password)
        if others:
            assert isinstance(made.sni_callback, Choice)
            self.context.sni_callback = Choice([self.context, *made.sni_callback.contexts[1:]])
        self.names = self.names_in_use()


def certificates_of(options: Options, alpn_protocols: list[str] | None) -> Certificates | None:
    """Return the TLS side of a configuration, None without TLS. Raises ConfigError for unusable files and options."""
    if not options.is_ssl:
        return None
    made = Certificates(options, alpn_protocols)
    for file in made.unused:
        logger.warning("ssl_certfile '%s' is not used: the certificates before it have all of its names.", file)
    if options.ssl_context_factory is None:
        if options.ssl_cert_reqs and not options.ssl_ca_certs:
            logger.warning("Client certificates cannot be verified: ssl_cert_reqs is set without ssl_ca_certs.")
        elif options.ssl_ca_certs and not options.ssl_cert_reqs:
            logger.warning("Client certificates are not requested: ssl_ca_certs is set without ssl_cert_reqs.")
    return made


def listen_arguments(
    context: ssl.SSLContext | None, request_head_seconds: float, uses_core: bool, loop: asyncio.AbstractEventLoop
) -> dict[str, Any]:
    """Return the TLS arguments of create_server() and create_unix_server()."""
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
    """Makes the ASGI extension `tls` of a connection from its SSLObject; called once per connection.

    The ssl module verifies a client's certificate or aborts the handshake, so there is never an error to report. Before
    Python 3.13 it gives only the first of a client's certificates. Connections without client certificates share the
    returned dict, which is copied into scopes.
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
            # The upper half of OpenSSL's number identifies the protocol.
            self.suites |= {each["name"]: each["id"] & 0xFFFF for each in context.get_ciphers()}
        return self.suites.get(name)


def client_chain(connection: ssl.SSLObject) -> list[bytes]:
    """Return the certificates that a client sent, in DER form, its own first."""
    own = connection.getpeercert(binary_form=True)
    if own is None:
        return []
    unverified: Callable[[], list[bytes]] | None = getattr(connection, "get_unverified_chain", None)
    return [own] if unverified is None else list(unverified())
