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

ROUTE = re.compile(r"/[!\"$&->@-~]*\Z")  # visible ASCII except # % ?
ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
NEVER = b"\0"  # which no file name contains
FORBIDDEN = (NEVER, b"\\", b":") if os.name == "nt" else (NEVER,)


class Mount(NamedTuple):
    """A route, without a slash at its end, and the absolute path of its directory."""

    route: bytes
    directory: bytes

    @property
    def template(self) -> str:
        """The route in the metrics."""
        return f"{self.route.decode('ascii')}/{{file}}"

    @property
    def leaves_the_rest(self) -> bool:
        """Whether paths that are not files go to the application: with the route /, which covers all paths."""
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
    """Return a path with its escapes resolved. Escapes that no file name contains, such as a slash, become NEVER."""
    path = ESCAPE.sub(NEVER, path)
    return unquote_to_bytes(path.replace(b"%2f", NEVER).replace(b"%2F", NEVER))


def name_of(path: bytes) -> bytes | None:
    """Return the file name for the rest of a path after its route, None if no file may be served by it.

    Names that begin with a dot, `..` included, and directories are not served.
    """
    for segment in path.split(b"/"):
        if not segment or segment.startswith(b".") or any(each in segment for each in FORBIDDEN):
            return None
        if os.name == "nt" and segment.endswith((b".", b" ")):  # which Windows ignores
            return None
    return path
