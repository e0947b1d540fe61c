"""Applications that fan out by libraries, and by ours in their place: Channels, broadcaster, python-socketio.

Each takes WebSockets, tells its client "ready", and publishes to all by the coroutine that it returns. The address of
the Redis is in FANOUT_REDIS.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import Any

Publish = Callable[[str], Awaitable[None]]


def channels_with(backend: str, **config: Any) -> tuple[Any, Publish]:
    import django  # type: ignore[import-untyped,unused-ignore]
    from django.conf import settings  # type: ignore[import-untyped,unused-ignore]

    settings.configure(
        SECRET_KEY="x",
        INSTALLED_APPS=["channels"],
        CHANNEL_LAYERS={"default": {"BACKEND": backend, "CONFIG": config}},
    )
    django.setup()
    from channels.generic.websocket import AsyncWebsocketConsumer  # type: ignore[import-untyped,unused-ignore]
    from channels.layers import get_channel_layer  # type: ignore[import-untyped,unused-ignore]

    class Consumer(AsyncWebsocketConsumer):  # type: ignore[misc,unused-ignore]
        groups = ["room"]  # noqa: RUF012

        async def connect(self) -> None:
            await self.accept()
            await self.send(text_data="ready")

        async def told(self, event: dict[str, str]) -> None:
            await self.send(text_data=event["text"])

    async def publish(text: str) -> None:
        layer: Any = get_channel_layer()
        await layer.group_send("room", {"type": "told", "text": text})

    return Consumer.as_asgi(), publish


def broadcast_with(broadcast: Any) -> tuple[Any, Publish]:
    connected = False

    async def application(scope: Any, receive: Any, send: Any) -> None:
        nonlocal connected
        if not connected:
            connected = True
            await broadcast.connect()
        await receive()
        await send({"type": "websocket.accept"})
        async with broadcast.subscribe("room") as subscriber:
            await send({"type": "websocket.send", "text": "ready"})
            async for event in subscriber:
                await send({"type": "websocket.send", "text": event.message})

    async def publish(text: str) -> None:
        await broadcast.publish("room", text)

    return application, publish


def socketio_with(manager: Any) -> tuple[Any, Publish]:
    import socketio  # type: ignore[import-untyped,unused-ignore]

    server = socketio.AsyncServer(async_mode="asgi", client_manager=manager, ping_interval=600)

    @server.event  # type: ignore[untyped-decorator,unused-ignore]
    async def connect(sid: str, environ: Any) -> None:
        await server.enter_room(sid, "room")
        server.start_background_task(server.emit, "ready", to=sid)

    async def publish(text: str) -> None:
        await server.emit("m", text, room="room")

    return socketio.ASGIApp(server), publish


def made(kind: str) -> tuple[Any, Publish]:
    """Return the application of a row, and what publishes."""
    address = os.environ.get("FANOUT_REDIS", "")
    if kind == "channels":
        return channels_with("fastserve.topics.channels.TopicsLayer", capacity=1000)
    if kind == "channelsredis":
        return channels_with(
            "channels_redis.pubsub.RedisPubSubChannelLayer", hosts=[f"unix://{address}"], capacity=1000
        )
    if kind == "channelsmemory":
        return channels_with("channels.layers.InMemoryChannelLayer", capacity=1000)
    if kind == "broadcast":
        from fastserve.topics.broadcast import Broadcast

        return broadcast_with(Broadcast())
    if kind == "broadcaster":
        from broadcaster import Broadcast as Broadcaster

        return broadcast_with(Broadcaster("memory://"))
    if kind == "socketio":
        from fastserve.topics.socketio import TopicsManager

        return socketio_with(TopicsManager())
    from socketio import AsyncRedisManager

    return socketio_with(AsyncRedisManager(f"unix://{address}"))


# Around the text of a message on the wire, and what a client has to send first.
SOCKETIO = ('42["m","', '"]')
SOCKETIO_PATH, SOCKETIO_FIRST = "/socket.io/?EIO=4&transport=websocket", "40"
