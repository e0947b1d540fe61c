"""A WebSocket implementation of the kind that a user can name."""

from __future__ import annotations

from fastserve.protocols.websockets.wsproto_impl import WsprotoFraming


class Own(WsprotoFraming):
    def send_text(self, text: str) -> None:
        super().send_text(f"{text} from the class")
