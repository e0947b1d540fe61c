"""The table of options: the command line, the environment, Config and --help are made from it, and the tests read it.

A row is a field of `Options`. Its name is the parameter of Config and run() and, in capitals after FASTSERVE_, the
environment variable; its default is the default everywhere. The rows are in the order of uvicorn's Config, followed by
those that only fastserve has, because all of them can be given by position.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import MISSING, dataclass, field, replace
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from fastserve.logging.formatters import LOG_LEVELS, LOGGING_CONFIG
from fastserve.net.address import Bind
from fastserve.options.tls_values import PemFiles, Redirecting, StrictTransport
from fastserve.options.values import (
    AccessLogFormat,
    Binds,
    Boolean,
    Callback,
    Choice,
    Directories,
    File,
    Flag,
    HeaderName,
    Headers,
    HostNames,
    Hosts,
    Integer,
    Kind,
    Level,
    Limit,
    Loop,
    Mode,
    Mounts,
    Number,
    OptionalText,
    Paths,
    Patterns,
    Prefix,
    Protocol,
    RequestPath,
    Seconds,
    Share,
    Size,
    SocketPath,
    Switch,
    Text,
    TopicsUrl,
    Workers,
)

if TYPE_CHECKING:
    import asyncio
    import ssl
    from configparser import RawConfigParser

    from fastserve._types import ASGIApplication
    from fastserve.protocols.websockets.contract import Framing

LOOPS = ("auto", "asyncio", "uvloop", "zuvloop", "none")
HTTP = ("auto", "llhttp", "httptools", "h11")
CORE_HTTP = ("auto", "llhttp", "httptools")  # those that are the compiled core
LIFESPAN = ("auto", "on", "off")
DISCONNECT = ("silent", "raise")
LOG_FORMATS = ("default", "json", "json:ecs", "json:gcp", "json:datadog")
HEADER_FAMILIES = ("x-forwarded", "forwarded")
PROXY_PROTOCOLS = ("off", "v1", "v2", "auto")
ROOT_PATH_MODES = ("add", "given")
WORKER_CLASSES = ("process", "thread")
INTERFACES = ("auto", "asgi3", "asgi2", "wsgi")
SSL_VERSIONS = {17: "TLS_SERVER", 2: "TLS", 3: "TLSv1", 4: "TLSv1_1", 5: "TLSv1_2"}  # ssl.PROTOCOL_*
SSL_CERT_REQS = {0: "NONE", 1: "OPTIONAL", 2: "REQUIRED"}  # ssl.CERT_*

WS = ("auto", "none", "websockets", "websockets-sansio", "wsproto")

APP, BINDING, TLS, PROCESSES, PROTOCOL = "Application", "Binding", "TLS", "Processes", "HTTP"
WEBSOCKET, PROXIES, LIMITS, TIMEOUTS, LOGGING = "WebSocket", "Proxies", "Limits", "Timeouts", "Logging"
TOPICS, METRICS, FILES = "Topics", "Metrics and health", "Static files"
GROUPS = (APP, BINDING, TLS, PROCESSES, PROTOCOL, FILES, WEBSOCKET, TOPICS, PROXIES, LIMITS, TIMEOUTS, LOGGING, METRICS)


class OptionError(ValueError):
    """An invalid value of an option; the text names the option, the value and what is valid."""


class Option(NamedTuple):
    """A row of the table, apart from its static type."""

    kind: Kind
    group: str  # "" for a parameter of Config alone
    help: str
    flag: str = ""  # the name on the command line without dashes, where it is not made from the parameter's
    optional: bool = False  # None is valid, even if it is not the default
    omissible: bool = False  # None means the default: programs pass it on for what they were not given
    command_default: Any = None  # of the command, if it differs
    param: str = ""  # from the field, as is the default
    default: Any = None

    @property
    def name(self) -> str:
        """The option on the command line."""
        return f"--{self.flag or self.param.replace('_', '-')}"

    @property
    def environment(self) -> str:
        """The environment variable that the command reads when the option is not given."""
        return f"FASTSERVE_{self.param.upper()}"

    def checked(self, value: Any) -> Any:
        """Return the value in the form that the server uses. Raises OptionError for an invalid one."""
        if value is None and (self.optional or self.default is None):
            return None
        if value is None and self.omissible:
            return self.default
        try:
            return self.kind.checked(value)
        except (TypeError, ValueError) as exc:
            raise OptionError(f"{self.param}: {exc}") from None


def option(default: Any, group: str, kind: Kind, text: str, **more: Any) -> Any:
    return field(default=default, metadata={"option": Option(kind, group, text, **more)})


def api(default: Any, kind: Kind, **more: Any) -> Any:
    return field(default=default, metadata={"option": Option(kind, "", "", **more)})


def default_log_config(group: str, kind: Kind, text: str) -> Any:
    row = Option(kind, group, text, optional=True)
    return field(default_factory=lambda: LOGGING_CONFIG, metadata={"option": row})


@dataclass(eq=False, repr=False)
class Options:
    """The arguments of Config and run(): the application, and one field for each option."""

    # fmt: off
    app: ASGIApplication | Callable[..., Any] | str
    host: str | None = option("127.0.0.1", BINDING, Text(),
        "Bind socket to this host.", optional=True)
    port: int | None = option(8000, BINDING, Integer(0, 65535),
        "Bind socket to this port. If 0, an available port will be picked.", optional=True)
    uds: str | None = option(None, BINDING, SocketPath(),
        "Bind to a UNIX domain socket.")
    fd: int | None = option(None, BINDING, Integer(0),
        "Listen on the socket of this file descriptor.")
    loop: str | Callable[[], asyncio.AbstractEventLoop] | asyncio.AbstractEventLoop | None = option(
        "auto", APP, Loop(LOOPS, other="module:factory"),
        "Event loop: auto is uvloop if it is installed, else asyncio; none leaves the choice to asyncio's policy.")
    http: type[asyncio.Protocol] | str = option("auto", PROTOCOL, Protocol(HTTP, other="module:Class"),
        "HTTP implementation: auto, llhttp and httptools are the compiled one, h11 is the one in Python.")
    http2: bool | None = option(None, PROTOCOL, Switch(),
        "Enable/Disable HTTP/2, over TLS and for clients that begin with it on plain connections."
        "  [default: on, unless --http is h11 or a class]")
    ws: type[asyncio.Protocol | Framing] | str = option("auto", WEBSOCKET, Protocol(WS, other="module:Class"),
        "WebSocket implementation: auto is the compiled one; with none an upgrade is served as a plain HTTP request.")
    ws_max_size: int | None = option(16777216, WEBSOCKET, Limit(1),
        "Maximum size of a message in bytes; a larger one closes the WebSocket with 1009.", optional=True)
    ws_max_queue: int | None = option(32, WEBSOCKET, Limit(1),
        "Maximum number of messages that wait for the application; reading pauses while there are as many.",
        optional=True)
    ws_ping_interval: float | None = option(20.0, WEBSOCKET, Seconds(),
        "Seconds from a WebSocket's opening or last pong to the server's next ping. 0 means never.", optional=True)
    ws_ping_timeout: float | None = option(20.0, WEBSOCKET, Seconds(),
        "Seconds to wait for the pong; then the WebSocket is closed with 1011. 0 means forever.", optional=True)
    ws_per_message_deflate: bool = option(True, WEBSOCKET, Boolean(),
        "Enable/Disable compression of WebSocket messages (permessage-deflate).")
    lifespan: str = option("auto", APP, Choice(LIFESPAN),
        "Lifespan events: if the application raises at startup, on is an error and auto serves without lifespan.")
    env_file: str | os.PathLike[str] | None = option(None, APP, File(),
        "File of environment variables for the application, read by python-dotenv.")
    log_config: dict[str, Any] | str | os.PathLike[str] | RawConfigParser | IO[Any] | None = default_log_config(
        LOGGING, File(),
        "Logging configuration file: .json, .yaml, anything else in .ini form.")
    log_level: str | int | None = option(None, LOGGING, Level(tuple(LOG_LEVELS)),
        "Log level.  [default: info]")
    access_log: bool = option(True, LOGGING, Switch(),
        "Enable/Disable access log.")
    use_colors: bool | None = option(None, LOGGING, Switch(),
        "Enable/Disable colors in log lines.  [default: on a terminal]")
    interface: str = option("auto", APP, Choice(INTERFACES),
        "Application interface. auto detects asgi3 and asgi2; wsgi must be named and has no WebSocket.")
    reload: bool = option(False, PROCESSES, Flag(),
        "Restart the server when a file changes.")
    reload_dirs: Sequence[str | os.PathLike[str]] | str | None = option(None, PROCESSES, Directories(),
        "Directory to watch; can be given many times.  [default: the current one]", flag="reload-dir")
    reload_delay: float = option(0.25, PROCESSES, Seconds(),
        "Polling interval for file changes.", omissible=True)
    reload_includes: list[str] | str | None = option(None, PROCESSES, Patterns(),
        "Glob pattern of further files, or further directory, to watch; can be given many times.  [default: *.py]",
        flag="reload-include")
    reload_excludes: list[str] | str | None = option(None, PROCESSES, Patterns(),
        "Glob pattern of files, or directory, not to watch; can be given many times."
        "  [default: .*, .py[cod], .sw.*, ~*]", flag="reload-exclude")
    workers: int | None = option(None, PROCESSES, Workers(),
        "Worker processes; auto is one for each processor that CPU affinity and the control group's quota allow. With"
        " --reload there is one.  [default: $WEB_CONCURRENCY, or 1]")
    proxy_headers: bool = option(True, PROXIES, Switch(),
        "Enable/Disable taking scheme and client from the X-Forwarded-Proto and X-Forwarded-For of trusted proxies.")
    server_header: bool = option(True, PROTOCOL, Switch(),
        "Enable/Disable default Server header.")
    date_header: bool = option(True, PROTOCOL, Switch(),
        "Enable/Disable default Date header.")
    forwarded_allow_ips: list[str] | str | None = option(None, PROXIES, Hosts(),
        "Proxies to trust, separated by commas: IP addresses, networks, literal names, unix: for the peers of UNIX"
        " sockets, or '*' for any."
        "  [default: $FORWARDED_ALLOW_IPS, else 127.0.0.1,::1]")
    root_path: str = option("", APP, Prefix(),
        "ASGI 'root_path' for an application mounted below a given URL path.")
    limit_concurrency: int | None = option(None, LIMITS, Limit(1),
        "Number of connections or running requests at which further requests get a 503.  [default: none]")
    limit_max_requests: int | None = option(None, LIMITS, Limit(1),
        "Number of requests after which the process ends.  [default: none]")
    limit_max_requests_jitter: int = option(0, LIMITS, Integer(0),
        "Random extra requests (0 to N) added to --limit-max-requests, so that workers do not restart together.",
        omissible=True)
    backlog: int = option(2048, BINDING, Integer(0),
        "Maximum number of connections that wait to be accepted.")
    timeout_keep_alive: float = option(5, TIMEOUTS, Seconds(),
        "Seconds until a connection that is idle after a response is closed. 0 means at once.")
    timeout_notify: float = api(30, Seconds(), omissible=True)
    timeout_graceful_shutdown: float | None = option(None, TIMEOUTS, Seconds(),
        "Seconds from a stop until running requests are cancelled. Without it the server waits for them, except that"
        " streamed responses of unknown length, such as server-sent events, end after 3 seconds.  [default: none]")
    timeout_worker_healthcheck: int = option(5, TIMEOUTS, Integer(1),
        "Seconds without a sign of life after which a worker is killed and replaced. A worker whose event loop is"
        " blocked for as long is logged with its stack.", omissible=True)
    callback_notify: Callable[[], Awaitable[None]] | None = api(None, Callback())
    ssl_keyfile: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | None = option(None, TLS, PemFiles(),
        "Private key of the certificate, a PEM file; one for each --ssl-certfile, in the same order."
        "  [default: the certificate's file has it]")
    ssl_certfile: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | None = option(None, TLS, PemFiles(),
        "The server's certificate, a PEM file, followed by the intermediate certificates. Can be given many times:"
        " clients get the certificate for the name that they ask for, or else the first.")
    ssl_keyfile_password: str | None = option(None, TLS, OptionalText(),
        "Password of the private key; with several keys, of all that are encrypted.")
    ssl_version: int = option(17, TLS, Number(SSL_VERSIONS),
        "TLS protocol, as a number of the ssl module's PROTOCOL_*.", omissible=True)
    ssl_cert_reqs: int = option(0, TLS, Number(SSL_CERT_REQS),
        "Client certificates: 0 does not ask for them, 1 verifies them if sent, 2 requires them.", omissible=True)
    ssl_ca_certs: str | os.PathLike[str] | None = option(None, TLS, OptionalText(),
        "Certificates of the authorities that client certificates are verified with, a PEM file.")
    ssl_ciphers: str | None = option(None, TLS, OptionalText(),
        "Ciphers for TLS 1.2 and older, in OpenSSL's format.  [default: OpenSSL's]")
    ssl_context_factory: Callable[..., ssl.SSLContext] | None = api(None, Callback())
    headers: list[tuple[str, str]] | None = option(None, PROTOCOL, Headers(),
        "Default response header as Name:Value; can be given many times.", flag="header")
    factory: bool = option(False, APP, Flag(),
        "Treat APP as an application factory, i.e. a callable that takes no arguments and returns the application.")
    h11_max_incomplete_event_size: int | None = option(None, PROTOCOL, Limit(1),
        "With --http h11, maximum bytes of an incomplete head or chunk header.  [default: what the limits allow]")
    reset_contextvars: bool = option(False, APP, Flag(),
        "Run each request in a fresh contextvars.Context.")
    limit_request_line: int = option(16384, LIMITS, Integer(1),
        "Maximum size of a request line in bytes; a longer one gets 414.")
    limit_request_head: int = option(65536, LIMITS, Integer(1),
        "Maximum size of a request's header block in bytes; a larger one gets 431.")
    limit_request_fields: int = option(128, LIMITS, Integer(1),
        "Maximum number of a request's header fields; more get 431.")
    limit_request_body: int = option(0, LIMITS, Integer(0, 2**62 - 1),
        "Maximum size of a request's body in bytes; a larger one gets 413. 0 means no limit.")
    timeout_request_head: float = option(30, TIMEOUTS, Seconds(),
        "Seconds from a request's first byte to the end of its head; then it gets 408. 0 means no limit.")
    timeout_request_body: float = option(60, TIMEOUTS, Seconds(),
        "Seconds without a byte of a request body that the application waits for; then the connection is closed."
        " 0 means no limit.")
    timeout_write: float = option(60, TIMEOUTS, Seconds(),
        "Seconds without the client taking any of the response; then the connection is closed. 0 means no limit.")
    wsgi_threads: int = option(10, APP, Integer(0),
        "Threads for a WSGI application: the number of requests that it handles at a time. 0 calls it in the thread of"
        " the event loop, one request at a time: for an application that does not wait for anything.")
    app_dir: str | os.PathLike[str] | None = option(None, APP, Text(),
        "Look for APP in this directory.  [default: the current one]", command_default="")
    bind: list[str] | str | None = option(None, BINDING, Binds(),
        "Bind to host:port, [v6]:port, unix:path or fd://number instead of --host and --port; can be given many times."
        " With a certificate all speak TLS, except those with the prefix http://, as in http://127.0.0.1:8000.")
    uds_permissions: int | None = option(None, BINDING, Mode(),
        "Permissions of a UNIX domain socket, in octal digits.  [default: 666, or those of a socket"
        " file that exists before the start, which is then kept]",
        flag="uds-permissions")
    reuse_port: bool = option(False, BINDING, Flag(),
        "Give each worker its own listening sockets (SO_REUSEPORT).")
    pid_file: str | os.PathLike[str] | None = option(None, PROCESSES, Text(),
        "Write the process id to this file while the server listens.")
    workers_lifetime: float | None = option(None, PROCESSES, Seconds(positive=True),
        "Seconds after which a worker is replaced.  [default: never]")
    workers_lifetime_jitter: float = option(0, PROCESSES, Seconds(),
        "Random extra seconds (0 to N) added to --workers-lifetime, so that workers are not replaced together.")
    workers_max_rss: int | None = option(None, PROCESSES, Size(),
        "Replace a worker whose resident memory exceeds this, in bytes or with K, M, G.  [default: never]")
    shutdown_delay: float = option(0, TIMEOUTS, Seconds(),
        "Seconds to go on serving, with `Connection: close`, when told to stop. A second signal ends that.")
    sendfile: bool = option(False, PROTOCOL, Flag(),
        "Announce http.response.pathsend, so that applications leave files to the server, which sends them by"
        " sendfile(2). Middleware that compresses or counts response bodies does not see those files.")
    timeout_worker_blocked: int | None = option(None, TIMEOUTS, Integer(1),
        "Seconds after which a worker whose event loop is blocked is killed and replaced.  [default: never]")
    limit_http2_streams: int = option(128, LIMITS, Integer(1, 65536),
        "Maximum number of concurrent streams (requests and WebSockets) on an HTTP/2 connection; more are refused.")
    disconnect: str = option("silent", PROTOCOL, Choice(DISCONNECT),
        "What send() does once the client of an HTTP request is gone: silent does nothing, raise raises an"
        " OSError (ASGI 2.4).")
    topics: str | None = option(None, TOPICS, TopicsUrl(),
        "What carries messages of topics between processes: unix:DIR, a directory for those of this host,"
        " redis://host:port, rediss://, redis+unix:///path, nats://host:port, or module:Class."
        "  [default: a private directory of the workers]")
    topics_prefix: str = option("fastserve:", TOPICS, Text(),
        "Prefix of the names of topics in Redis and NATS.")
    topics_queue: int = option(256, TOPICS, Integer(1),
        "Maximum number of messages that wait for a client that does not read; after that its subscription's policy"
        " applies.")
    topics_queue_size: int = option(1048576, TOPICS, Size(),
        "The same in bytes, or with K, M, G.")
    topics_max_size: int = option(1048576, TOPICS, Size(),
        "Maximum size of a message in bytes, or with K, M, G; a larger one is an error of the publisher.")
    access_log_format: str = option("default", LOGGING, AccessLogFormat(),
        "Format of the access log: default, combined, json, json:ecs, json:gcp, json:datadog, or a text with atoms like"
        " %(h)s.")
    access_log_file: str | os.PathLike[str] | None = option(None, LOGGING, OptionalText(),
        "File of the access log, opened again on SIGUSR1.  [default: standard output]")
    access_log_skip: Sequence[str] | str | None = option(None, LOGGING, Paths(),
        "Paths whose requests have no line in the access log, separated by commas; a prefix ends with *. Requests that"
        " fail, or are slow, have one all the same.")
    access_log_sample: float = option(1, LOGGING, Share(),
        "Share of the lines that the access log keeps, from 0 to 1. Requests that fail, or are slow, have theirs all"
        " the same.")
    log_slow: float | None = option(None, LOGGING, Seconds(positive=True),
        "Seconds after which a request that is still under way is logged, with the stack of its task, and again at its"
        " end.  [default: never]")
    request_id_header: str | None = option(None, LOGGING, HeaderName(),
        "Header with the id of a request: taken from trusted proxies, else made, and sent with the response."
        "  [default: no ids]")
    log_format: str = option("default", LOGGING, Choice(LOG_FORMATS),
        "Format of the general log: json has one line per record, tracebacks included; json:ecs, json:gcp and"
        " json:datadog name its fields as these platforms do.")
    metrics_bind: list[str] | str | None = option(None, METRICS, Binds(),
        "Serve /metrics, /livez, /readyz and a page for browsers at host:port, [v6]:port or unix:path, apart from the"
        " application; can be given many times.")
    metrics_routes: bool = option(False, METRICS, Flag(),
        "Count requests by the framework's route as well.")
    metrics_per_worker: bool = option(False, METRICS, Flag(),
        "Show every metric for each worker.")
    health: str | None = option(None, METRICS, RequestPath(),
        "Path at which the server itself responds: 200, or 503 from the moment that it is told to stop.")
    shutdown_green: float = option(0, METRICS, Seconds(),
        "Seconds to go on serving with a healthy --health when told to stop, before anything else.")
    control_socket: str | os.PathLike[str] | None = option(None, METRICS, OptionalText(),
        "Serve `fastserve ctl` and `fastserve top` at this UNIX socket: what the server does, and verbs to reload,"
        " scale or stop it.  [default: none]")
    control_socket_mode: int | None = option(None, METRICS, Mode(),
        "Permissions of that socket, in octal digits. Whoever may connect may read; root, the server's own user and,"
        " with 660, the group of the socket may use all verbs.  [default: 600]")
    preload: bool = option(False, PROCESSES, Flag(),
        "Import the application once, in a process that forks the workers: they share its memory. SIGHUP imports it"
        " again.")
    workers_affinity: bool = option(False, PROCESSES, Flag(),
        "Pin each worker to one of the processors that the server may use, in turn.")
    static: list[str] | str | None = option(None, FILES, Mounts(),
        "Serve the files of a directory below a route, as in /static=public, before the application is called; can be"
        " given many times.")
    static_headers: list[tuple[str, str]] | None = option(None, FILES, Headers(),
        "Header of responses with static files, as Name:Value; can be given many times.", flag="static-header")
    static_expires: int | None = option(None, FILES, Integer(0),
        "Seconds that clients may keep static files without asking again (Cache-Control: max-age).  [default: none]")
    ssl_redirect: int | str | None = option(None, TLS, Redirecting(),
        "Redirect HTTP requests on this port of the same hosts, or on an address as in --bind, to the addresses with"
        " TLS. ACME challenges (/.well-known/acme-challenge/TOKEN) reach the application.")
    ssl_hsts: int | str | None = option(None, TLS, StrictTransport(),
        "Strict-Transport-Security of responses over TLS: the seconds for which browsers use only HTTPS, or a whole"
        " value such as 'max-age=31536000; includeSubDomains'.")
    proxy_headers_family: str = option("x-forwarded", PROXIES, Choice(HEADER_FAMILIES),
        "The only headers of trusted proxies that count: X-Forwarded-For and its relatives, or Forwarded (RFC 7239).")
    forwarded_hops: int | None = option(None, PROXIES, Integer(1, 100),
        "Number of proxies in front: the client is the Nth address from the right, whatever the addresses after it are."
        "  [default: the last address that is not trusted]")
    forwarded_host: bool = option(False, PROXIES, Flag(),
        "Replace the request's Host header by the host that a trusted proxy forwards, in X-Forwarded-Host and"
        " X-Forwarded-Port or in Forwarded.")
    forwarded_prefix: bool = option(False, PROXIES, Flag(),
        "Take the root_path of a request from the X-Forwarded-Prefix of a trusted proxy.")
    client_ip_header: str | None = option(None, PROXIES, HeaderName(),
        "Header of a trusted proxy that contains only the client's IP address, such as X-Real-IP or CF-Connecting-IP;"
        " the client's address is then taken from no other header.  [default: none]")
    root_path_mode: str = option("add", PROXIES, Choice(ROOT_PATH_MODES),
        "add puts --root-path before the path of a request; given is for proxies whose requests have it already.")
    limit_requests: int | None = option(None, LIMITS, Limit(1),
        "Maximum number of requests that the application works on at a time, in each worker; further requests wait."
        " Idle connections and open WebSockets do not count.  [default: none]")
    queue: int = option(1000, LIMITS, Integer(0, 2**62 - 1),
        "Maximum number of requests that wait with --limit-requests; further requests get a 503 at once.")
    queue_timeout: float = option(0.5, TIMEOUTS, Seconds(positive=True),
        "Seconds that a request waits with --limit-requests; then it gets a 503.")
    limit_connections: int | None = option(None, LIMITS, Limit(1),
        "Maximum number of connections of each process; further ones wait to be accepted. With --health, up to 16 more"
        " are accepted for health checks only.  [default: none]")
    allowed_hosts: Sequence[str] | str | None = option(None, PROXIES, HostNames(),
        "Hosts that requests may be for, on any port, separated by commas: example.com, or *.example.com for all"
        " its subdomains. Requests for others get 421, except for --health.  [default: any]")
    proxy_protocol: str = option("off", PROXIES, Choice(PROXY_PROTOCOLS),
        "The version of the PROXY protocol header that connections must begin with, before TLS if any; auto is both.")
    proxy_protocol_from: list[str] | str | None = option(None, PROXIES, Hosts(),
        "Peers that speak the PROXY protocol, as in --forwarded-allow-ips; connections of others are closed."
        "  [default: 127.0.0.1,::1]")
    worker_class: str = option("process", PROCESSES, Choice(WORKER_CLASSES),
        "process runs each worker in a process of its own; thread runs each in a thread of one process, with one import"
        " of the application, for a Python without a global interpreter lock.")
    # fmt: on

    def __post_init__(self) -> None:
        """Bring every field into the form that the server uses. Raises OptionError for the first invalid value."""
        # What is known of the process rather than chosen:
        self.activated: list[int] = []  # descriptors of sockets that systemd has bound
        self.family: int | None = None  # the process id of the first parent of these workers
        for row in dataclasses.fields(Options):
            if row.name in TABLE:
                setattr(self, row.name, TABLE[row.name].checked(getattr(self, row.name)))

    @property
    def binds(self) -> list[Bind]:
        """The addresses to listen on."""
        if self.bind:
            return [Bind.parse(text) for text in self.bind]
        if self.fd is not None:
            return [Bind(fd=self.fd)]
        if self.uds is not None:
            return [Bind(path=self.uds)]
        redirecting = {place.fd for place in self.redirects_at()}
        passed = [Bind(fd=fd) for fd in self.activated if fd not in redirecting]
        return passed or [Bind(host=self.host or None, port=self.port or 0)]

    def redirects_at(self) -> list[Bind]:
        """Return the address of ssl_redirect if it is an address rather than a port."""
        if not isinstance(self.ssl_redirect, str):
            return []
        return [replace(Bind.parse(self.ssl_redirect), tls=False, redirects=True)]

    @property
    def redirects(self) -> list[Bind]:
        """The addresses that redirect to those with TLS."""
        if not isinstance(self.ssl_redirect, int):
            return self.redirects_at()
        hosts = dict.fromkeys(place.host for place in self.binds if place.is_tcp and place.tls is not False)
        return [Bind(host=host, port=self.ssl_redirect, tls=False, redirects=True) for host in hosts]

    @property
    def places(self) -> list[Bind]:
        """All addresses to listen on: those of the application, and those that redirect."""
        return [*self.binds, *self.redirects]

    @property
    def certificate_files(self) -> list[tuple[str | os.PathLike[str], str | os.PathLike[str] | None]]:
        """The file of each certificate, and that of its key if it is another one."""
        certfiles, keyfiles = as_list(self.ssl_certfile), as_list(self.ssl_keyfile)
        return list(zip(certfiles, keyfiles or [None] * len(certfiles), strict=False))

    @property
    def is_ssl(self) -> bool:
        """Whether there is a TLS certificate."""
        return bool(self.ssl_keyfile or self.ssl_certfile or self.ssl_context_factory)

    @property
    def should_reload(self) -> bool:
        """Whether the server can be started again when a file changes."""
        return isinstance(self.app, str) and self.reload

    @property
    def asgi_version(self) -> str:
        """The version that the scope names: "2.0" or "3.0"."""
        return "2.0" if self.interface == "asgi2" else "3.0"

    @property
    def raises_disconnect(self) -> bool:
        """Whether send() raises once the client is gone; what calls WSGI applications relies on it."""
        return self.disconnect == "raise" or self.interface == "wsgi"

    @property
    def reads_more_headers(self) -> bool:
        """Whether more is read of proxies' headers than uvicorn reads."""
        more = (self.forwarded_hops, self.client_ip_header)
        return (
            self.forwarded_host
            or self.forwarded_prefix
            or self.proxy_headers_family != "x-forwarded"
            or any(each is not None for each in more)
        )

    @property
    def serves_http2(self) -> bool:
        """Whether connections may speak HTTP/2."""
        return self.http2 is not False and self.http in CORE_HTTP

    @property
    def multiprocess(self) -> bool:
        """Whether other processes serve the same application, which a WSGI application is told."""
        return not self.reload and (self.workers or 1) > 1 and self.worker_class != "thread"

    @property
    def use_subprocess(self) -> bool:
        """Whether run() serves from child processes."""
        return self.reload or (self.use_workers and self.worker_class != "thread")

    @property
    def use_threads(self) -> bool:
        """Whether run() supervises workers that are threads of this process."""
        return self.use_workers and self.worker_class == "thread"

    @property
    def use_workers(self) -> bool:
        """Whether run() supervises workers: more than one, or one that is replaced from time to time."""
        watching = (self.workers_lifetime, self.workers_max_rss, self.timeout_worker_blocked)
        watched = self.preload or any(each is not None for each in watching)
        return not self.reload and (watched or (self.workers or 1) > 1)

    @property
    def may_have_siblings(self) -> bool:
        """Whether other processes serve the same application, or may do so later."""
        return self.multiprocess or self.use_workers


def as_list(files: Any) -> list[Any]:
    """Return the value of an option with one file or several as a list."""
    return list(files) if isinstance(files, list | tuple) else [] if files is None else [files]


def table() -> dict[str, Option]:
    found = {}
    for row in dataclasses.fields(Options):
        if "option" in row.metadata:
            default = None if row.default is MISSING else row.default
            found[row.name] = row.metadata["option"]._replace(param=row.name, default=default)
    return found


TABLE: dict[str, Option] = table()
# Those of the command line.
OPTIONS: tuple[Option, ...] = tuple(each for each in TABLE.values() if each.group)
