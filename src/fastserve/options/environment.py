"""What the environment says where no option does, and the file that adds to it."""

from __future__ import annotations

import logging
import os

from fastserve._version import requirement
from fastserve.logging.log_config import ConfigError
from fastserve.options.table import TABLE, OptionError

from_files: set[str] = set()  # variables that have been added by load_env_file()

TRUSTED_PROXIES = "127.0.0.1,::1"

logger = logging.getLogger("fastserve.error")


def load_env_file(path: str | os.PathLike[str]) -> None:
    """Add the variables of a file to the environment; variables that are set already keep their values.

    Lines of another form are left out with a warning, as by uvicorn, so that a file that has some goes on to work.
    Raises ConfigError if the file cannot be used, or if python-dotenv is not installed.
    """
    import io
    from pathlib import Path

    try:
        from dotenv import load_dotenv
        from dotenv.parser import parse_stream
    except ImportError:
        raise ConfigError(f"env_file needs python-dotenv: install it, or {requirement('standard')}.") from None
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, ValueError) as exc:
        raise ConfigError(f"env_file '{path}' cannot be read: {exc}") from exc
    taken = []
    for binding in parse_stream(io.StringIO(text)):
        original = binding.original
        if binding.error:
            before = original.string.partition(original.string.strip())[0]
            line = original.line + before.count("\n")
            logger.warning("Line %d of env_file '%s' is not of the form NAME=VALUE, and is left out.", line, path)
        else:
            taken.append(original.string)
    known = set(os.environ)
    try:
        load_dotenv(stream=io.StringIO("".join(taken)))
    except (OSError, ValueError) as exc:  # no environment can hold it
        raise ConfigError(f"env_file '{path}' cannot be used: {exc}") from exc
    from_files.update(os.environ.keys() - known)
    logger.info("Loading environment from '%s'", path)


def workers() -> int:
    """Return the number of workers that WEB_CONCURRENCY says, by default 1. Raises OptionError."""
    text = os.environ.get("WEB_CONCURRENCY") or "1"
    try:
        number: int = TABLE["workers"].kind.parsed(text)
    except (TypeError, ValueError) as exc:
        raise OptionError(f"WEB_CONCURRENCY: {exc}") from None
    return number


def forwarded_allow_ips() -> str:
    """Return the proxies that FORWARDED_ALLOW_IPS says, by default those of this machine."""
    return os.environ.get("FORWARDED_ALLOW_IPS", TRUSTED_PROXIES)
