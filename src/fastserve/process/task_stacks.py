"""Where a task stands: the frames from its coroutine to what it awaits."""

from __future__ import annotations

import traceback
from types import FrameType
from typing import Any

SHOWN_FRAMES = 8


def frames_of(awaitable: Any) -> list[tuple[FrameType, int]]:
    """Return the suspended frames of a coroutine, generator or asynchronous generator, outermost first."""
    frames = []
    seen: set[int] = set()
    while awaitable is not None and id(awaitable) not in seen:
        seen.add(id(awaitable))
        for kind, waits_for in (("cr", "cr_await"), ("ag", "ag_await"), ("gi", "gi_yieldfrom")):
            if hasattr(awaitable, f"{kind}_frame"):
                frame = getattr(awaitable, f"{kind}_frame")
                if frame is not None:
                    frames.append((frame, frame.f_lineno))
                awaitable = getattr(awaitable, waits_for)
                break
        else:
            awaitable = None
    return frames


def where(task: Any) -> str:
    """Return the innermost frames of a task, formatted as a traceback; "" if it has not started or has ended."""
    frames = frames_of(task.get_coro())
    summary = traceback.StackSummary.extract(iter(frames[-SHOWN_FRAMES:]))
    return "".join(summary.format()).rstrip("\n")
