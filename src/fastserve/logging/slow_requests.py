"""The log of slow requests: a line when the limit has passed, with the stack of the task, and one at the end."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastserve._core.http.account import Account

logger = logging.getLogger("fastserve.error")


def report(account: Account) -> None:
    """Log that the exchange of an account is slow, or, once it is over, how long it took."""
    from fastserve._core.http.account import ids_of

    task = None if account.over else account.task
    warn(
        account.scope, account.client, account.seconds, account.over, account.status, account.aborted,
        ids_of(account.scope, account.request_id), task,
    )  # fmt: skip


def warn(
    scope: dict[str, Any], client: str, seconds: float, over: bool, status: int, aborted: bool,
    ids: dict[str, str], task: Any,
) -> None:  # fmt: skip
    """Log a slow request, which is `over` or under way."""
    extra = {"duration": round(seconds, 6), **ids}
    which = f"{described(scope)} from {client or 'a UNIX socket'}"
    if "request_id" in ids:
        which += f" [{ids['request_id']}]"
    if over:
        outcome = "the client did not get all of it" if aborted else f"status {status}"
        logger.warning("Slow request: %s took %.3f s, %s", which, seconds, outcome, extra=extra)
        return
    logger.warning("Slow request: %s is under way for %.3f s%s", which, seconds, where(task), extra=extra)


def described(scope: dict[str, Any]) -> str:
    """Return method, path and query, with every byte that is not visible ASCII percent-encoded."""
    from urllib.parse import quote

    path = quote(scope.get("path") or "", errors="replace")
    query = bytes(scope.get("query_string") or b"")
    asked = "?" + quote(query, safe="".join(map(chr, range(0x21, 0x7F)))) if query else ""
    return f"{scope.get('method', 'WebSocket')} {path}{asked}"


def where(task: Any) -> str:
    """Return the stack of a task, each line after an end of line; nothing where there is none."""
    if task is None:
        return ""
    from fastserve.process import task_stacks

    stack = task_stacks.where(task)
    return f", at:\n{stack}" if stack else ""
