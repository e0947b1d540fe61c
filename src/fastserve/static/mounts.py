"""Which requests are for files: routes and their directories."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from fastserve.logging.log_config import ConfigError

ROUTE = re.compile(r"/[!\"$&->@-~]*\Z")  # visible ASCII but for # % ?
ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
NEVER = b"\0"  # is in no name of a file
FORBIDDEN = (NEVER, b"\\", b":") if os.name == "nt" else (NEVER,)


class Mount(NamedTuple):
    """A route, without a slash at its end, and the absolute path of its directory."""

    route: bytes
    directory: bytes

    @property
    def template(self) -> str:
        """What the metrics call it."""
        return f"{self.route.decode('ascii')}/{{file}}"

    @property
    def leaves_the_rest(self) -> bool:
        """Whether the application has what is not a file: with a route that covers all paths."""
        return not self.route


def parts_of(text: str) -> tuple[str, str]:
    """Return the route and the directory of ROUTE=DIR. Raises ValueError."""
    route, equals, directory = text.partition("=")
    if not equals or not directory:
        raise ValueError(f"{text!r} is not of the form ROUTE=DIR, as in /static=public")
    if not ROUTE.match(route) or "//" in route:
        raise ValueError(f"{text!r}: expected a path before the =, as in /static=public")
    return route.rstrip("/"), directory


def mounts_of(texts: Iterable[str]) -> list[Mount]:
    """Return the mounts of --static, the longest route first. Raises ConfigError for an unusable directory."""
    found = []
    for text in texts:
        route, name = parts_of(text)
        directory = Path(name).absolute()
        try:
            if not stat.S_ISDIR(directory.stat().st_mode):
                raise NotADirectoryError("it is not a directory")
            if not os.access(directory, os.X_OK):
                raise PermissionError("permission denied")
        except OSError as exc:
            reason = (exc.strerror or str(exc)).lower()
            raise ConfigError(f"static '{text}' cannot be used: '{name}': {reason}") from exc
        found.append(Mount(route.encode("ascii"), os.fsencode(directory)))
    return sorted(found, key=lambda mount: -len(mount.route))


def decoded(path: bytes) -> bytes:
    """Return a path with its escapes resolved. What cannot be in a name, an escaped slash included, becomes NEVER."""
    path = ESCAPE.sub(NEVER, path)
    return unquote_to_bytes(path.replace(b"%2f", NEVER).replace(b"%2F", NEVER))


def name_of(path: bytes) -> bytes | None:
    """Return the name of the file that a path below a route means, None if no file that is served has it.

    Nothing whose name begins with a dot is served, `..` included, and no directory.
    """
    for segment in path.split(b"/"):
        if not segment or segment.startswith(b".") or any(each in segment for each in FORBIDDEN):
            return None
        if os.name == "nt" and segment.endswith((b".", b" ")):  # which Windows leaves out
            return None
    return path
