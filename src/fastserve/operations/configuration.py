"""The options in use as JSON, with secrets masked."""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import urlsplit

from fastserve.options.resolved import MASK, SECRETS
from fastserve.options.table import OPTIONS, Options
from fastserve.options.values import Headers, Mode


def configuration(options: Options) -> dict[str, Any]:
    """Return each option's value, the application first."""
    found: dict[str, Any] = {"app": plain(options.app)}
    for option in OPTIONS:
        value = getattr(options, option.param)
        if value is not None and option.param in SECRETS:
            value = MASK
        elif isinstance(option.kind, Headers):
            value = [f"{name}: {masked_header(name, text.strip())}" for name, text in value or ()]
        elif isinstance(option.kind, Mode) and isinstance(value, int):
            value = f"{value:o}"
        elif isinstance(value, str):
            value = masked_url(value)
        found[option.param] = plain(value)
    return found


def plain(value: Any) -> Any:
    """Return a value that JSON has."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(each) for each in value]
    if isinstance(value, dict):
        return "a dict"  # the logging configuration of a program, with whatever its handlers need
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return getattr(value, "__qualname__", type(value).__qualname__)


def masked_url(text: str) -> str:
    """Return a URL without its password."""
    if "@" not in text or "://" not in text:
        return text
    try:
        parts = urlsplit(text)
    except ValueError:
        return MASK
    if parts.password is None:
        return text
    user, _, host = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"{user.partition(':')[0]}:{MASK}@{host}").geturl()


def masked_header(name: str, text: str) -> str:
    words = ("auth", "cookie", "key", "secret", "token")
    return MASK if any(word in name.lower() for word in words) else text
