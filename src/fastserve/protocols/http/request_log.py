"""What the access log, slow requests and request ids are told of the requests of one connection."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from fastserve._core.http.access_log import Foreign
from fastserve._core.worker import Worker
from fastserve.options.table import Options
from fastserve.protocols import utils
from fastserve.protocols.http.response import Fields


class State(Protocol):
    """What is asked of the state of the server."""

    worker: Worker | None


class RequestLog:
    """The account of the request under way, where something asks for more than its line, and the bytes of it."""

    def __init__(self, options: Options, state: State, access_logger: logging.Logger) -> None:
        self.options = options
        self.state = state
        self.access_logger = access_logger
        self.account: Foreign | None = None
        self.received = self.sent = self.sent_body = 0  # bytes of the request, and of its response

    def begin(self, received: int) -> None:
        """Begin to count the bytes of a request, whose head has this many."""
        self.received, self.sent, self.sent_body = received, 0, 0

    def open(self, scope: Any, client: tuple[str, int] | None, trusted: Callable[[], bool]) -> None:
        """Open the account of a request, if something asks for one; `trusted()`: its client is a trusted proxy."""
        worker = self.state.worker
        if worker is not None and worker.accounts:
            self.account = Foreign(worker, scope, client, trusted())

    def started(self, exchange: Any) -> None:
        """Note that the application is called."""
        if self.account is not None:
            self.account.started(exchange)

    def end(self, aborted: bool, kept: bool) -> None:
        """Close the account, if there is one; `kept`: the connection goes on."""
        account, self.account = self.account, None
        if account is not None:
            account.end(aborted, kept, self.sent_body, self.sent, self.received)

    @property
    def request_id(self) -> str | None:
        return None if self.account is None else self.account.account.request_id

    def id_fields(self, fields: Fields) -> Fields:
        """Return the header with the request's id, unless the application's fields have it or there is none."""
        name, request_id = self.options.request_id_header, self.request_id
        if name is None or request_id is None:
            return []
        field = name.lower().encode()
        return [] if any(each == field for each, _ in fields) else [(field, request_id.encode())]

    def note_head(self, status: int, fields: Fields) -> None:
        """Note the head of a response that gets no line."""
        if self.account is not None:
            self.account.head(status, fields, logged=False)

    def head(self, scope: Any, client: Any, status: int, fields: Iterable[tuple[bytes, bytes]] = ()) -> None:
        """Log the head of a response, or note it for a line at the end."""
        access = None if self.state.worker is None else self.state.worker.access
        is_plain = access is None or access.is_plain
        if self.account is not None:
            self.account.head(status, fields, logged=not is_plain)
        elif access is not None and not is_plain:
            access.log(scope, client, status)
        if is_plain and self.options.access_log and self.access_logger.hasHandlers():
            self.access_logger.info(
                '%s - "%s %s HTTP/%s" %d',
                utils.get_client_addr(scope),
                scope["method"],
                utils.get_path_with_query_string(scope),
                scope["http_version"],
                status,
                extra=None if self.request_id is None else {"request_id": self.request_id},
            )
