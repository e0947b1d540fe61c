"""The application of these tests, by Starlette: rooms by WebSocket and event stream, and what topics can be asked."""

from __future__ import annotations

import asyncio
import json
import os
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.websockets import WebSocket

from fastserve import topics
from fastserve.topics.starlette import EventStream


async def chat(socket: WebSocket) -> None:
    """Subscribes as the query says, tells so, and publishes what its client says."""
    room = socket.path_params["room"]
    query: dict[str, Any] = dict(socket.query_params)
    kept: dict[str, Any] = {"history": int(query.pop("history", 0))}
    if kept["history"]:
        kept["ttl"] = 60
    quiet = query.pop("quiet", None)
    if "info" in query:
        query["info"] = json.loads(query["info"])
    await socket.accept()
    subscription = await topics.subscribe(socket, room.split(","), **query)
    if not quiet:
        state = {"recovered": subscription.recovered, "position": subscription.position, "pid": os.getpid()}
        await socket.send_text(json.dumps(state))
    async for text in socket.iter_text():
        topics.publish(room.split(",")[0], text, exclude=socket if text.startswith("not me") else None, **kept)


async def watch(socket: WebSocket) -> None:
    """Tells who joins and leaves."""
    await socket.accept()

    async def tell() -> None:
        async with topics.listen(socket.path_params["room"], presence=True) as messages:
            await socket.send_text("watching")
            async for each in messages:
                if isinstance(each, topics.Join | topics.Leave):
                    await socket.send_json([type(each).__name__, each.member, each.info])

    telling = asyncio.ensure_future(tell())
    await socket.receive()  # the client has left
    telling.cancel()


async def members(request: Request) -> Response:
    return JSONResponse(await topics.members(request.path_params["room"]))


def events(request: Request) -> EventStream:
    query = request.query_params
    member = query.get("member")
    return EventStream(request.path_params["room"], keepalive=float(query.get("keepalive", 15)), member=member)


def publish(request: Request) -> Response:
    """Publishes from a thread."""
    room, query = request.path_params["room"], dict(request.query_params)
    topics.publish(room, query.pop("text"), event=query.get("event"), history=int(query.get("history", 0)))
    return JSONResponse({"pid": os.getpid()})


async def store(request: Request) -> Response:
    room, query = request.path_params["room"], request.query_params
    try:
        position = await topics.publish_stored(room, query["text"], history=int(query.get("history", 10)))
    except (topics.EngineDown, topics.Unsupported) as exc:
        return JSONResponse({"down": str(exc)}, 503)
    return JSONResponse({"position": position, "pid": os.getpid()})


async def about(request: Request) -> Response:
    room = request.path_params["room"]
    try:
        kept = await topics.history(room, since=request.query_params.get("since"))
        found = {"count": await topics.count(room), "history": [[each.id, each.data] for each in kept]}
    except topics.EngineDown as exc:
        return JSONResponse({"down": str(exc)}, 503)
    return JSONResponse({**found, "pid": os.getpid()})


app = Starlette(
    routes=[
        WebSocketRoute("/ws/{room}", chat),
        WebSocketRoute("/watch/{room}", watch),
        Route("/members/{room}", members),
        Route("/events/{room}", events),
        Route("/publish/{room}", publish, methods=["POST"]),
        Route("/store/{room}", store, methods=["POST"]),
        Route("/about/{room}", about),
        Mount("/out", topics.publisher(token="secret")),
    ]
)
