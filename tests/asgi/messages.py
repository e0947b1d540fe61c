"""The messages of ASGI that tests send, and applications made of them."""

from __future__ import annotations

from typing import Any, NamedTuple

START = {"type": "http.response.start", "status": 200}


def body(data: bytes, more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, "more_body": more}


def start(*headers: tuple[bytes, bytes], status: int = 200, trailers: bool = False) -> dict[str, Any]:
    return {"type": "http.response.start", "status": status, "headers": headers, "trailers": trailers}


def pathsend(path: Any) -> dict[str, Any]:
    return {"type": "http.response.pathsend", "path": path}


def zerocopysend(file: Any, **fields: Any) -> dict[str, Any]:
    return {"type": "http.response.zerocopysend", "file": file, **fields}


def trailers(*headers: tuple[bytes, bytes], more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.trailers", "headers": headers, "more_trailers": more}


def hint(*links: Any) -> dict[str, Any]:
    return {"type": "http.response.early_hint", "links": links}


def sends(*messages: Any) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        for message in messages:
            await send(message)

    return app


class Raised(NamedTuple):
    """An exception, without the frames that its traceback would keep alive."""

    kind: type
    text: str


def raised_by(*messages: Any) -> tuple[Any, list[Raised]]:
    """An application that sends these, and keeps what the one that is refused raises."""
    errors: list[Raised] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            for message in messages:
                await send(message)
        except Exception as error:
            errors.append(Raised(type(error), str(error)))
            raise

    return app, errors
