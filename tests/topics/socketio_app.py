"""Rooms by python-socketio, whose servers are connected by topics."""

from __future__ import annotations

import os
from typing import Any

import socketio  # type: ignore[import-untyped,unused-ignore]

from fastserve.topics.socketio import TopicsManager


def make() -> Any:
    """Return an application with a Socket.IO server of its own."""
    server = socketio.AsyncServer(async_mode="asgi", client_manager=TopicsManager())

    @server.event  # type: ignore[untyped-decorator,unused-ignore]
    async def enter(sid: str, room: str) -> Any:
        await server.enter_room(sid, room)
        return {"pid": os.getpid(), "sid": sid}

    @server.event  # type: ignore[untyped-decorator,unused-ignore]
    async def say(sid: str, data: dict[str, Any]) -> None:
        await server.emit("said", data["what"], room=data["room"], skip_sid=sid if data.get("not_me") else None)

    @server.event  # type: ignore[untyped-decorator,unused-ignore]
    async def ask(sid: str, other: str) -> None:
        """Ask another client, wherever it is, and pass on its answer."""

        async def answered(answer: str) -> None:
            await server.emit("answer", answer, to=sid)

        await server.emit("question", "?", to=other, callback=answered)

    @server.event  # type: ignore[untyped-decorator,unused-ignore]
    async def invite(sid: str, data: dict[str, str]) -> None:
        await server.enter_room(data["sid"], data["room"])

    @server.event  # type: ignore[untyped-decorator,unused-ignore]
    async def throw_out(sid: str, other: str) -> None:
        await server.disconnect(other)

    return socketio.ASGIApp(server)


app = make()
