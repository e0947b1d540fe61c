from collections.abc import Iterable

from fastserve._core.loop.clock import Clock
from fastserve._core.settings import Settings

def is_streaming(content_type: bytes) -> bool: ...
def encode_head(
    settings: Settings,
    clock: Clock,
    status: int,
    headers: Iterable[tuple[bytes, bytes]],
    content_length: int | None = ...,
    chunked: bool = ...,
) -> bytes: ...
