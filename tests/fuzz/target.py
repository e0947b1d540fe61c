"""What a fuzz target is."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple


class Target(NamedTuple):
    """A function that any input may be given to, and what makes a good start for one that makes inputs up.

    `check` raises whatever it likes when an invariant is broken, and leaves nothing behind that a later call would see.
    """

    name: str
    check: Callable[[bytes], None]
    seeds: Callable[[], Iterable[bytes]]
    words: tuple[bytes, ...]  # byte strings that mean something
    max_size: int = 4096


def cut(data: bytes, sizes: Iterable[int]) -> list[bytes]:
    """Return `data` in pieces of these sizes, and what is left as the last one; there is no empty piece."""
    pieces = []
    for size in sizes:
        if size and data:
            pieces.append(data[:size])
            data = data[size:]
    return [*pieces, data] if data else pieces
