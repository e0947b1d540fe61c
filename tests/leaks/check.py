"""A soak that looks at the server between its parts."""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from leaks.soak import soak
from load import LoadedServer

MOST_GROWTH = 1 << 20  # bytes of private memory, from the end of the warm-up on
# What these clients and this application make the server say, and nothing else.
EXPECTED = (
    r"INFO: .*",
    r"WARNING:  Invalid HTTP request received\.",
    r"ERROR:    Exception in ASGI application",
    r"Traceback \(most recent call last\):",
    r" .*",
    r"load_app\.Planned: .*",
    r"",
)
LINE = re.compile("|".join(f"(?:{each})" for each in EXPECTED))


class Leak(AssertionError):
    """Something grew, stayed, or was said that should not have been."""


def check_log(text: str) -> None:
    odd = Counter(line for line in text.splitlines() if not LINE.fullmatch(line))
    if odd:
        raise Leak(f"the log has lines that it should not have: {odd.most_common(5)}")
    if "load_app.Planned" not in text or "Invalid HTTP request" not in text:
        raise Leak("the clients did not do what they should")


def check_state(state: dict[str, Any], base: dict[str, Any]) -> None:
    growth = state["memory"] - base["memory"]
    if growth >= MOST_GROWTH:
        raise Leak(f"{growth} bytes more than after the warm-up")
    for kind in ("descriptors", "asyncio_tasks"):
        if state[kind] != base[kind]:
            raise Leak(f"{state[kind]} {kind}, {base[kind]} after the warm-up")


def check(
    log: Path,
    requests: int,
    seed: int,
    arguments: Sequence[str] = (),
    points: int = 4,
    say: Callable[[str], Any] = lambda line: None,
) -> None:
    """Soak a server with this many requests, and look at it at this many points, the first of which ends the warm-up.

    Raises Leak. `say` gets a line at each point.
    """
    with LoadedServer(log, *arguments) as server:
        began = time.monotonic()
        base: dict[str, Any] | None = None
        done = conversations = resets = 0
        for _ in range(points):
            count = asyncio.run(soak(server.address, seed, conversations, requests // points))
            done += count.requests
            conversations += count.conversations
            resets += count.resets
            state = server.quiet_state()
            base = base or state
            say(
                f"{done} requests in {conversations} conversations, {resets} reset, {time.monotonic() - began:.0f} s:"
                f" private memory {state['memory'] / 1024:.0f} KiB ({(state['memory'] - base['memory']) / 1024:+.0f}),"
                f" {state['descriptors']} descriptors, live {state['live']}"
            )
            check_state(state, base)
    check_log(server.text)
