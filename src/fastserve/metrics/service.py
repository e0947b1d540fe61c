"""`--metrics-bind`: the listener of a server, with its sockets and what it responds with."""

from __future__ import annotations

import json
import logging
import socket
from collections.abc import Mapping
from typing import TYPE_CHECKING

from fastserve.metrics import exposition
from fastserve.metrics.listener import WAITING, Endpoint, Listener, Request, Response, is_loopback
from fastserve.metrics.source import Source, readings
from fastserve.metrics.status import History, status_of
from fastserve.net import sockets
from fastserve.net.address import Bind
from fastserve.net.listeners import NONE, Listeners, addresses

if TYPE_CHECKING:
    from fastserve.options.table import Options

logger = logging.getLogger("fastserve.error")


class Service:
    """The metrics listener of a server; made by bound(), which raises OSError, then start() and stop()."""

    def __init__(self, options: Options, listeners: Listeners) -> None:
        self.options = options
        self.listeners = listeners
        self.listener: Listener | None = None
        self.history: History | None = None

    @classmethod
    def bound(cls, options: Options, inherited: Mapping[Bind, list[socket.socket]] = NONE) -> Service | None:
        """Bind the addresses that are not inherited; return None if the option names none.

        Raises OSError saying what failed.
        """
        if not options.metrics_bind:
            return None
        made = Listeners()
        with made.closed_on_error():
            for bind in map(Bind.parse, options.metrics_bind):
                if bind in inherited:
                    made.groups.append((bind, inherited[bind]))
                elif bind.is_tcp:
                    made.groups.append((bind, sockets.bind_addresses(addresses(bind), bind.port)))
                else:
                    made.add(bind, options)
            made.listen(WAITING)  # now, while a failure ends the start with its reason
        return cls(options, made)

    def start(self, source: Source) -> None:
        """Serve what a source has. Raises OSError."""
        self.history = History(lambda: status_of(source))
        self.history.start()
        shown = {**endpoints(source, self.options), **view_endpoints(source, self.history)}
        self.listener = Listener(self.listeners.sockets, shown)
        self.listener.start()
        for sock in self.listeners.sockets:
            name = sock.getsockname()
            if isinstance(name, tuple):
                host = f"[{name[0]}]" if ":" in name[0] else name[0]
                logger.info("Metrics on http://%s:%d/metrics", host, name[1])
                if not is_loopback(sock):
                    logger.warning("Metrics are served to every host that can reach %s:%d.", host, name[1])
            else:
                logger.info("Metrics on unix socket %s", name)

    def let_go(self) -> None:
        """Stop, and leave the files of UNIX sockets to a successor."""
        self.listeners.files = []
        self.stop()

    def stop(self) -> None:
        if self.history is not None:
            self.history.stop()
        if self.listener is not None:
            self.listener.stop()
        self.listeners.close()


def endpoints(source: Source, options: Options) -> dict[str, Endpoint]:
    """Return what responds at each path."""
    loop = options.loop if isinstance(options.loop, str) else "custom"
    chosen = {"metrics_routes"} if options.metrics_routes else set()

    def metrics(request: Request) -> Response:
        openmetrics = exposition.wants_openmetrics(request.headers.get("accept", ""))
        places, workers = source.read()
        text = exposition.render(
            places,
            readings(source, places, workers, loop),
            openmetrics=openmetrics,
            options=chosen,
            per_worker=options.metrics_per_worker,
        )
        return Response(200, text, exposition.OPENMETRICS_TYPE if openmetrics else exposition.TEXT_TYPE)

    def livez(request: Request) -> Response:
        return Response(200, "ok\n")

    def readyz(request: Request) -> Response:
        return Response(200, "ok\n") if source.ready() else Response(503, "not ready\n")

    return {"/metrics": metrics, "/livez": livez, "/readyz": readyz}


def view_endpoints(source: Source, history: History) -> dict[str, Endpoint]:
    """Return what responds to the web view, and the view itself."""

    def page(request: Request) -> Response:
        from fastserve.metrics import view

        return view.page()

    def status(request: Request) -> Response:
        document = {**status_of(source), "history": history.shown()}
        return Response(200, json.dumps(document), "application/json")

    return {"/": page, "/status.json": status}
