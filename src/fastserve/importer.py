"""Objects named as "<module>:<attribute>", and what to say when one cannot be imported."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from types import TracebackType
from typing import Any

PACKAGE = __file__.removesuffix("importer.py")


class ImportFromStringError(Exception):
    """The name is not of that form, or no module or attribute has it."""


def import_from_string(import_str: Any) -> Any:
    """Return the object that "<module>:<attribute>" names (the attribute may be dotted), or what is not a str as it is.

    Raises ImportFromStringError if it does not exist, and whatever the module raises while it is imported.
    """
    if not isinstance(import_str, str):
        return import_str
    module_name, _, attributes = import_str.partition(":")
    if not module_name or not attributes or module_name.startswith("."):
        message = f'Import string "{import_str}" must be in format "<module>:<attribute>".'
        raise ImportFromStringError(f"{message}{suggestion(import_str)}")
    try:
        found = importlib.import_module(module_name)
    except ModuleNotFoundError as exc:
        # The module exists and one of its own imports is missing: its author needs to see that.
        if exc.name is None or not f"{module_name}.".startswith(f"{exc.name}."):
            raise
        message = f'Could not import module "{module_name}".{suggestion(import_str)}'
        raise ImportFromStringError(message) from None
    for attribute in attributes.split("."):
        try:
            found = getattr(found, attribute)
        except AttributeError:
            message = f'Attribute "{attributes}" not found in module "{module_name}".'
            raise ImportFromStringError(message) from None
    return found


def from_elsewhere(module: str, homes: Mapping[str, str], name: str) -> Any:
    """Return what a module gives under `name` though another one has it, for its `__getattr__`.

    `homes` has the names and the modules that they are in. Raises AttributeError for any other name.
    """
    if name not in homes:
        raise AttributeError(f"module {module!r} has no attribute {name!r}")
    return getattr(importlib.import_module(homes[name]), name)


def suggestion(import_str: str) -> str:
    """Return a question that proposes an import string for one written like a file's path; "" for any other."""
    path, _, attributes = import_str.partition(":")
    path = path.replace("\\", "/")
    if "/" not in path and not path.endswith(".py"):
        return ""
    folder, _, name = path.removesuffix(".py").rpartition("/")
    parts = [part for part in (*folder.split("/"), name) if part not in ("", ".")]
    attributes = attributes or "app"
    if not parts:
        return ""
    if path.startswith("/") or ".." in parts:
        return f" Did you mean {name}:{attributes} with --app-dir {folder or '/'}?"
    return f" Did you mean {'.'.join(parts)}:{attributes}?"


def blame(exc: BaseException) -> str:
    """Return "Type: message (file, line n)" for an exception of the user's code; cut our frames off its traceback."""
    exc.__traceback__ = users_part(exc.__traceback__)
    what = f"{type(exc).__name__}: {exc}" if str(exc) else type(exc).__name__
    if isinstance(exc, SyntaxError):
        return what if exc.filename is None else f"{type(exc).__name__}: {exc.msg} ({exc.filename}, line {exc.lineno})"
    innermost = exc.__traceback__
    if innermost is None:
        return what
    while innermost.tb_next is not None:
        innermost = innermost.tb_next
    return f"{what} ({innermost.tb_frame.f_code.co_filename}, line {innermost.tb_lineno})"


def users_part(traceback: TracebackType | None) -> TracebackType | None:
    """Return a traceback from its first frame that is neither ours nor the import system's."""
    while traceback is not None:
        filename = traceback.tb_frame.f_code.co_filename
        ours = filename.startswith((PACKAGE, "<frozen importlib")) or filename == importlib.__file__
        if not ours:
            break
        traceback = traceback.tb_next
    return traceback
