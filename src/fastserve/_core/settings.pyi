from collections.abc import Callable, Sequence
from ssl import SSLObject
from typing import Any

from .http.proxies import Proxies

class Settings:
    default_headers: tuple[tuple[bytes, bytes], ...]
    server: bytes | None
    date: bool
    root_path: str
    raw_root_path: bytes
    reset_contextvars: bool
    sendfile: bool
    raise_disconnect: bool
    tls: Callable[[SSLObject], dict[str, Any]] | None
    proxies: Proxies | None
    timeout_keep_alive: float
    timeout_request_head: float
    timeout_request_body: float
    timeout_write: float
    limit_request_line: int
    limit_request_head: int
    limit_request_fields: int
    limit_request_body: int
    limit_concurrency: int
    websocket: bool
    ws_max_size: int
    ws_max_queue: int
    ws_ping_interval: float
    ws_ping_timeout: float
    ws_per_message_deflate: bool
    def __init__(
        self,
        *,
        default_headers: Sequence[tuple[bytes, bytes]] = ...,
        server: bytes | None = ...,
        date: bool = ...,
        root_path: str = ...,
        timeout_keep_alive: float = ...,
        timeout_request_head: float = ...,
        timeout_request_body: float = ...,
        timeout_write: float = ...,
        limit_request_line: int = ...,
        limit_request_head: int = ...,
        limit_request_fields: int = ...,
        limit_request_body: int = ...,
        limit_concurrency: int = ...,
        reset_contextvars: bool = ...,
        websocket: bool = ...,
        ws_max_size: int = ...,
        ws_max_queue: int = ...,
        ws_ping_interval: float = ...,
        ws_ping_timeout: float = ...,
        ws_per_message_deflate: bool = ...,
        tls: Callable[[SSLObject], dict[str, Any]] | None = ...,
        proxies: Proxies | None = ...,
        sendfile: bool = ...,
        raise_disconnect: bool = ...,
    ) -> None: ...
