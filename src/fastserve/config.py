"""Config: what a server is told, checked, and what follows from it."""

from __future__ import annotations

import inspect
import logging
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from fastserve.application import is_asgi3, looks_like_wsgi, may_be_factory, takes_no_arguments
from fastserve.importer import ImportFromStringError, blame, import_from_string
from fastserve.logging import log_config
from fastserve.logging.formatters import LOG_LEVELS, LOGGING_CONFIG, TRACE_LOG_LEVEL, adopt_uvicorns
from fastserve.logging.log_config import ConfigError
from fastserve.net import tls
from fastserve.net.address import Bind
from fastserve.net.tls import create_ssl_context
from fastserve.options.table import INTERFACES, TABLE, OptionError, Options

if TYPE_CHECKING:
    import asyncio
    import socket
    from pathlib import Path
    from ssl import SSLContext

    from fastserve._core.http.proxies import Proxies
    from fastserve._core.settings import Settings
    from fastserve._types import ASGI3Application
    from fastserve.lifespan.off import LifespanOff
    from fastserve.lifespan.on import LifespanOn
    from fastserve.middleware.wsgi import WSGIMiddleware
    from fastserve.net.tls import Certificates
    from fastserve.protocols.websockets.contract import Framing

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

TRUSTED_PROXIES = "127.0.0.1,::1"

AT_ONCE = 0.001  # seconds: what 0 says for a connection that is idle; to the core it would say never

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
    """Uvicorn's warning of what will not work any longer, for programs that filter it; fastserve gives none."""


