"""Finding things by the names of certificates, for the name that a client asks for (SNI, RFC 6066 section 3)."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Generic, TypeVar

DECODING = "servername callback while decoding"

T = TypeVar("T")


class ByName(Generic[T]):
    """Values by the names of certificates, in which a leading `*` matches one label.

    The value that is added first for a name keeps it. An exact name is preferred to one with a `*`.
    """

    def __init__(self) -> None:
        self.of: dict[str, T] = {}

    def add(self, names: Iterable[str], value: T) -> bool:
        """Add a value for those of the names that are new; return whether any is."""
        new = [name for name in names if name not in self.of]
        self.of.update(dict.fromkeys(new, value))
        return bool(new)

    def find(self, name: str) -> T | None:
        name = name.lower().removesuffix(".")
        found = self.of.get(name)
        return self.of.get(f"*.{name.partition('.')[2]}") if found is None else found


def silence_wrong_names() -> None:
    """Keep the ssl module from printing a traceback for each client that asks for a name outside ASCII.

    The module ends the handshake correctly, but reports the name as an unraisable exception.
    """
    before = sys.unraisablehook
    if getattr(before, "silences_wrong_names", False):
        return

    def hook(unraisable: sys.UnraisableHookArgs) -> None:
        # Up to Python 3.13 the object is the name, later the message contains it.
        is_name = isinstance(unraisable.object, bytes) or DECODING in (unraisable.err_msg or "")
        if not (is_name and isinstance(unraisable.exc_value, UnicodeDecodeError)):
            before(unraisable)

    hook.silences_wrong_names = True  # type: ignore[attr-defined]
    sys.unraisablehook = hook
