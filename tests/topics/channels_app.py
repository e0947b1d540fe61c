"""A chat by Django Channels, whose groups are topics."""

from __future__ import annotations

import os

import django  # type: ignore[import-untyped,unused-ignore]
from django.conf import settings  # type: ignore[import-untyped,unused-ignore]

settings.configure(
    DEBUG=False,
    SECRET_KEY="x",
    ALLOWED_HOSTS=["*"],
    INSTALLED_APPS=["channels"],
    CHANNEL_LAYERS={"default": {"BACKEND": "fastserve.topics.channels.TopicsLayer"}},
)
django.setup()

from channels.generic.websocket import AsyncJsonWebsocketConsumer  # type: ignore[import-untyped,unused-ignore]  # noqa: E402
from channels.routing import ProtocolTypeRouter  # type: ignore[import-untyped,unused-ignore]  # noqa: E402


class Chat(AsyncJsonWebsocketConsumer):  # type: ignore[misc,unused-ignore]
    """Says the worker it is in, then what is said in the room."""

    groups = ["room"]  # noqa: RUF012  # as Channels documents it

    async def connect(self) -> None:
        await self.accept()
        await self.send_json({"pid": os.getpid()})

    async def receive_json(self, content: dict[str, str]) -> None:
        await self.channel_layer.group_send("room", {"type": "chat.said", "text": content["say"]})

    async def chat_said(self, event: dict[str, str]) -> None:
        await self.send_json({"said": event["text"]})


app = ProtocolTypeRouter({"websocket": Chat.as_asgi()})
