"""What makes the protocols of a server's connections: of the compiled core, or of a class on uvicorn's contract."""

from __future__ import annotations

import asyncio
import functools
import socket
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from fastserve._core.metrics import Metrics
from fastserve.config import Config
from fastserve.logging import slow_requests
from fastserve.logging.access_log import access_log
from fastserve.logging.core_records import log_general
from fastserve.server_state import ServerState

if TYPE_CHECKING:
    from fastserve._core.worker import Worker
    from fastserve.net.listeners import PlainSockets

Factory = Callable[[], asyncio.Protocol]


def connection_factory(config: Config, state: ServerState, app_state: dict[str, Any], metrics: Metrics) -> Factory:
    """Return the factory of the connections of a server in the running loop; attach the core's worker to `state`."""

    def make_ws_protocol() -> asyncio.BaseProtocol:
        contract: Any = config.ws_protocol_class
        made: asyncio.BaseProtocol = contract(config=config, server_state=state, app_state=app_state)
        return made

    app = config.served_app
    worker = make_worker(
        config,
        app,
        app_state,
        metrics,
        static=None if config.static_files is None else config.static_files.for_core(),
        direct=config.wsgi.calls if config.wsgi is not None and app is config.wsgi else None,
        ws_framing=config.ws_framing,
        ws_protocol=make_ws_protocol if config.leaves_websockets else None,
    )
    if config.metrics_routes:
        worker.metrics.count_by_route()
    state.attach(worker)
    for each in (config.limited, config.health_response):
        if each is not None:
            each.worker = worker
    contract: Any = config.http_protocol_class
    if config.uses_core:
        return functools.partial(contract, worker)
    # The core serves only the WebSockets.
    loop = asyncio.get_running_loop()
    return lambda: contract(config=config, server_state=state, app_state=app_state, _loop=loop)


def redirect_factory(
    config: Config,
    state: ServerState,
    app_state: dict[str, Any],
    metrics: Metrics,
    sockets: Sequence[socket.socket],
    plain: PlainSockets,
) -> Factory:
    """Return the factory of connections that redirect to the first socket with TLS."""
    from fastserve._core.connection import Connection
    from fastserve.net.redirect import Redirect, secure_port

    connection: Any = Connection
    redirect = Redirect(config.served_app, lambda: config.certificate_names, secure_port(sockets, plain))
    changes = {"websocket": False, "redirects": True, "root_path": ""}
    worker = make_worker(config, redirect, app_state, metrics, changes, beside=state.worker)
    return functools.partial(connection, worker)


def make_worker(
    config: Config,
    app: Any,
    app_state: dict[str, Any],
    metrics: Metrics,
    changes: dict[str, Any] | None = None,
    **more: Any,
) -> Worker:
    """Return a worker of the core with the options of a server; `changes` are other settings."""
    from fastserve._core.worker import Worker

    return Worker(
        asyncio.get_running_loop(),
        app,
        config.core_settings(**(changes or {})),
        state=app_state,
        log=log_general,
        access=access_log(config),
        slow=None if config.log_slow is None else slow_requests.report,
        metrics=metrics,
        **more,
    )
