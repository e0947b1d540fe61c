"""Options that contradict each other: each pair with what to do about it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

from fastserve.net.address import Bind
from fastserve.options.table import CORE_HTTP, TABLE, OptionError, Options, as_list

NEEDED = {
    "workers_lifetime_jitter": "workers_lifetime",
    "shutdown_green": "health",
    "control_socket_mode": "control_socket",
    "static_headers": "static",
    "static_expires": "static",
}
HSTS = "strict-transport-security"
OF_PROXY_HEADERS = (
    "proxy_headers_family", "forwarded_hops", "forwarded_host", "forwarded_prefix", "client_ip_header",
)  # fmt: skip
OLD_DEFAULTS = {"ssl_ciphers": "TLSv1"}  # of older uvicorns; programs with options of their own pass them on


def check(options: Options) -> None:
    """Raise OptionError for the first pair of options that contradict each other."""
    for conflict in conflicts(options):
        raise OptionError(conflict)


def check_activated(options: Options) -> None:
    """Raise OptionError for options that contradict sockets that systemd has passed."""
    if options.reuse_port and any(place.fd in options.activated for place in options.binds):
        raise OptionError("reuse_port and LISTEN_FDS: systemd has bound the sockets; leave out --reuse-port")
    for conflict in conflicts_of_redirect(options):
        raise OptionError(conflict)


def conflicts(options: Options) -> Iterator[str]:
    """Yield what to say of each pair of options that contradict each other."""
    if options.uds is not None and options.fd is not None:
        yield "uds and fd name two places to listen on: leave one out, or use --bind unix:PATH --bind fd://NUMBER"
    if options.bind:
        for name in ("uds", "fd", "host", "port"):
            if getattr(options, name) != TABLE[name].default:
                yield f"bind and {name} name two places to listen on: give {name}'s as one more --bind"
    places = options.places
    if options.reuse_port:
        for place in places:
            if not place.is_tcp:
                what = "uds" if place.path is not None else "fd"
                yield f"reuse_port and {what}: only a host and port can have many sockets; leave out --reuse-port"
    if options.uds_permissions is not None and all(place.path is None for place in places):
        yield without("uds_permissions", "a UNIX socket", "--uds or --bind unix:PATH")
    yield from conflicts_of_places(options)
    yield from missing(options)
    yield from conflicts_of_http2(options)
    yield from conflicts_of_platform(options)
    yield from conflicts_of_threads(options)
    yield from conflicts_of_static(options)
    yield from conflicts_of_proxies(options)
    if options.reload:
        yield from conflicts_of_reload(options)
    if not (options.ssl_certfile or options.ssl_context_factory):
        yield from conflicts_of_tls(options)
    yield from conflicts_of_certificates(options)
    yield from conflicts_of_redirect(options)
    yield from conflicts_of_hsts(options)


def conflicts_of_places(options: Options) -> Iterator[str]:
    """Yield what to say of two sockets, or a socket and a file, that would have one address."""
    taken: dict[str, str] = {}
    for name, place in claims(options):
        if not (place.path or (place.is_tcp and place.port)):
            continue  # the system chooses a port, and a descriptor may be listened on twice
        shown = place.path or f"{place.host or ''}:{place.port}"
        where = os.path.abspath(shown) if place.path else shown  # noqa: PTH100
        before = taken.get(where)
        if before == name:
            yield f"{name} {shown} is given twice: leave one out"
        elif before is not None:
            yield f"{before} and {name} are both {shown}: use another one for {TABLE[name].name}"
        taken[where] = name


def claims(options: Options) -> Iterator[tuple[str, Bind]]:
    """Yield each address and path of its own that the server needs, with the option that names it."""
    for place in options.binds:
        yield "bind" if options.bind else "port" if place.path is None else "uds", place
    for text in options.metrics_bind or ():
        yield "metrics_bind", Bind.parse(text)
    for name in ("control_socket", "pid_file"):
        path = getattr(options, name)
        if path is not None:
            yield name, Bind(path=os.fspath(path))


def missing(options: Options) -> Iterator[str]:
    for name, needed in NEEDED.items():
        if getattr(options, name) and getattr(options, needed) is None:
            yield without(name, needed, TABLE[needed].name)
    for name in ("queue", "queue_timeout"):
        if options.limit_requests is None and getattr(options, name) != TABLE[name].default:
            yield without(name, "limit_requests", "--limit-requests")


def without(name: str, needed: str, remedy: str) -> str:
    return f"{name} has no effect without {needed}: add {remedy}, or leave out {TABLE[name].name}"


def conflicts_of_platform(options: Options) -> Iterator[str]:
    why = {"darwin": "macOS, whose libraries do not survive a fork", "win32": "Windows, which cannot fork"}
    if options.preload and sys.platform in why:
        yield f"preload and {why[sys.platform]}: leave out --preload"
    if options.workers_affinity and not hasattr(os, "sched_setaffinity"):
        yield "workers_affinity: this platform cannot pin a process to a processor; leave out --workers-affinity"


def conflicts_of_threads(options: Options) -> Iterator[str]:
    if options.worker_class != "thread":
        return
    if options.preload:
        yield "worker_class 'thread' and preload: threads share the application without a fork; leave out --preload"
    if options.workers_max_rss is not None:
        yield "worker_class 'thread' and workers_max_rss: all threads share one memory; leave out --workers-max-rss"


def conflicts_of_http2(options: Options) -> Iterator[str]:
    if options.http2 and not options.serves_http2:
        shown = f"'{options.http}'" if isinstance(options.http, str) else options.http.__name__
        yield f"http2 and http {shown}: HTTP/2 is served by {', '.join(CORE_HTTP)}; leave out --http2 or --http"


def conflicts_of_static(options: Options) -> Iterator[str]:
    routes: dict[str, str] = {}
    for text in options.static or []:
        route = text.partition("=")[0].rstrip("/")
        if route in routes:
            yield f"static {routes[route]} and static {text} name two directories for one route: leave one out"
        routes[route] = text
    named = any(name.lower() == "cache-control" for name, _ in options.static_headers or [])
    if named and options.static_expires is not None:
        yield "static_headers and static_expires both set Cache-Control: leave out --static-expires"


def conflicts_of_proxies(options: Options) -> Iterator[str]:
    if not options.proxy_headers:
        for name in OF_PROXY_HEADERS:
            if getattr(options, name) != TABLE[name].default:
                yield f"no-proxy-headers and {name}: leave out --no-proxy-headers or {TABLE[name].name}"
    if options.client_ip_header is not None and options.forwarded_hops is not None:
        yield "client_ip_header and forwarded_hops both say who the client is: leave one out"
    if options.forwarded_prefix and options.proxy_headers_family == "forwarded":
        yield (
            "forwarded_prefix and proxy_headers_family 'forwarded': Forwarded has no prefix; use --root-path instead of"
            " --forwarded-prefix"
        )
    if options.proxy_protocol_from is not None and options.proxy_protocol == "off":
        yield without("proxy_protocol_from", "proxy_protocol", "--proxy-protocol auto")
    if options.root_path_mode != "add" and not (options.root_path or options.forwarded_prefix):
        yield without("root_path_mode", "root_path", "--root-path or --forwarded-prefix")


def conflicts_of_reload(options: Options) -> Iterator[str]:
    for name in ("workers_lifetime", "workers_max_rss", "workers_affinity", "preload", "timeout_worker_blocked"):
        value = getattr(options, name)
        if value not in (None, False):
            option = TABLE[name].name
            yield f"reload and {name}: reloading is for one process in development; leave out --reload or {option}"


def conflicts_of_tls(options: Options) -> Iterator[str]:
    if any(place.tls for place in options.binds):
        yield "bind https:// without ssl_certfile: add --ssl-certfile, or leave https:// out"
    for name in ("ssl_keyfile", "ssl_keyfile_password", "ssl_ca_certs", "ssl_ciphers", "ssl_cert_reqs", "ssl_version",
                 "ssl_redirect", "ssl_hsts"):  # fmt: skip
        value = getattr(options, name)
        if value not in (TABLE[name].default, OLD_DEFAULTS.get(name)):
            shown = f" '{value}'" if name == "ssl_keyfile" and isinstance(value, str) else ""
            yield f"{name}{shown} has no effect without ssl_certfile: give both"


def conflicts_of_certificates(options: Options) -> Iterator[str]:
    certificates, keys = len(as_list(options.ssl_certfile)), len(as_list(options.ssl_keyfile))
    if keys and certificates and keys != certificates:
        yield (
            f"ssl_certfile has {certificates} and ssl_keyfile {keys}: give one --ssl-keyfile for each --ssl-certfile,"
            " in the same order (a file with both can be given as both), or none if each certificate's file has its key"
        )


def conflicts_of_hsts(options: Options) -> Iterator[str]:
    if options.ssl_hsts is not None and any(name.lower() == HSTS for name, _ in options.headers or []):
        yield f"ssl_hsts and headers both set {HSTS}: leave out --header, which sends it without TLS as well"


def conflicts_of_redirect(options: Options) -> Iterator[str]:
    where = options.ssl_redirect
    if where is None:
        return
    if all(place.tls is False for place in options.binds):
        yield "ssl_redirect and bind http://: no address has TLS; leave out http:// or --ssl-redirect"
    if not options.redirects:
        yield (
            f"ssl_redirect {where} and addresses without a host and port: give the address to redirect from, as in"
            f" --ssl-redirect 0.0.0.0:{where} or --ssl-redirect fd://4"
        )
    taken = {(place.host, place.port, place.path, place.fd) for place in options.binds}
    for place in options.redirects:
        if (place.host, place.port, place.path, place.fd) in taken and (place.port or not place.is_tcp):
            yield f"ssl_redirect {where} is the server's own address: redirect from another one"
