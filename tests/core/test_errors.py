"""Which exceptions say only that the client is gone."""

from __future__ import annotations

from typing import Any

import pytest

from fastserve._core.errors import ClientDisconnected, only_disconnects


class Group(Exception):
    """Shaped as an ExceptionGroup, which Python 3.10 does not have."""

    def __init__(self, *exceptions: BaseException) -> None:
        super().__init__("several")
        self.exceptions = exceptions


def named(name: str) -> Exception:
    made: Any = type(name, (Exception,), {})()
    assert isinstance(made, Exception)
    return made


def raised_from(cause: BaseException) -> Exception:
    error = LookupError("the application failed")
    error.__cause__ = cause
    return error


GONE = ClientDisconnected("the client is gone")


@pytest.mark.parametrize(
    "exception",
    [
        GONE,
        Group(GONE, Group(GONE)),
        raised_from(Group(GONE)),
        named("ClientDisconnect"),  # of Starlette
        named("WebSocketDisconnect"),
        Group(named("ClientDisconnectedError")),  # of Quart
    ],
)
def test_only_disconnects(exception: Exception) -> None:
    assert only_disconnects(exception)


@pytest.mark.parametrize(
    "exception",
    [
        OSError("the client is gone"),
        Group(),
        Group(GONE, ValueError()),
        raised_from(ValueError()),
        named("Disconnected"),
    ],
)
def test_others(exception: Exception) -> None:
    assert not only_disconnects(exception)
