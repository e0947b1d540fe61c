"""Orders: verbs on their way from the thread of the control socket to the one that carries them out."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Protocol

from fastserve.operations.verbs import Asked

PATIENCE_SECONDS = 4.0  # for the thread that carries orders out to take one
LONGEST_SECONDS = 8.0  # for it to end one that it has taken
WHILE_STOPPING = ("stop", "requests", "stacks")


class Refused(Exception):
    """A verb that cannot be carried out: `status` of HTTP, and why."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Order:
    """A verb that one thread asks for and waits for, and another carries out, unless the first has given it up."""

    def __init__(self, asked: Asked) -> None:
        self.asked = asked
        self._lock = threading.Lock()
        self._taken = self._given_up = False
        self._begun, self._done = threading.Event(), threading.Event()
        self._result: Any = None
        self._refusal: Exception | None = None

    def carry_out(self, handler: Callable[[Asked], Any]) -> None:
        """Call the handler with what is asked, and keep what it returns or raises."""
        with self._lock:
            if self._given_up or self._taken:
                return
            self._taken = True
        self._begun.set()
        try:
            self._result = handler(self.asked)
        except Exception as exc:
            self._refusal = exc
        finally:
            self._done.set()

    def wait(self) -> Any:
        """Return what became of it. Raises Refused; what is given up is never carried out."""
        if not self._begun.wait(PATIENCE_SECONDS):
            with self._lock:
                self._given_up = not self._taken
            if self._given_up:
                raise Refused(503, "the server is busy or does not react: nothing was done")
        if not self._done.wait(LONGEST_SECONDS):
            raise Refused(504, "it takes long: it is being done")
        if self._refusal is not None:
            raise self._refusal
        return self._result


class Orders:
    """Carries out verbs: order_WORD(asked) returns what the control socket responds, or raises Refused."""

    @property
    def is_stopping(self) -> bool:
        """Whether orders are refused because the server stops."""
        return False

    def obey(self, asked: Asked) -> Any:
        """Carry out a verb. Raises Refused."""
        word = asked.verb.word
        if self.is_stopping and word not in WHILE_STOPPING:
            raise Refused(409, "the server stops")
        return getattr(self, f"order_{word.replace('-', '_')}")(asked)


class Controlled(Protocol):
    """What a control socket speaks for."""

    def submit(self, order: Order) -> None:
        """Have an order carried out in the thread that this is safe in; called from any thread."""
