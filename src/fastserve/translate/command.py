"""`fastserve translate COMMAND...`: which server a command is of, and what it is as a command of fastserve."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePath

from fastserve.translate import granian, gunicorn, hypercorn, uvicorn
from fastserve.translate.result import Result, Untranslatable, settle

Translate = Callable[[Result, Sequence[str], Mapping[str, str]], None]
SERVERS: dict[str, Translate] = {
    "uvicorn": uvicorn.translate,
    "gunicorn": gunicorn.translate,
    "hypercorn": hypercorn.translate,
    "granian": granian.translate,
}
THEIRS = ("UVICORN_", "GRANIAN_", "GUNICORN_CMD_ARGS")
ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z_0-9]*=")


def translate(words: Sequence[str], environ: Mapping[str, str]) -> Result:
    """Return the command of fastserve for a command of another server.

    Variables before the command, or in `environ`, count where that server reads them. Raises Untranslatable for what is
    not a command of one of the servers, ConfigError for a configuration file that cannot be read.
    """
    rest = list(words)
    if len(rest) == 1 and " " in rest[0]:
        try:
            rest = shlex.split(rest[0])
        except ValueError as exc:
            raise Untranslatable(f"{rest[0]!r}: {str(exc).lower()}") from None
    result = Result()
    own: dict[str, str] = {}
    while rest and (ASSIGNMENT.match(rest[0]) or rest[0] in ("env", "exec")):
        name, equals, value = rest.pop(0).partition("=")
        if equals:
            own[name] = value
    server = server_of(rest)
    result.variables = {name: value for name, value in own.items() if not name.startswith(THEIRS)}
    if server in ("hypercorn", "granian"):
        result.variables.pop("WEB_CONCURRENCY", None)  # which they do not read
    SERVERS[server](result, rest[1:], {**environ, **own})
    if not result.app:
        raise Untranslatable(f"the command names no application: {server} OPTIONS MODULE:ATTRIBUTE")
    settle(result)
    return result


def server_of(words: list[str]) -> str:
    """Return the server whose command the words are; what comes before its name is taken out of them."""
    if len(words) > 2 and PurePath(words[0]).name.startswith("python") and words[1] == "-m":
        del words[:2]
    name = PurePath(words[0]).name.removesuffix(".exe") if words else ""
    if name not in SERVERS:
        raise Untranslatable(f"{name or 'COMMAND'!r} is not one of {', '.join(SERVERS)}")
    return name
