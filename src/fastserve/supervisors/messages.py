"""Messages between parent and worker, or template: tuples whose first item is one of these."""

from __future__ import annotations

PING = "ping"  # parent: send a PONG
HASTEN = "hasten"  # parent: stop sooner; how often it was told to stop, and whether by SIGINT
REOPEN = "reopen"  # parent: open log files again
LEVEL = "level"  # parent: set the level of the server's loggers, by its name
DRAIN = "drain"  # parent: whether --health says that no more requests are wanted
REPORT = "report"  # parent: write where it stands, see hang_report
RETIRE = "retire"  # parent: another worker has taken over, stop without losing a request
FORK = "fork"  # parent, to a template: fork a worker; number of the request, place, plain sockets, has it a page

PONG = "pong"  # worker: whether it has started, seconds since its event loop ran (None: not expected to run)
READY = "ready"  # worker: serving
CLOSED = "closed"  # worker: not listening any more
WORN = "worn"  # worker: should be replaced, with the reason

IMPORTED = "imported"  # template: it can fork
FORKED = "forked"  # template: the number of the request, the worker's pid
UNFORKED = "unforked"  # template: the number of the request, errno
ENDED = "ended"  # template: a worker's pid and exit code
