"""The application: importing it, calling its factory, finding out its interface, and wrapping it as ASGI 3."""

from __future__ import annotations

import inspect
import logging
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from fastserve.importer import ImportFromStringError, blame, import_from_string
from fastserve.logging.formatters import TRACE_LOG_LEVEL

if TYPE_CHECKING:
    from fastserve._core.http.proxies import Proxies
    from fastserve._types import ASGI3Application
    from fastserve.middleware.wsgi import WSGIMiddleware
    from fastserve.options.table import Options
    from fastserve.protocols.foreign import Limited

logger = logging.getLogger("fastserve.error")


class ApplicationError(Exception):
    """There is no application to serve; the text says why, `__cause__` is what the user's code raised, if it did."""


class Served(NamedTuple):
    """An application as it is served."""

    app: ASGI3Application
    interface: str  # of the application itself: "asgi2", "asgi3" or "wsgi"
    wsgi: WSGIMiddleware | None  # around a WSGI application
    limited: Limited | None  # around one whose requests the core does not count


def described(app: Any) -> str:
    """Return how messages name the application of an `app` option."""
    return f'"{app}"' if isinstance(app, str) else "The application"


def imported(app: Any) -> Any:
    """Return the object that the `app` option names. Raises ApplicationError."""
    try:
        return import_from_string(app)
    except ImportFromStringError as exc:
        raise ApplicationError(f"Error loading ASGI app. {exc}") from None
    except Exception as exc:
        raise ApplicationError(f"Error loading ASGI app. Importing {described(app)} raised {blame(exc)}") from exc


def made_by_factory(app: Any, options: Options) -> Any:
    """Return what `app` makes if it is an application factory, else `app`. Raises ApplicationError."""
    # A WSGI application may fail in any way when it is called, not by a TypeError alone.
    may_make = takes_no_arguments(app) if options.interface == "wsgi" else may_be_factory(app)
    if not options.factory and not may_make:
        return app
    try:
        made = app()
    except Exception as exc:
        # Without --factory a TypeError means that `app` is the application, unless it takes no arguments for sure.
        if not options.factory and isinstance(exc, TypeError) and not takes_no_arguments(app):
            return app
        raise ApplicationError(f"Error loading ASGI app factory: {blame(exc)}") from exc
    if not options.factory:
        logger.warning(
            "ASGI app factory detected. Using it, but please consider setting the --factory flag explicitly."
        )
    return made


def check(app: Any, options: Options) -> None:
    """Raise ApplicationError for an object that cannot be served with these options."""
    if not callable(app):
        close = getattr(app, "close", None)
        if inspect.iscoroutine(app) and close is not None:
            close()  # else Python complains about it as well
        name, kind = described(options.app), type(app).__name__
        raise ApplicationError(f"Error loading ASGI app. {name} is not callable, it is of type {kind}.")
    if options.interface != "wsgi" and looks_like_wsgi(app):
        raise ApplicationError(
            f"Error loading ASGI app. {described(options.app)} takes two arguments, as WSGI applications do: serve it"
            " with --interface wsgi, under gunicorn with -k fastserve.workers.FastserveWSGIWorker."
        )


def as_asgi3(
    app: Any,
    options: Options,
    *,
    uses_core: bool,
    leaves_websockets: bool,
    foreign: tuple[str, ...] = (),
    proxies: Proxies | None = None,
) -> Served:
    """Return an application as ASGI 3, inside the middleware that the options ask for.

    `uses_core` means that the core serves HTTP, `leaves_websockets` that another class serves WebSockets; `foreign` are
    the types of scopes that protocol classes of others make. `proxies` reads more of what proxies say than uvicorn's
    middleware does.
    """
    interface, wsgi, limited = options.interface, None, None
    if interface == "auto":
        interface = "asgi3" if is_asgi3(app) else "asgi2"
    if interface == "asgi2":
        from fastserve.middleware.asgi2 import ASGI2Middleware

        app = ASGI2Middleware(app)
    elif interface == "wsgi":
        from fastserve.middleware.wsgi import WSGIMiddleware

        app = wsgi = WSGIMiddleware(
            app,
            options.wsgi_threads,
            multiprocess=options.multiprocess,
            multithread=options.use_threads,
            outermost=True,
        )
    if logger.getEffectiveLevel() <= TRACE_LOG_LEVEL:
        from fastserve.middleware.message_logger import MessageLoggerMiddleware

        app = MessageLoggerMiddleware(app)
    if options.limit_requests is not None and foreign:
        from fastserve.protocols.foreign import Limited

        app = limited = Limited(app, foreign)
    if options.allowed_hosts and not uses_core:  # the core does it for WebSockets of others as well
        from fastserve.options.core import allowed_hosts
        from fastserve.proxies.hosts import HostCheck

        hosts = allowed_hosts(options)
        assert hosts is not None
        app = HostCheck(app, hosts, ("http", "websocket"))
    if proxies is not None:
        types = ("http", "websocket") if not uses_core else ("websocket",) if leaves_websockets else ()
        if types:
            from fastserve.proxies.middleware import Forwarding

            app = Forwarding(app, proxies, types)
    elif options.proxy_headers:
        from fastserve.middleware import proxy_headers

        # The core does it itself.
        kind: Any = proxy_headers.ReadByServer
        if not uses_core:
            kind = proxy_headers.ProxyHeadersMiddleware
        elif leaves_websockets:
            kind = proxy_headers.WebSocketProxyHeaders
        app = kind(app, trusted_hosts=options.forwarded_allow_ips or "")
    return Served(app, interface, wsgi, limited)


def takes_no_arguments(app: Any) -> bool:
    """Return whether `app` is meant to be called without arguments, as far as its signature tells."""
    try:
        parameters = inspect.signature(app).parameters.values()
    except (TypeError, ValueError):
        return False
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return all(each.default is not each.empty and each.kind not in variable for each in parameters)


def may_be_factory(app: Any) -> bool:
    """Return whether calling `app` without arguments could give an application; a coroutine function cannot."""
    return callable(app) and not is_coroutine_function(app)


def is_coroutine_function(function: Any) -> bool:
    if sys.version_info >= (3, 14):
        return inspect.iscoroutinefunction(function)
    import asyncio

    return asyncio.iscoroutinefunction(function)  # knows functions marked as such, too


def looks_like_wsgi(app: Any) -> bool:
    """Return whether an application takes two arguments, as a WSGI application does, and neither one nor three."""
    if is_coroutine_function(app) or is_coroutine_function(getattr(app, "__call__", None)):  # noqa: B004
        return False
    try:
        signature = inspect.signature(app, follow_wrapped=False)  # a wrapper may take anything
    except (TypeError, ValueError):
        return False
    return [count for count in (1, 2, 3) if takes(signature, count)] == [2]


def takes(signature: inspect.Signature, count: int) -> bool:
    try:
        signature.bind(*[None] * count)
    except TypeError:
        return False
    return True


def is_asgi3(app: Any) -> bool:
    """Return whether an application takes scope, receive and send together; ASGI 2 takes the scope first, alone."""
    if inspect.isclass(app):
        return hasattr(app, "__await__")
    if is_coroutine_function(app) or is_coroutine_function(getattr(app, "__call__", None)):  # noqa: B004
        return True
    # It may still return a coroutine: its parameters tell.
    try:
        signature = inspect.signature(app)
        signature.bind(None, None, None)
    except (TypeError, ValueError):
        return False
    try:
        signature.bind(None)
    except TypeError:
        return True
    return False
