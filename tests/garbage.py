"""Collecting garbage, and what is alive without it."""

from __future__ import annotations

import gc
import sysconfig

from fastserve._core import counters

# Without a global lock, one collection leaves a few objects that only what it frees refers to; the next one finds them.
MOST_ROUNDS = 5 if sysconfig.get_config_var("Py_GIL_DISABLED") else 1


def collect() -> None:
    """Collect all garbage that there is."""
    for _ in range(MOST_ROUNDS):
        if not gc.collect():
            return


def assert_nothing_lives() -> None:
    """Fail if the core still holds an object that stopped servers and closed workers should have given back."""
    if any(counters.live().values()):  # else there is nothing to collect, which takes long
        collect()
    left = {kind: count for kind, count in counters.live().items() if count}
    assert not left, f"still alive: {left}"
