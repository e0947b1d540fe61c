"""The table of metrics: name, kind, labels, help, and the cells or readings that their values come from.

`/metrics`, the reference page and the tests are made from it. A row with `cells` is read from the pages of the
processes: it names cells of fastserve._core.metrics, each with the values of the row's labels. A row with `source`
gets its samples from what the parent knows or asks the system for.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from fastserve._core.metrics import CLOSE_CODES, REFUSALS

COUNTER, GAUGE, HISTOGRAM = "counter", "gauge", "histogram"
NANO = 1e-9  # of cells that count nanoseconds

Labels = tuple[tuple[str, str], ...]


class Cell(NamedTuple):
    """A cell of the page: its name there, how far from it, and the labels that it stands for."""

    name: str
    labels: Labels = ()
    offset: int = 0


class Metric(NamedTuple):
    """A row of the table."""

    name: str  # of a counter without _total
    kind: str
    help: str
    labels: tuple[str, ...] = ()
    cells: tuple[Cell, ...] = ()
    scale: float = 1  # of a cell's value
    unit: str = ""
    source: str = ""  # where cells do not say it all: "requests", "routes", "route_requests", or a reading's name
    option: str = ""  # without which it is not there
    merge: str = "sum"  # of the values of several processes: sum or min

    @property
    def sample(self) -> str:
        """The name of its samples; those of a histogram have suffixes."""
        return f"{self.name}_total" if self.kind == COUNTER else self.name


def by(label: str, *names: str, prefix: str) -> tuple[Cell, ...]:
    return tuple(Cell(f"{prefix}_{name}", ((label, name),)) for name in names)


def codes() -> Iterator[Cell]:
    for offset, code in enumerate(CLOSE_CODES):
        yield Cell("ws_closed", (("code", "_OTHER" if code is None else str(code)),), offset)


def refusals() -> Iterator[Cell]:
    for offset, (status, reason) in enumerate(REFUSALS):
        yield Cell("refused", (("status", "_OTHER" if status is None else str(status)), ("reason", reason)), offset)


REQUEST_LABELS = ("http_request_method", "http_response_status_code", "network_protocol_version", "url_scheme")

TABLE: tuple[Metric, ...] = (
    Metric(
        "http_server_request_duration_seconds", HISTOGRAM,
        "Time from the end of a request's head to the last byte that the application gave; 499 is a client that left"
        " before.",
        REQUEST_LABELS, source="requests", unit="seconds",
    ),
    Metric(
        "http_server_active_requests", GAUGE,
        "Requests whose application has not returned.",
        cells=(Cell("active"),),
    ),
    Metric(
        "fastserve_request_wait_seconds", HISTOGRAM,
        "Time from the end of a request's head to the call of the application: the queue, and the loop's other work.",
        cells=(Cell("wait"),), unit="seconds",
    ),
    Metric(
        "fastserve_proxy_wait_seconds", HISTOGRAM,
        "Time from a trusted proxy's X-Request-Start or X-Queue-Start to the end of the request's head.",
        cells=(Cell("proxy_wait"),), unit="seconds",
    ),
    Metric(
        "fastserve_route_duration_seconds", HISTOGRAM,
        "The duration of requests by the route that the framework found.",
        ("method", "route"), source="routes", unit="seconds", option="metrics_routes",
    ),
    Metric(
        "fastserve_route_requests", COUNTER,
        "Requests by the route that the framework found, and the class of their status.",
        ("method", "route", "code"), source="route_requests", option="metrics_routes",
    ),
    Metric(
        "fastserve_loop_lag_seconds", HISTOGRAM,
        "How late the event loop was at its heartbeat, four times a second.",
        cells=(Cell("lag"),), unit="seconds",
    ),
    Metric(
        "fastserve_loop_busy_seconds", COUNTER,
        "CPU time of the event loop's thread.",
        cells=(Cell("loop_busy"),), scale=NANO, unit="seconds",
    ),
    Metric(
        "fastserve_connections", GAUGE,
        "Open connections by what they do.",
        ("state",),
        by("state", "new", "idle", "active", "websocket", "closing", prefix="connections"),
    ),
    Metric(
        "fastserve_connections_accepted", COUNTER,
        "Connections that were accepted.",
        cells=(Cell("connections"),),
    ),
    Metric(
        "fastserve_connections_closed", COUNTER,
        "Connections that were closed, by why: the client closed it or asked for that, or a time-out (keep_alive, head,"
        " body, write, ping), a stop (drain), a fault of client or application (error).",
        ("reason",),
        by("reason", "client", "keep_alive", "head", "body", "write", "ping", "drain", "error", prefix="closed"),
    ),
    Metric(
        "fastserve_listen_queue", GAUGE,
        "Connections that wait in the kernel to be accepted.",
        ("listener",), source="listen_queue",
    ),
    Metric(
        "fastserve_listen_queue_limit", GAUGE,
        "How many connections may wait there.",
        ("listener",), source="listen_queue_limit",
    ),
    Metric(
        "fastserve_host_listen_overflows", COUNTER,
        "Connections to any server of this host that found the queue full.",
        source="listen_overflows",
    ),
    Metric(
        "fastserve_refused_requests", COUNTER,
        "Requests that the server refused, by status and reason.",
        ("status", "reason"), tuple(refusals()),
    ),
    Metric(
        "fastserve_queue_length", GAUGE,
        "Requests that wait because the application works on --limit-requests others.",
        cells=(Cell("queue"),),
    ),
    Metric(
        "fastserve_queue_refused", COUNTER,
        "Requests refused by the queue: it was full, they waited for too long (deadline), or their client left"
        " meanwhile (gone).",
        ("reason",), by("reason", "full", "deadline", "gone", prefix="queue"),
    ),
    Metric(
        "fastserve_application_errors", COUNTER,
        "Applications that raised before or after they began their response, or returned without completing it"
        " (missing).",
        ("stage",), by("stage", "before", "after", "missing", prefix="failed"),
    ),
    Metric(
        "fastserve_received_bytes", COUNTER,
        "Bytes read from connections, without those of TLS.",
        cells=(Cell("received"),), unit="bytes",
    ),
    Metric(
        "fastserve_sent_bytes", COUNTER,
        "Bytes written to connections, without those of TLS.",
        cells=(Cell("sent"),), unit="bytes",
    ),
    Metric(
        "fastserve_websocket_messages", COUNTER,
        "Messages of WebSockets.",
        ("direction",), by("direction", "received", "sent", prefix="ws"),
    ),
    Metric(
        "fastserve_websocket_bytes", COUNTER,
        "Bytes of messages of WebSockets, not compressed.",
        ("direction",),
        (
            Cell("ws_received_bytes", (("direction", "received"),)),
            Cell("ws_sent_bytes", (("direction", "sent"),)),
        ),
        unit="bytes",
    ),
    Metric(
        "fastserve_websocket_handshakes", COUNTER,
        "Handshakes of WebSockets: accepted or denied by the application, or refused by the server.",
        ("result",), by("result", "accepted", "denied", "refused", prefix="ws"),
    ),
    Metric(
        "fastserve_websocket_closed", COUNTER,
        "WebSockets that were closed, by the code that the application got or gave.",
        ("code",), tuple(codes()),
    ),
    Metric(
        "fastserve_topics_subscriptions", GAUGE,
        "Subscriptions of connections to topics.",
        cells=(Cell("subscriptions"),),
    ),
    Metric(
        "fastserve_topics_messages", COUNTER,
        "Messages of topics for connections: delivered, or dropped because the client did not read.",
        ("result",), by("result", "delivered", "dropped", prefix="topics"),
    ),
    Metric(
        "fastserve_topics_slow_clients", COUNTER,
        "Clients that did not keep up with their topics: closed, or told of a gap.",
        ("result",),
        (Cell("topics_closed", (("result", "closed"),)), Cell("topics_gaps", (("result", "gap"),))),
    ),
    Metric(
        "fastserve_wsgi_threads", GAUGE,
        "Threads of a WSGI application.",
        ("state",), by("state", "busy", "idle", prefix="wsgi"),
    ),
    Metric(
        "fastserve_wsgi_queue_length", GAUGE,
        "Calls of a WSGI application that wait for a thread.",
        cells=(Cell("wsgi_queue"),),
    ),
    Metric(
        "fastserve_tls_handshakes", COUNTER,
        "TLS handshakes.",
        ("result",), by("result", "ok", "failed", prefix="tls"),
    ),
    Metric(
        "fastserve_tls_certificate_not_after_seconds", GAUGE,
        "When the first of the certificates in use expires, in seconds since 1970.",
        cells=(Cell("certificate_end"),), unit="seconds", merge="min",
    ),
    Metric(
        "fastserve_workers", GAUGE,
        "Worker processes by what they do.",
        ("state",), source="workers",
    ),
    Metric(
        "fastserve_worker_starts", COUNTER,
        "Worker processes that were started.",
        source="worker_starts",
    ),
    Metric(
        "fastserve_worker_ends", COUNTER,
        "Worker processes that ended, by why: limits (requests, lifetime, rss), no sign of life (silent, loop), a"
        " signal, an exit by itself, a failed start, a reload or fewer workers (replaced), the server's stop.",
        ("reason",), source="worker_ends",
    ),
    Metric(
        "fastserve_reloads", COUNTER,
        "Reloads of the workers by SIGHUP.",
        ("result",), source="reloads",
    ),
    Metric(
        "fastserve_worker_rss_bytes", GAUGE,
        "Resident memory of a worker.",
        ("worker",), source="worker_rss", unit="bytes",
    ),
    Metric(
        "fastserve_worker_cpu_seconds", COUNTER,
        "CPU time of the workers of a place.",
        ("worker",), source="worker_cpu", unit="seconds",
    ),
    Metric(
        "fastserve_worker_requests", COUNTER,
        "Requests that the workers of a place have completed.",
        ("worker",), source="worker_requests",
    ),
    Metric(
        "fastserve_worker_lag_seconds", GAUGE,
        "How late the event loop of a worker was at its last heartbeat, or is by now.",
        ("worker",), source="worker_lag", unit="seconds",
    ),
    Metric(
        "fastserve_worker_open_fds", GAUGE,
        "Open descriptors of a worker.",
        ("worker",), source="worker_open_fds",
    ),
    Metric(
        "fastserve_worker_max_fds", GAUGE,
        "Descriptors that a worker may have.",
        ("worker",), source="worker_max_fds",
    ),
    Metric(
        "fastserve_worker_accepting", GAUGE,
        "Whether a worker accepts connections: 0 while it is out of descriptors, starts or stops.",
        ("worker",), source="worker_accepting",
    ),
    Metric(
        "fastserve_log_blocked_seconds", COUNTER,
        "Time for which the event loop waited to write its access log, beyond a millisecond a time.",
        cells=(Cell("log_blocked"),), scale=NANO, unit="seconds",
    ),
    Metric(
        "fastserve_build_info", GAUGE,
        "Always 1; the versions that serve.",
        ("version", "python_version", "loop"), source="build_info",
    ),
    Metric(
        "process_cpu_seconds", COUNTER,
        "CPU time of the process that responds here: the parent, if there are workers.",
        source="process_cpu", unit="seconds",
    ),
    Metric(
        "process_resident_memory_bytes", GAUGE, "Resident memory of that process.", source="process_rss", unit="bytes"
    ),
    Metric("process_virtual_memory_bytes", GAUGE, "Its virtual memory.", source="process_vsize", unit="bytes"),
    Metric("process_open_fds", GAUGE, "Its open descriptors.", source="process_open_fds"),
    Metric("process_max_fds", GAUGE, "The descriptors that it may have.", source="process_max_fds"),
    Metric(
        "process_start_time_seconds", GAUGE,
        "When it was started, in seconds since 1970.",
        source="process_start", unit="seconds",
    ),
)  # fmt: skip
BY_NAME: dict[str, Metric] = {row.name: row for row in TABLE}
