"""What parent and worker send each other: tuples, of which the first item is one of these."""

from __future__ import annotations

PING = "ping"  # parent: answer me
HASTEN = "hasten"  # parent: you have been told to stop; how often, and whether by SIGINT
REOPEN = "reopen"  # parent: open log files again
RETIRE = "retire"  # parent: another one has taken over, stop without losing a request

PONG = "pong"  # worker: whether it has started, seconds since its event loop ran (None: it need not)
READY = "ready"  # worker: it serves
CLOSED = "closed"  # worker: it listens no more
WORN = "worn"  # worker: it should be replaced, and why
