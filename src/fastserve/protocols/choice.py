"""Chooses the class that serves a connection and the one that makes WebSocket frames: the core's, or another."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from fastserve._version import requirement
from fastserve.importer import ImportFromStringError, blame, import_from_string

if TYPE_CHECKING:
    from fastserve.protocols.websockets.contract import Framing

EXTRAS = {"websockets": "standard", "wsproto": "wsproto"}  # that install a package
CORE_MODULE = "fastserve._core.connection"


class ProtocolError(Exception):
    """The protocol does not exist or cannot be used; the text lists the choices."""


def http_protocol(http: Any, known: Mapping[str, str]) -> tuple[Callable[..., asyncio.Protocol], bool]:
    """Return what makes the protocol of a connection, and whether that is the core's.

    `http` is a name of `known`, an import string or a class. Raises ProtocolError if it cannot be loaded or served.
    """
    choices = f"choose {', '.join(known)} or module:Class"
    try:
        found = import_from_string(known.get(http, http) if isinstance(http, str) else http)
    except ImportFromStringError as exc:
        raise ProtocolError(f'{exc} For "http" {choices}.') from None
    except ImportError as exc:
        if http == "h11" and exc.name == "h11":
            raise ProtocolError(f'http "h11" needs the package h11: install it, or {requirement("h11")}.') from None
        raise ProtocolError(f'Importing "{http}" raised {blame(exc)}; for "http" {choices}.') from exc
    except Exception as exc:
        raise ProtocolError(f'Importing "{http}" raised {blame(exc)}; for "http" {choices}.') from exc
    if getattr(found, "stands_for_core", False):
        check_not_derived(found)
        found = import_from_string(f"{CORE_MODULE}:Connection")
    uses_core = getattr(found, "__module__", None) == CORE_MODULE
    if not callable(found):
        raise ProtocolError(f'"{http}" is not a protocol class; for "http" {choices}.')
    return found, uses_core


def ws_protocol(ws: Any, known: Mapping[str, str | None]) -> tuple[type[Any] | None, type[Framing] | None]:
    """Return the class that serves WebSockets by uvicorn's contract, and what makes its frames if it is the core's.

    The first is None without WebSockets, the second if the core makes the frames. `ws` is a name of `known`, an import
    string or a class. Raises ProtocolError if it cannot be loaded or used.
    """
    named = isinstance(ws, str) and ws in known
    choices = f'For "ws" choose {", ".join(known)} or module:Class.'
    try:
        found = import_from_string(known[ws] if named else ws)
    except ImportFromStringError as exc:
        raise ProtocolError(f"{exc} {choices}") from None
    except ImportError as exc:
        if not named:
            raise ProtocolError(blame(exc)) from None
        package = (exc.name or "").partition(".")[0]
        if package in EXTRAS:
            extra = requirement(EXTRAS[package])
            raise ProtocolError(f"It needs the package {package}: install it, or {extra}.") from None
        raise ProtocolError(f"{blame(exc)}: install it, or choose another --ws.") from None
    except Exception as exc:
        raise ProtocolError(blame(exc)) from exc
    if ws == "none":
        return None, None
    from fastserve.protocols.websockets.connection import WebSocketConnection

    if found is None or is_framing(found):
        return WebSocketConnection, found
    if isinstance(found, type) and issubclass(found, WebSocketConnection):
        if "framing" not in vars(found):
            raise ProtocolError("It is a subclass of a class that only stands for the compiled core.")
        return found, found.framing
    if not is_contract(found):
        raise ProtocolError(
            "It fulfils neither the contract of fastserve.protocols.websockets.contract nor uvicorn's. " + choices
        )
    return found, None


def is_framing(found: Any) -> bool:
    return has_methods(found, "receive", "output", "send_text", "send_bytes", "ping", "close")


def is_contract(found: Any) -> bool:
    """Return whether this is a protocol that uvicorn's HTTP protocols could make as their `ws_protocol_class`."""
    return has_methods(found, "connection_made", "data_received", "connection_lost", "shutdown")


def is_uvicorns(found: Any) -> bool:
    """Return whether this is a class of uvicorn's or derived from one."""
    return any(base.__module__.startswith("uvicorn.") for base in getattr(found, "__mro__", ()))


def has_methods(found: Any, *names: str) -> bool:
    return isinstance(found, type) and all(callable(getattr(found, name, None)) for name in names)


def check_not_derived(found: type) -> None:
    """Raise ProtocolError for a subclass of a class that only stands for the compiled core."""
    if "stands_for_core" not in vars(found):
        raise ProtocolError(
            f"{found.__qualname__} is a subclass of HttpToolsProtocol, whose internals the compiled core does not have:"
            " derive it from fastserve.protocols.http.h11_impl.H11Protocol."
        )
