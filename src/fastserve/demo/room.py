"""/room: windows of browsers that see one another and what is said, whichever worker each is connected to."""

from __future__ import annotations

import asyncio
import json
import os
import re
from typing import Any
from urllib.parse import parse_qs

from fastserve import topics
from fastserve.demo.asgi import Receive, Scope, Send

ROOM = "demo-room"  # what is said
WINDOWS = "demo-windows"  # whose members are the windows
WINDOW = "demo-window-"  # what is for one window: who has got what it said
KEPT, KEPT_SECONDS = 20, 3600.0
LONGEST = 500  # characters
WINDOW_ID = re.compile(r"[0-9a-f]{8}")


async def room(scope: Scope, receive: Receive, send: Send) -> None:
    """Accept a window, and tell it of the others until it closes."""
    await receive()
    query = parse_qs(scope["query_string"].decode("latin-1"))
    window = query.get("window", [""])[0]
    if not WINDOW_ID.fullmatch(window):
        await send({"type": "websocket.close"})
        return
    await send({"type": "websocket.accept"})
    since = query.get("since", [""])[0] or "none:0"  # a position that never was: all that is kept
    subscriptions = [await topics.subscribe(send, [ROOM, WINDOW + window], since={ROOM: since}, format="json")]
    telling = None
    try:
        async with topics.listen(WINDOWS, presence=True) as changes:
            subscriptions.append(await topics.subscribe(send, WINDOWS, member=window, info={"pid": os.getpid()}))
            await send_json(send, {"members": await topics.members(WINDOWS), "pid": os.getpid()})
            telling = asyncio.ensure_future(tell(changes, send))
            while (message := await receive())["type"] != "websocket.disconnect":
                take(window, message.get("text"))
    finally:
        if telling is not None:
            telling.cancel()
        for each in subscriptions:
            each.cancel()


async def tell(changes: topics.listen, send: Send) -> None:
    """Send who comes and goes."""
    async for each in changes:
        if isinstance(each, topics.Join):
            await send_json(send, {"joined": each.member, "info": each.info})
        elif isinstance(each, topics.Leave):
            await send_json(send, {"left": each.member})


def take(window: str, text: str | None) -> None:
    """Publish what a window says, or that it has got what another said."""
    try:
        said = json.loads(text or "")
        key = str(said["key"])[:40]
        to = said.get("to")
        if to is None:
            message = {"from": window, "key": key, "text": str(said["text"])[:LONGEST], "pid": os.getpid()}
            topics.publish(ROOM, json.dumps(message), history=KEPT, ttl=KEPT_SECONDS)
        elif WINDOW_ID.fullmatch(to):
            topics.publish(WINDOW + to, json.dumps({"got": key, "by": window}))
    except (ValueError, TypeError, KeyError, AttributeError):
        return  # not from our page


async def send_json(send: Send, value: Any) -> None:
    await send({"type": "websocket.send", "text": json.dumps(value)})
