"""What all transports in memory have in common: states, flow control, and the calls that only note something."""

from __future__ import annotations

import asyncio
from typing import Any

HIGH_WATER = 65536  # bytes, asyncio's default
HIGH_WATER_TLS = 524288


class MemoryTransport(asyncio.Transport):
    """A transport without a socket; a subclass says what becomes of the bytes and when the connection is lost."""

    def __init__(self, loop: Any, extra: dict[str, Any]) -> None:
        super().__init__(extra)
        self.loop = loop
        self.protocol: Any = None
        self.reading = True
        self.closed = self.lost = False
        self.high = HIGH_WATER
        self.writing_paused = False

    def pause_writing_over_high(self) -> None:
        """Tell the protocol when more bytes are queued than it allows."""
        if self.get_write_buffer_size() > self.high and not self.writing_paused:
            self.writing_paused = True
            self.protocol.pause_writing()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        default = HIGH_WATER if self.get_extra_info("sslcontext") is None else HIGH_WATER_TLS
        self.high = default if high is None else high

    def set_protocol(self, protocol: Any) -> None:
        self.protocol = protocol

    def can_write_eof(self) -> bool:
        return True

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def is_reading(self) -> bool:
        return self.reading

    def is_closing(self) -> bool:
        return self.closed
