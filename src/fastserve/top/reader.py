"""Reading a server's status, and over a control socket what its workers have under way."""

from __future__ import annotations

from typing import Any

from fastserve.operations.client import Client, Failed
from fastserve.top.figures import Figures, Window

ASKED_AT_ONCE = 8  # workers that are asked for their requests in a reading; the others keep what they said before


class Reader:
    """Reads figures: each call of read() is a moment later."""

    def __init__(self, place: str) -> None:
        self.client = Client(place.rstrip("/") if place.startswith("http") else place)
        self.window = Window()
        self.requests: dict[int, list[dict[str, Any]]] = {}
        self.next = 0

    def read(self) -> Figures:
        """Return what is known now. Raises Failed."""
        if self.client.is_url:
            return self.window.add(self.client.get("/status.json"))
        figures = self.window.add(self.client.get("/status"))
        figures.requests = self.under_way(figures)
        return figures

    def under_way(self, figures: Figures) -> list[dict[str, Any]]:
        busy = sorted({each.worker for each in figures.workers if each.active and each.state != "starting"})
        self.requests = {place: found for place, found in self.requests.items() if place in busy}
        first = self.next % max(len(busy), 1)
        for place in (busy[first:] + busy[:first])[:ASKED_AT_ONCE]:
            try:
                found = self.client.get(f"/workers/{place}/requests")
            except Failed:
                found = []  # it has just ended
            self.requests[place] = [{**each, "worker": place} for each in found]
        self.next = first + ASKED_AT_ONCE
        return [each for found in self.requests.values() for each in found]
