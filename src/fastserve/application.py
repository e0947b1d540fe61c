"""What kind of application an object is: a factory of one, ASGI 2 or ASGI 3."""

from __future__ import annotations

import inspect
import sys
from typing import Any


def takes_no_arguments(app: Any) -> bool:
    """Say whether `app` is sure to be callable with no arguments, and made to be."""
    try:
        parameters = inspect.signature(app).parameters.values()
    except (TypeError, ValueError):
        return False
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return all(each.default is not each.empty and each.kind not in variable for each in parameters)


def may_be_factory(app: Any) -> bool:
    """Say whether calling `app` without arguments could give an application; a coroutine function gives none."""
    return callable(app) and not is_coroutine_function(app)


def is_coroutine_function(function: Any) -> bool:
    if sys.version_info >= (3, 14):
        return inspect.iscoroutinefunction(function)
    import asyncio

    return asyncio.iscoroutinefunction(function)  # knows functions marked as such, too


def looks_like_wsgi(app: Any) -> bool:
    """Say whether an application takes two arguments, as a WSGI application does, and neither one nor three."""
    if is_coroutine_function(app) or is_coroutine_function(getattr(app, "__call__", None)):  # noqa: B004
        return False
    try:
        signature = inspect.signature(app, follow_wrapped=False)  # what is around it may take anything
    except (TypeError, ValueError):
        return False
    return [count for count in (1, 2, 3) if takes(signature, count)] == [2]


def takes(signature: inspect.Signature, count: int) -> bool:
    try:
        signature.bind(*[None] * count)
    except TypeError:
        return False
    return True


def is_asgi3(app: Any) -> bool:
    """Say whether an application takes scope, receive and send at once; ASGI 2 takes the scope alone, first."""
    if inspect.isclass(app):
        return hasattr(app, "__await__")
    if is_coroutine_function(app) or is_coroutine_function(getattr(app, "__call__", None)):  # noqa: B004
        return True
    # Not a coroutine function, but it may well return a coroutine: then its parameters tell.
    try:
        signature = inspect.signature(app)
        signature.bind(None, None, None)
    except (TypeError, ValueError):
        return False
    try:
        signature.bind(None)
    except TypeError:
        return True
    return False
