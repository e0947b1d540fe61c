"""Consumers of Django Channels, with each warning an error: that of asgiref would fail every WebSocket."""

from __future__ import annotations

import warnings
from typing import Any

import django  # type: ignore[import-untyped]
from django.conf import settings  # type: ignore[import-untyped]

if not settings.configured:
    settings.configure(SECRET_KEY="x", ALLOWED_HOSTS=["*"], INSTALLED_APPS=[], DATABASES={})
django.setup()

from channels.generic.http import AsyncHttpConsumer  # type: ignore[import-untyped]  # noqa: E402
from channels.generic.websocket import AsyncWebsocketConsumer, WebsocketConsumer  # type: ignore[import-untyped]  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # type: ignore[import-untyped]  # noqa: E402
from django.urls import path  # type: ignore[import-untyped]  # noqa: E402

warnings.simplefilter("error")


class Threaded(WebsocketConsumer):  # type: ignore[misc]
    def connect(self) -> None:
        self.accept()

    def receive(self, text_data: Any = None, bytes_data: Any = None) -> None:
        self.send(text_data="threaded " + text_data)


class Async(AsyncWebsocketConsumer):  # type: ignore[misc]
    async def receive(self, text_data: Any = None, bytes_data: Any = None) -> None:
        await self.send(text_data="async " + text_data)


class Http(AsyncHttpConsumer):  # type: ignore[misc]
    async def handle(self, body: bytes) -> None:
        await self.send_response(200, b"took " + body)


application = ProtocolTypeRouter(
    {
        "http": URLRouter([path("", Http.as_asgi())]),
        "websocket": URLRouter([path("threaded", Threaded.as_asgi()), path("async", Async.as_asgi())]),
    }
)
