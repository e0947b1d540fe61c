"""Config: the options of a server, checked, and what follows from them."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from ssl import SSLContext
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from fastserve import application
from fastserve.importer import ImportFromStringError, blame, from_elsewhere, import_from_string
from fastserve.logging import log_config
from fastserve.logging.formatters import LOG_LEVELS, LOGGING_CONFIG, TRACE_LOG_LEVEL, adopt_uvicorns
from fastserve.logging.log_config import ConfigError
from fastserve.net import tls
from fastserve.net.server_names import ByName
from fastserve.net.tls import Certificates, create_ssl_context
from fastserve.options import environment
from fastserve.options.conflicts import check, check_activated
from fastserve.options.core import core_settings, default_headers
from fastserve.options.table import INTERFACES, Options

if TYPE_CHECKING:
    import asyncio
    import socket
    from pathlib import Path

    from fastserve._core.http.proxies import Proxies
    from fastserve._core.settings import Settings
    from fastserve._types import ASGI3Application
    from fastserve.lifespan.off import LifespanOff
    from fastserve.lifespan.on import LifespanOn
    from fastserve.middleware.wsgi import WSGIMiddleware
    from fastserve.net.listeners import PlainSockets
    from fastserve.protocols.foreign import Health, Limited
    from fastserve.protocols.websockets.contract import Framing
    from fastserve.static.files import StaticFiles

__all__ = [
    "HTTP_PROTOCOLS",
    "INTERFACES",
    "LIFESPAN",
    "LOGGING_CONFIG",
    "LOG_LEVELS",
    "LOOP_FACTORIES",
    "SSL_PROTOCOL_VERSION",
    "STARTUP_FAILURE",
    "WS_PROTOCOLS",
    "Config",
    "ConfigError",
    "HTTPProtocolType",
    "InterfaceType",
    "LifespanType",
    "LoopFactoryType",
    "UvicornDeprecationWarning",
    "WSProtocolType",
    "create_ssl_context",
]

STARTUP_FAILURE = 3  # the exit code of a server that could not start
SSL_PROTOCOL_VERSION = 17  # ssl.PROTOCOL_TLS_SERVER

# The names of options' values, for programs that annotate with them.
HTTPProtocolType = Literal["auto", "llhttp", "httptools", "h11"]
WSProtocolType = Literal["auto", "none", "websockets", "websockets-sansio", "wsproto"]
LifespanType = Literal["auto", "on", "off"]
LoopFactoryType = Literal["none", "auto", "asyncio", "uvloop", "zuvloop"]
InterfaceType = Literal["auto", "asgi3", "asgi2", "wsgi"]

CORE = "fastserve._core.connection:Connection"
HTTP_PROTOCOLS: dict[str, str] = {
    "auto": CORE,
    "llhttp": CORE,
    "httptools": CORE,
    "h11": "fastserve.protocols.http.h11_impl:H11Protocol",
}
WS_PROTOCOLS: dict[str, str | None] = {
    "auto": None,
    "none": None,
    "websockets": "fastserve.protocols.websockets.websockets_sansio_impl:WebSocketsFraming",
    "websockets-sansio": "fastserve.protocols.websockets.websockets_sansio_impl:WebSocketsFraming",
    "wsproto": "fastserve.protocols.websockets.wsproto_impl:WsprotoFraming",
}
LIFESPAN: dict[str, str] = {
    "auto": "fastserve.lifespan.on:LifespanOn",
    "on": "fastserve.lifespan.on:LifespanOn",
    "off": "fastserve.lifespan.off:LifespanOff",
}
LOOP_FACTORIES: dict[str, str | None] = {
    "none": None,
    "auto": "fastserve.loops.auto:auto_loop_factory",
    "asyncio": "fastserve.loops.asyncio:asyncio_loop_factory",
    "uvloop": "fastserve.loops.uvloop:uvloop_loop_factory",
    "zuvloop": "fastserve.loops.zuvloop:zuvloop_loop_factory",
}

logger = logging.getLogger("fastserve.error")


def fail(message: str, *args: Any, exc_info: BaseException | None = None) -> NoReturn:
    """Log an error and leave the process with STARTUP_FAILURE."""
    logger.error(message, *args, exc_info=exc_info)
    sys.exit(STARTUP_FAILURE)


class UvicornDeprecationWarning(UserWarning):
    """Uvicorn's warning of deprecated use, for programs that filter it; fastserve never gives it."""


