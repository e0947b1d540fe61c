"""Collecting garbage."""

from __future__ import annotations

import gc
import sysconfig

# Without a global lock, one collection leaves a few objects that only what it frees refers to; the next one finds them.
MOST_ROUNDS = 5 if sysconfig.get_config_var("Py_GIL_DISABLED") else 1


def collect() -> None:
    """Collect all garbage that there is."""
    for _ in range(MOST_ROUNDS):
        if not gc.collect():
            return
