"""An application whose messages have values of subclasses: members of enumerations, as programs name them."""

from __future__ import annotations

from enum import Enum, IntEnum
from http import HTTPStatus
from typing import Any


class Kind(str):
    __slots__ = ()


class Octets(bytes):
    pass


class Text(str, Enum):
    HELLO = "hello"
    LEFT = "left"


class Code(IntEnum):
    LEFT = 4001


class Message(dict[str, Any]):
    pass


async def app(scope: Any, receive: Any, send: Any) -> None:
    fields = [(Octets(b"x-seen"), Octets(b"yes"))]
    if scope["type"] == "http":
        await send(Message(type=Kind("http.response.start"), status=HTTPStatus.CREATED, headers=fields))
        await send(Message(type=Kind("http.response.body"), body=Octets(b"hello")))
    elif scope["type"] == "websocket":
        await receive()
        await send(Message(type=Kind("websocket.accept"), subprotocol=Kind("chat"), headers=fields))
        await send(Message(type=Kind("websocket.send"), text=Text.HELLO))
        await send(Message(type=Kind("websocket.send"), bytes=Octets(b"hello")))
        await send(Message(type=Kind("websocket.close"), code=Code.LEFT, reason=Text.LEFT))
