"""Event streams of topics as responses of Starlette and FastAPI."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from starlette.responses import Response

from fastserve.topics.subscription import stream


class EventStream(Response):
    """A response of server-sent events: the messages of `topics`, until the client leaves.

    The arguments are those of topics.subscribe() and of a response. A comment is sent after `keepalive` seconds without
    a message. A client that comes back with Last-Event-ID gets what it has missed, as far as the topic has a history; a
    stream of several topics does not, because its last position is that of one of them. The response to HEAD is the
    head alone.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        topics: str | Iterable[str],
        *,
        since: str | Mapping[str, str] | None = None,
        slow: str = "close",
        gap: str | bytes | None = None,
        format: str = "data",  # noqa: A002
        keepalive: float | None = 15.0,
        member: str | None = None,
        info: Mapping[str, Any] | None = None,
        status_code: int = 200,
        headers: Mapping[str, str] | None = None,
        background: Any = None,
    ) -> None:
        self.topics = topics if isinstance(topics, str) else tuple(topics)
        self.options: dict[str, Any] = {
            "since": since,
            "slow": slow,
            "gap": gap,
            "format": format,
            "keepalive": keepalive,
            "member": member,
            "info": info,
        }
        self.status_code = status_code
        self.background = background
        self.body = b""
        self.init_headers(headers)

    def init_headers(self, headers: Mapping[str, str] | None = None) -> None:
        fields = {"cache-control": "no-store", "x-accel-buffering": "no", **(headers or {})}
        super().init_headers(fields)
        self.raw_headers = [field for field in self.raw_headers if field[0] != b"content-length"]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Send the response."""
        await stream(
            scope, receive, send, self.topics, status=self.status_code, headers=self.raw_headers, **self.options
        )
        if self.background is not None:
            await self.background()