class Config(Options):
    """The configuration of a server: its options as attributes, and after load() the application and what serves it.

    The arguments are the rows of fastserve.options.table, in uvicorn's order. Making one sets up logging and reads
    env_file. Raises OptionError, a ValueError, for an invalid value, and ConfigError for a file that cannot be used.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        check(self)
        self.headers = self.headers or []
        if self.interface == "wsgi":
            self.ws = "none"
        self.encoded_headers: list[tuple[bytes, bytes]] = []
        self.http_protocol_class: Callable[..., asyncio.Protocol]
        self.uses_core = True  # http_protocol_class is the compiled one, which is made from a Worker
        self.ws_protocol_class: type[Any] | None = None  # on uvicorn's contract, None for no WebSockets
        self.ws_framing: type[Framing] | None = None  # makes the core's frames where it does not do it itself
        self.lifespan_class: type[LifespanOn | LifespanOff]
        self.loaded_app: ASGI3Application
        self.ssl: SSLContext | None = None
        self.certificates: Certificates | None = None
        self.wsgi: WSGIMiddleware | None = None  # around a WSGI application
        self.limited: Limited | None = None  # this and the next: around the application of protocol classes of others
        self.health_response: Health | None = None
        self.static_files: StaticFiles | None = None
        self.plain_sockets: PlainSockets = {}  # of what bind_socket() has bound: which are without TLS
        self.loaded = False
        self.reload_dirs_excludes: list[Path] = []
        if self.app_dir is not None:
            sys.path.insert(0, os.fspath(self.app_dir))
        self.configure_logging()
        if self.app_dir and not os.path.exists(self.app_dir):  # noqa: PTH110  # pathlib would be imported for this alone
            logger.warning("The directory '%s' of app_dir does not exist.", os.fspath(self.app_dir))
        self.settle_watching()
        if self.env_file is not None:
            environment.load_env_file(self.env_file)
        self.workers_by_environment = self.workers is None
        if self.workers is None:
            self.workers = environment.workers()
        if self.reload and (self.workers or 1) > 1:
            logger.warning('"workers" flag is ignored when reloading is enabled.')
        if self.forwarded_allow_ips is None:
            self.forwarded_allow_ips = environment.forwarded_allow_ips()

    def configure_logging(self) -> None:
        """Apply the options of logging to the loggers. Raises ConfigError for a file."""
        logging.addLevelName(TRACE_LOG_LEVEL, "TRACE")
        renamed = log_config.apply(self.log_config, self.use_colors)
        if self.log_level is not None:
            level = LOG_LEVELS[self.log_level] if isinstance(self.log_level, str) else self.log_level
            for name in ("fastserve.error", "fastserve.access", "fastserve.asgi"):
                logging.getLogger(name).setLevel(level)
        access = logging.getLogger("fastserve.access")
        if not self.access_log:
            access.handlers = []
            access.propagate = False
        elif self.access_log_file is not None:
            from fastserve.logging.access_file import AccessFile

            access.handlers = [AccessFile.opened(self.access_log_file)]
            access.propagate = False
        if self.log_format != "default" or "JOURNAL_STREAM" in os.environ:
            log_config.adapt(self.log_format)
        if renamed:
            logger.info("The logging configuration names only uvicorn's loggers: it is applied to fastserve's.")

    def settle_watching(self) -> None:
        """Resolve what reloading watches."""
        if not (self.reload or self.reload_dirs or self.reload_includes or self.reload_excludes):
            self.reload_dirs, self.reload_includes, self.reload_excludes = [], [], []
            return
        from fastserve.options.watched import watched

        found = watched(self)
        self.reload_dirs, self.reload_includes, self.reload_excludes = found.dirs, found.includes, found.excludes
        self.reload_dirs_excludes = found.left_out

    def use_activated(self, descriptors: list[int]) -> None:
        """Listen on sockets that systemd has bound, unless an option says where. Raises OptionError.

        Call it before anything is bound.
        """
        self.activated = descriptors
        check_activated(self)

    def join_family(self, pid: int) -> None:
        """Set the process id of the first parent, by which its workers find one another; the first call counts."""
        if self.family is None:
            self.family = pid

    def load(self) -> None:
        """Import the application, and set what follows from the options; called once, before serving.

        Logs an error and exits with STARTUP_FAILURE if there is no application to serve.
        """
        assert not self.loaded
        self.encoded_headers = default_headers(self)
        self.load_protocols()
        try:
            offered = tls.ALPN_PROTOCOLS_HTTP2 if self.serves_http2 else tls.ALPN_PROTOCOLS
            self.certificates = tls.certificates_of(self, getattr(self.http_protocol_class, "alpn_protocols", offered))
        except ConfigError as exc:
            fail("%s", exc)
        self.ssl = None if self.certificates is None else self.certificates.context
        self.load_static_files()
        self.lifespan_class = import_from_string(LIFESPAN[self.lifespan])
        app = self.load_app()
        try:
            app = application.made_by_factory(app, self)
            application.check(app, self)
        except application.ApplicationError as exc:
            fail("%s", exc, exc_info=exc.__cause__)
        foreign = self.foreign_types
        self.loaded_app, self.interface, self.wsgi, self.limited = application.as_asgi3(
            app,
            self,
            uses_core=self.uses_core,
            leaves_websockets=self.leaves_websockets,
            foreign=foreign,
            proxies=self.trusted_proxies() if self.reads_more_headers else None,
        )
        if self.static_files is not None and not self.uses_core:
            from fastserve.static.application import StaticApplication

            prefix = "" if self.root_path_mode == "given" else self.root_path
            self.loaded_app = StaticApplication(self.static_files, self.loaded_app, prefix)
        if foreign:
            from fastserve.protocols.foreign import around

            self.loaded_app = around(self.loaded_app, self, foreign)
        if self.health is not None and "http" in foreign:
            from fastserve.protocols.foreign import Health

            self.loaded_app = self.health_response = Health(self.loaded_app, self.health, self.root_path)
        self.loaded = True

    @property
    def served_app(self) -> ASGI3Application:
        """The loaded application, without the middleware that only stands for what the core does."""
        from fastserve.middleware.proxy_headers import ReadByServer

        app = self.loaded_app
        return app.app if type(app) is ReadByServer else app

    @property
    def listening_context(self) -> SSLContext | None:
        """The TLS context to listen with, after load(); a program may have put one of its own into `ssl`."""
        own = self.certificates
        return own.listening if own is not None and own.context is self.ssl else self.ssl

    @property
    def certificate_names(self) -> ByName[bool] | None:
        """The names in the certificates in use; None if those of one are not known."""
        own = self.certificates
        return own.names if own is not None and own.context is self.ssl else None

    @property
    def certificate_ends(self) -> list[float]:
        """When the certificates in use expire, in seconds since 1970; without those whose end is not known."""
        own = self.certificates
        return own.ends if own is not None and own.context is self.ssl else []

    def reload_certificates(self) -> None:
        """Read certificates and keys again for the connections from now on; those that are open keep theirs.

        Raises ConfigError if they cannot be used; the present ones stay in use.
        """
        assert self.certificates is not None
        before = self.certificates.context
        self.certificates.reload()
        if self.ssl is before:  # a program may have put a context of its own there
            self.ssl = self.certificates.context

    def give_up_workers(self) -> None:
        """Serve with one worker if only the environment asks for more and the application is not an import string."""
        if self.workers_by_environment and (self.workers or 1) > 1 and not self.reload:
            logger.warning(
                "WEB_CONCURRENCY=%d is ignored, one worker serves: for more, pass the application as an import string.",
                self.workers,
            )
            self.workers = 1

    def load_protocols(self) -> None:
        from fastserve.protocols import choice

        try:
            self.http_protocol_class, self.uses_core = choice.http_protocol(self.http, HTTP_PROTOCOLS)
        except choice.ProtocolError as exc:
            fail("Error loading HTTP protocol. %s", exc)
        try:
            self.ws_protocol_class, self.ws_framing = choice.ws_protocol(self.ws, WS_PROTOCOLS)
        except choice.ProtocolError as exc:
            fail('Error loading the WebSocket implementation "%s". %s', self.ws, exc, exc_info=exc.__cause__)
        if choice.is_uvicorns(self.http_protocol_class) or choice.is_uvicorns(self.ws_protocol_class):
            adopt_uvicorns()

    def load_static_files(self) -> None:
        if self.static:
            from fastserve.static.files import StaticFiles

            try:
                self.static_files = StaticFiles(self)
            except ConfigError as exc:
                fail("%s", exc)

    @property
    def leaves_websockets(self) -> bool:
        """Whether a class other than the core's serves WebSockets."""
        from fastserve._core.connection import Connection

        return self.ws_protocol_class is not None and not issubclass(self.ws_protocol_class, Connection)

    @property
    def foreign_types(self) -> tuple[str, ...]:
        """The types of scopes that protocol classes of others make."""
        http = not self.uses_core and not getattr(self.http_protocol_class, "is_own", False)
        return (*(["http"] if http else []), *(["websocket"] if self.leaves_websockets else []))

    def load_app(self) -> Any:
        """Import the application and return it. Logs an error and exits with STARTUP_FAILURE if that fails."""
        try:
            return application.imported(self.app)
        except application.ApplicationError as exc:
            fail("%s", exc, exc_info=exc.__cause__)

    def made_app(self) -> Any:
        """Import the application, and call it if it is a factory; return what is to be served by several servers.

        Logs an error and exits with STARTUP_FAILURE if that fails.
        """
        try:
            return application.made_by_factory(self.load_app(), self)
        except application.ApplicationError as exc:
            fail("%s", exc, exc_info=exc.__cause__)

    def core_settings(self, **changes: Any) -> Settings:
        """Return the settings of the compiled core; `changes` are fields with other values."""
        if not self.uses_core:
            changes = {"limit_concurrency": 0, "hosts": None, **changes}  # not for WebSockets alone
        extension = None if self.ssl is None else tls.Extension()
        proxies = self.trusted_proxies() if self.uses_core else None  # else a middleware does it
        return core_settings(self, tls=extension, proxies=proxies, **changes)

    def trusted_proxies(self) -> Proxies | None:
        """Return the core's view of the proxies that are trusted, None where nothing of what proxies say is used."""
        if not self.proxy_headers:
            return None
        from fastserve._core.http.proxies import Proxies
        from fastserve.middleware.proxy_headers import TrustedHosts, scheme_of

        hosts = TrustedHosts(self.forwarded_allow_ips or "")
        if not self.reads_more_headers:
            return Proxies(hosts, scheme_of)
        from fastserve.proxies.headers import Headers

        return Proxies(hosts, scheme_of, Headers(self, hosts), self.root_path, self.root_path_mode == "given")

    def get_loop_factory(self) -> Callable[[], asyncio.AbstractEventLoop] | None:
        """Return what makes the event loop, None for asyncio's default. Logs an error and exits if it is missing."""
        known = isinstance(self.loop, str) and self.loop in LOOP_FACTORIES
        try:
            factory: Any = import_from_string(LOOP_FACTORIES[str(self.loop)] if known else self.loop)
            if factory is not None and known:
                factory = factory(use_subprocess=self.use_subprocess)
        except ImportFromStringError as exc:
            choices = ", ".join(name for name in LOOP_FACTORIES)
            fail('Error loading custom loop setup function. %s For "loop" choose %s or module:factory.', exc, choices)
        except Exception as exc:
            if known:
                fail('Error loading the event loop "%s". %s: install it, or choose another --loop.', self.loop, exc)
            fail('Error loading custom loop setup function "%s": %s', self.loop, blame(exc), exc_info=exc)
        if factory is not None and not callable(factory):
            fail('Error loading custom loop setup function. "%s" is not callable.', self.loop)
        made: Callable[[], asyncio.AbstractEventLoop] | None = factory
        return made

    def new_loop(self, factory: Callable[[], asyncio.AbstractEventLoop]) -> asyncio.AbstractEventLoop:
        """Return an event loop made by get_loop_factory()'s result. Logs an error and exits if it does not make one."""
        import asyncio

        try:
            loop: Any = factory()
        except Exception as exc:
            text = blame(exc)
            # Without a frame of the user's code a traceback shows nothing: it could not even be called.
            fail(
                'Error loading custom loop setup function "%s": %s', self.loop, text, exc_info=exc.__traceback__ and exc
            )
        if not isinstance(loop, asyncio.AbstractEventLoop):
            kind = type(loop).__name__
            fail('Error loading custom loop setup function "%s": it returned %s, not an event loop.', self.loop, kind)
        made: asyncio.AbstractEventLoop = loop
        return made

    def setup_event_loop(self) -> NoReturn:
        """Raise AttributeError: an event loop is made by the factory that get_loop_factory() returns."""
        raise AttributeError("setup_event_loop() was removed: run the server with the factory of get_loop_factory()")

    def bind_socket(self) -> socket.socket:
        """Return a bound socket that child processes inherit, and log where the server runs.

        It is the socket of the first address; without a host it accepts connections of both families. Logs an error
        and exits with STARTUP_FAILURE if it cannot be bound.
        """
        from fastserve.net.listeners import Listeners

        try:
            listeners = Listeners.bind_one(self)
            listeners.listen(self.backlog)  # who reads the line below may connect
        except OSError as exc:
            fail("%s", exc)
        self.plain_sockets = listeners.plain
        listeners.log_running(self)
        sock = listeners.sockets[0]
        sock.set_inheritable(True)
        return sock


# What programs know from uvicorn.config and starting does not need, with the module that has it.
ELSEWHERE = {
    "ASGI2Middleware": "fastserve.middleware.asgi2",
    "MessageLoggerMiddleware": "fastserve.middleware.message_logger",
    "ProxyHeadersMiddleware": "fastserve.middleware.proxy_headers",
    "WSGIMiddleware": "fastserve.middleware.wsgi",
    "is_dir": "fastserve.options.watched",
    "iscoroutinefunction": "fastserve._compat",
    "resolve_reload_patterns": "fastserve.options.watched",
    "style": "fastserve.logging.formatters",
}


def __getattr__(name: str) -> Any:
    return from_elsewhere(__name__, ELSEWHERE, name)