class Config(Options):
    """The configuration of a server: its options as attributes, and after load() the application and what serves it.

    The arguments are the rows of fastserve.options, in uvicorn's order. Making one sets up logging and reads env_file.
    Raises OptionError, a ValueError, for a value that an option cannot have, and ConfigError for a file it cannot use.
    """

    def __post_init__(self) -> None:
        from fastserve.options.conflicts import check

        super().__post_init__()
        self.activated: list[int] = []  # descriptors of sockets that systemd has bound
        check(self)
        self.headers = self.headers or []
        if self.interface == "wsgi":
            self.ws = "none"
        self.encoded_headers: list[tuple[bytes, bytes]] = []
        self.http_protocol_class: Callable[..., asyncio.Protocol]
        self.uses_core = True  # it is the compiled one, which is made from a Worker
        self.ws_protocol_class: type[Any] | None = None  # on uvicorn's contract, None for no WebSockets
        self.ws_framing: type[Framing] | None = None  # makes the core's frames where it does not do it itself
        self.lifespan_class: type[LifespanOn | LifespanOff]
        self.loaded_app: ASGI3Application
        self.ssl: SSLContext | None = None
        self.certificates: Certificates | None = None
        self.wsgi: WSGIMiddleware | None = None  # around a WSGI application
        self.plain_sockets: frozenset[int] = frozenset()  # of those that are bound: which are without TLS
        self.loaded = False
        self.has_parent = False  # set in a process that one of ours has started, to watch over it
        self.among_others = False  # set where somebody else has started processes like this one
        self.reload_dirs_excludes: list[Path] = []
        if self.app_dir is not None:
            sys.path.insert(0, os.fspath(self.app_dir))
        self.configure_logging()
        if self.app_dir and not os.path.exists(self.app_dir):  # noqa: PTH110  # pathlib would be imported for this alone
            logger.warning("The directory '%s' of app_dir does not exist.", os.fspath(self.app_dir))
        self.settle_watching()
        if self.env_file is not None:
            self.load_env_file()
        self.settle_workers()
        if self.forwarded_allow_ips is None:
            self.forwarded_allow_ips = os.environ.get("FORWARDED_ALLOW_IPS", TRUSTED_PROXIES)

    @property
    def multiprocess(self) -> bool:
        """Whether other processes serve the same application, which a WSGI application is told."""
        return self.among_others or (self.workers or 1) > 1

    def configure_logging(self) -> None:
        """Apply log_config, use_colors, log_level and access_log to the loggers. Raises ConfigError for a file."""
        logging.addLevelName(TRACE_LOG_LEVEL, "TRACE")
        renamed = log_config.apply(self.log_config, self.use_colors)
        if self.log_level is not None:
            level = LOG_LEVELS[self.log_level] if isinstance(self.log_level, str) else self.log_level
            for name in ("fastserve.error", "fastserve.access", "fastserve.asgi"):
                logging.getLogger(name).setLevel(level)
        if not self.access_log:
            access = logging.getLogger("fastserve.access")
            access.handlers = []
            access.propagate = False
        if renamed:
            logger.info("The logging configuration names only uvicorn's loggers: it is applied to fastserve's.")

    def load_env_file(self) -> None:
        """Put the variables of env_file into the environment, those apart that are there. Raises ConfigError."""
        import io
        from pathlib import Path

        assert self.env_file is not None
        try:
            from dotenv import load_dotenv
            from dotenv.parser import parse_stream
        except ImportError:
            raise ConfigError("env_file needs python-dotenv: install it, or fastserve[standard].") from None
        try:
            text = Path(self.env_file).read_text(encoding="utf-8")
        except (OSError, ValueError) as exc:
            raise ConfigError(f"env_file '{self.env_file}' cannot be read: {exc}") from exc
        for binding in parse_stream(io.StringIO(text)):
            if binding.error:
                before = binding.original.string.partition(binding.original.string.strip())[0]
                line = binding.original.line + before.count("\n")
                raise ConfigError(f"env_file '{self.env_file}' cannot be used: line {line} is no NAME=VALUE")
        try:
            load_dotenv(stream=io.StringIO(text))
        except (OSError, ValueError) as exc:  # no environment can hold it
            raise ConfigError(f"env_file '{self.env_file}' cannot be used: {exc}") from exc
        logger.info("Loading environment from '%s'", self.env_file)

    def settle_watching(self) -> None:
        """Resolve what reloading watches."""
        if self.reload or self.reload_dirs or self.reload_includes or self.reload_excludes:
            from fastserve.supervisors import file_filter

            file_filter.settle(self)
        else:
            self.reload_dirs, self.reload_includes, self.reload_excludes = [], [], []

    def settle_workers(self) -> None:
        """Take the number of workers from the environment where no option says it. Raises OptionError."""
        self.workers_by_environment = self.workers is None
        if self.workers is None:
            text = os.environ.get("WEB_CONCURRENCY") or "1"
            try:
                self.workers = TABLE["workers"].kind.parsed(text)
            except (TypeError, ValueError) as exc:
                raise OptionError(f"WEB_CONCURRENCY: {exc}") from None
        if self.reload and self.workers != 1:
            logger.warning('"workers" flag is ignored when reloading is enabled.')

    @property
    def asgi_version(self) -> str:
        """The version that the scope names: "2.0" or "3.0"."""
        return "2.0" if self.interface == "asgi2" else "3.0"

    @property
    def is_ssl(self) -> bool:
        return bool(self.ssl_keyfile or self.ssl_certfile or self.ssl_context_factory)

    @property
    def use_subprocess(self) -> bool:
        """Whether run() serves from child processes."""
        return self.reload or self.use_workers

    @property
    def use_workers(self) -> bool:
        """Whether run() watches worker processes: more than one, or one that has to be replaced at times."""
        watching = (self.workers_lifetime, self.workers_max_rss, self.timeout_worker_blocked)
        return not self.reload and (any(each is not None for each in watching) or (self.workers or 1) > 1)

    @property
    def binds(self) -> list[Bind]:
        """The addresses to listen on."""
        if self.bind:
            return [Bind.parse(text) for text in self.bind]
        if self.fd is not None:
            return [Bind(fd=self.fd)]
        if self.uds is not None:
            return [Bind(path=self.uds)]
        return [Bind(fd=fd) for fd in self.activated] or [Bind(host=self.host or None, port=self.port)]

    @property
    def should_reload(self) -> bool:
        return isinstance(self.app, str) and self.reload

    def load(self) -> None:
        """Import the application, and set what follows from the options; called once, before serving.

        Logs an error and exits with STARTUP_FAILURE if there is no application to be had.
        """
        assert not self.loaded
        headers = self.own_headers()
        named = any(name == b"server" for name, _ in headers)
        self.encoded_headers = headers if named or not self.server_header else [(b"server", b"fastserve"), *headers]
        self.load_protocols()
        try:
            self.certificates = tls.certificates_of(self)
        except ConfigError as exc:
            fail("%s", exc)
        self.ssl = None if self.certificates is None else self.certificates.context
        self.lifespan_class = import_from_string(LIFESPAN[self.lifespan])
        app = self.made_by_factory(self.load_app())
        if not callable(app):
            close = getattr(app, "close", None)
            if inspect.iscoroutine(app) and close is not None:
                close()  # else Python complains about it as well
            fail("Error loading ASGI app. %s is not callable, it is of type %s.", self.app_name, type(app).__name__)
        if self.interface != "wsgi" and looks_like_wsgi(app):
            fail(
                "Error loading ASGI app. %s takes two arguments, as WSGI applications do: serve it with"
                " --interface wsgi, under gunicorn with -k fastserve.workers.FastserveWSGIWorker.",
                self.app_name,
            )
        self.loaded_app = self.as_asgi3(app)
        self.loaded = True

    def give_up_workers(self) -> None:
        """Serve with one worker where only the environment asks for more, of an application that has no name."""
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

    @property
    def leaves_websockets(self) -> bool:
        """Whether WebSockets are served by a class that is not the core's."""
        from fastserve._core.connection import Connection

        return self.ws_protocol_class is not None and not issubclass(self.ws_protocol_class, Connection)

    @property
    def app_name(self) -> str:
        return f'"{self.app}"' if isinstance(self.app, str) else "The application"

    def load_app(self) -> Any:
        """Import the application and return it. Logs an error and exits with STARTUP_FAILURE if that fails."""
        try:
            return import_from_string(self.app)
        except ImportFromStringError as exc:
            fail("Error loading ASGI app. %s", exc)
        except Exception as exc:
            fail("Error loading ASGI app. Importing %s raised %s", self.app_name, blame(exc), exc_info=exc)

    def made_by_factory(self, app: Any) -> Any:
        """Return what the application factory makes, if `app` is one, else `app`."""
        if not self.factory and not (takes_no_arguments(app) if self.interface == "wsgi" else may_be_factory(app)):
            return app  # a WSGI application may say about any call that it is wrong, and not by a TypeError
        try:
            made = app()
        except Exception as exc:
            # Without --factory, and unless it takes no arguments for sure, a TypeError says that it is the application.
            if not self.factory and isinstance(exc, TypeError) and not takes_no_arguments(app):
                return app
            fail("Error loading ASGI app factory: %s", blame(exc), exc_info=exc)
        if not self.factory:
            logger.warning(
                "ASGI app factory detected. Using it, but please consider setting the --factory flag explicitly."
            )
        return made

    def as_asgi3(self, app: Any) -> ASGI3Application:
        """Settle which interface the application has, and return it as ASGI 3, inside of what the options ask for."""
        if self.interface == "auto":
            self.interface = "asgi3" if is_asgi3(app) else "asgi2"
        if self.interface == "asgi2":
            from fastserve.middleware.asgi2 import ASGI2Middleware

            app = ASGI2Middleware(app)
        elif self.interface == "wsgi":
            from fastserve.middleware.wsgi import WSGIMiddleware

            self.wsgi = app = WSGIMiddleware(app, self.wsgi_threads, multiprocess=self.multiprocess, outermost=True)
        if logger.getEffectiveLevel() <= TRACE_LOG_LEVEL:
            from fastserve.middleware.message_logger import MessageLoggerMiddleware

            app = MessageLoggerMiddleware(app)
        if self.proxy_headers and not self.uses_core:  # the core does it itself
            from fastserve.middleware.proxy_headers import ProxyHeadersMiddleware

            app = ProxyHeadersMiddleware(app, trusted_hosts=self.forwarded_allow_ips or "")
        elif self.proxy_headers and self.leaves_websockets:
            from fastserve.middleware.proxy_headers import WebSocketProxyHeaders

            app = WebSocketProxyHeaders(app, trusted_hosts=self.forwarded_allow_ips or "")
        wrapped: ASGI3Application = app
        return wrapped

    def own_headers(self) -> list[tuple[bytes, bytes]]:
        return [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in self.headers or []]

    def core_settings(self) -> Settings:
        """Return the compiled core's copy of what concerns it."""
        from fastserve._core.settings import Settings

        return Settings(
            default_headers=self.own_headers(),
            server=b"fastserve" if self.server_header else None,
            date=self.date_header,
            root_path=self.root_path,
            timeout_keep_alive=self.timeout_keep_alive or AT_ONCE,
            timeout_request_head=self.timeout_request_head,
            timeout_request_body=self.timeout_request_body,
            timeout_write=self.timeout_write,
            limit_request_line=self.limit_request_line,
            limit_request_head=self.limit_request_head,
            limit_request_fields=self.limit_request_fields,
            limit_request_body=self.limit_request_body,
            limit_concurrency=(self.limit_concurrency or 0) if self.uses_core else 0,  # else not for WebSockets alone
            reset_contextvars=self.reset_contextvars,
            websocket=self.ws != "none",
            ws_max_size=self.ws_max_size,
            ws_max_queue=self.ws_max_queue,
            ws_ping_interval=self.ws_ping_interval or 0,
            ws_ping_timeout=self.ws_ping_timeout or 0,
            ws_per_message_deflate=self.ws_per_message_deflate,
            tls=None if self.ssl is None else tls.Extension(),
            proxies=self.trusted_proxies(),
            sendfile=self.sendfile,
            raise_disconnect=self.raises_disconnect,
        )

    @property
    def raises_disconnect(self) -> bool:
        """Whether send() raises once the client is gone; what calls WSGI applications relies on it."""
        return self.disconnect == "raise" or self.interface == "wsgi"

    def trusted_proxies(self) -> Proxies | None:
        """Return the core's view of the proxies that are trusted, None where nothing of what proxies say is used."""
        if not self.proxy_headers or not self.uses_core:  # else a middleware does it
            return None
        from fastserve._core.http.proxies import Proxies
        from fastserve.middleware.proxy_headers import TrustedHosts, scheme_of

        return Proxies(TrustedHosts(self.forwarded_allow_ips or ""), scheme_of)

    def get_loop_factory(self) -> Callable[[], asyncio.AbstractEventLoop] | None:
        """Return what makes the event loop, None for asyncio's own choice. Logs an error and exits if it is missing."""
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
        """Return an event loop of get_loop_factory()'s. Logs an error and exits if what it names makes none."""
        import asyncio

        try:
            loop: Any = factory()
        except Exception as exc:
            text = blame(exc)
            # Without a frame of the user's there is nothing to see: it could not even be called.
            fail(
                'Error loading custom loop setup function "%s": %s', self.loop, text, exc_info=exc.__traceback__ and exc
            )
        if not isinstance(loop, asyncio.AbstractEventLoop):
            kind = type(loop).__name__
            fail('Error loading custom loop setup function "%s": it made no event loop, but a %s.', self.loop, kind)
        made: asyncio.AbstractEventLoop = loop
        return made

    def setup_event_loop(self) -> NoReturn:
        """Raise AttributeError: an event loop is made by the factory that get_loop_factory() returns."""
        raise AttributeError("setup_event_loop() is gone: run the server with the factory of get_loop_factory()")

    def bind_socket(self) -> socket.socket:
        """Return a bound socket that child processes inherit, and log where the server runs.

        It is that of the first address; without a host it takes connections of both families. Logs an error and exits
        with STARTUP_FAILURE if the address cannot be had.
        """
        from fastserve.net.listeners import Listeners

        try:
            listeners = Listeners.bind_one(self)
            listeners.listen(self.backlog)  # who reads the line below may connect
        except OSError as exc:
            fail("%s", exc)
        listeners.log_running(self)
        sock = listeners.sockets[0]
        sock.set_inheritable(True)
        return sock


# What programs know from uvicorn.config and what no start needs, with where it is.
ELSEWHERE = {
    "ASGI2Middleware": "fastserve.middleware.asgi2",
    "MessageLoggerMiddleware": "fastserve.middleware.message_logger",
    "ProxyHeadersMiddleware": "fastserve.middleware.proxy_headers",
    "WSGIMiddleware": "fastserve.middleware.wsgi",
    "is_dir": "fastserve.supervisors.file_filter",
    "iscoroutinefunction": "fastserve._compat",
    "resolve_reload_patterns": "fastserve.supervisors.file_filter",
    "style": "fastserve.logging.formatters",
}


def __getattr__(name: str) -> Any:
    if name in ELSEWHERE:
        return import_from_string(f"{ELSEWHERE[name]}:{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
