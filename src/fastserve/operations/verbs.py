"""The table of verbs: the paths of the control socket, the words of `fastserve ctl`, and the reference page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import parse_qsl

GET, POST = "GET", "POST"
WORKER = "{worker}"
MOST_WORKERS = 1024
LEVELS = ("critical", "error", "warning", "info", "debug", "trace")


class Verb(NamedTuple):
    """A row of the table."""

    word: str  # of fastserve ctl
    method: str
    path: str  # with WORKER where it has the number of a worker
    help: str
    parameter: str = ""  # of the query
    choices: tuple[str, ...] = ()  # of its values; without, it is a number of workers
    default: str | None = None  # None: it must be given

    @property
    def of_worker(self) -> bool:
        return WORKER in self.path


VERBS: tuple[Verb, ...] = (
    Verb("status", GET, "/status", "Sums of the whole server, and what each worker does."),
    Verb("workers", GET, "/workers", "What each worker does."),
    Verb("worker", GET, "/workers/{worker}", "What one worker does."),
    Verb(
        "requests", GET, "/workers/{worker}/requests",
        "The requests that a worker has under way, the longest first, at most 100.",
    ),
    Verb("listeners", GET, "/listeners", "The addresses that are served, and the connections that wait in the kernel."),
    Verb("config", GET, "/config", "The options in use; secrets are masked."),
    Verb("metrics", GET, "/metrics", "The text that --metrics-bind serves."),
    Verb("version", GET, "/version", "The versions of fastserve and Python, and the system."),
    Verb(
        "reload", POST, "/reload",
        "As SIGHUP: replace the workers one by one; with --reload, restart the server process; with one process and"
        " TLS, read the certificate again.",
    ),
    Verb("reopen", POST, "/reopen", "As SIGUSR1: open log files again."),
    Verb(
        "drain", POST, "/drain",
        "Make --health and /readyz respond with 503, so that load balancers send no more requests, and keep serving.",
    ),
    Verb("undrain", POST, "/undrain", "Undo drain."),
    Verb(
        "stop", POST, "/stop",
        "Stop after the requests under way, or without waiting for them.",
        "mode", ("graceful", "quick"), "graceful",
    ),
    Verb("scale", POST, "/workers", "Run this many workers.", "count"),
    Verb("replace", POST, "/workers/{worker}/replace", "Replace a worker by a new one, without losing a request."),
    Verb("stacks", POST, "/workers/{worker}/stacks", "The stacks of a worker's threads, and its requests under way."),
    Verb(
        "log-level", POST, "/log-level", "Set the level of the server's loggers in every process.", "level", LEVELS
    ),
)  # fmt: skip
BY_WORD: dict[str, Verb] = {verb.word: verb for verb in VERBS}


class Unknown(Exception):
    """No verb has this path. `allowed` are the methods that it has."""

    def __init__(self, *allowed: str) -> None:
        self.allowed = allowed


class Wrong(ValueError):
    """What a request says besides its path is not right; the text says what is expected."""


class Asked(NamedTuple):
    """A verb with what it was asked with."""

    verb: Verb
    worker: int | None
    value: str | None

    @property
    def target(self) -> str:
        query = f"?{self.verb.parameter}={self.value}" if self.verb.parameter and self.value is not None else ""
        return self.verb.path.replace(WORKER, str(self.worker)) + query


def asked(method: str, path: str, query: str) -> Asked:
    """Return the verb of a request. Raises Unknown, Wrong."""
    parts = path.split("/")
    methods = []
    for verb in VERBS:
        number = matched(verb.path.split("/"), parts)
        if number is None:
            continue
        methods.append(verb.method)
        if verb.method == method:
            given = dict(parse_qsl(query, keep_blank_values=True))
            return checked(verb, number if verb.of_worker else None, given)
    raise Unknown(*methods)


def matched(pattern: list[str], parts: list[str]) -> int | None:
    """Return the number of the worker in a path, 0 without one; None where the path is another."""
    number = 0
    if len(pattern) != len(parts):
        return None
    for wanted, part in zip(pattern, parts, strict=True):
        if wanted == WORKER and part.isascii() and part.isdecimal() and len(part) < 6:
            number = int(part)
        elif wanted != part:
            return None
    return number


def checked(verb: Verb, worker: int | None, given: Mapping[str, str]) -> Asked:
    """Return the verb with what was given. Raises Wrong."""
    for name in given:
        if name != verb.parameter:
            raise Wrong(f"{verb.path} has no parameter {name!r}")
    if not verb.parameter:
        return Asked(verb, worker, None)
    value = given.get(verb.parameter, verb.default)
    if verb.choices and value not in verb.choices:
        raise Wrong(f"{verb.parameter}: expected one of {', '.join(verb.choices)}")
    if not verb.choices and not is_count(value):
        raise Wrong(f"{verb.parameter}: expected a number from 1 to {MOST_WORKERS}")
    return Asked(verb, worker, value)


def is_count(text: str | None) -> bool:
    return text is not None and text.isascii() and text.isdecimal() and len(text) < 5 and 1 <= int(text) <= MOST_WORKERS
