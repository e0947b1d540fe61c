"""The names of certificates, and the name that a client asks for (SNI, RFC 6066 section 3)."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Generic, TypeVar

DECODING = "servername callback while decoding"

T = TypeVar("T")


class ByName(Generic[T]):
    """What belongs to the names of certificates, in which `*` stands for one label at the beginning.

    A name belongs to the first that is added with it. One that is spelled out goes before one with a `*`.
    """

    def __init__(self) -> None:
        self.of: dict[str, T] = {}

    def add(self, names: Iterable[str], value: T) -> bool:
        """Return whether one of the names is new."""
        new = [name for name in names if name not in self.of]
        self.of.update(dict.fromkeys(new, value))
        return bool(new)

    def find(self, name: str) -> T | None:
        name = name.lower().removesuffix(".")
        found = self.of.get(name)
        return self.of.get(f"*.{name.partition('.')[2]}") if found is None else found


def silence_wrong_names() -> None:
    """Have no traceback printed for each client that asks for a name outside ASCII.

    The ssl module ends its handshake, but reports the name as an exception that nothing handles.
    """
    before = sys.unraisablehook
    if getattr(before, "silences_wrong_names", False):
        return

    def hook(unraisable: sys.UnraisableHookArgs) -> None:
        # Up to Python 3.13 the name is the object, after that it is in the message.
        is_name = isinstance(unraisable.object, bytes) or DECODING in (unraisable.err_msg or "")
        if not (is_name and isinstance(unraisable.exc_value, UnicodeDecodeError)):
            before(unraisable)

    hook.silences_wrong_names = True  # type: ignore[attr-defined]
    sys.unraisablehook = hook
