"""What clients of HTTP/2 ask for: bodies both ways, events, and gRPC by trailers."""

from __future__ import annotations

import asyncio
from typing import Any

EVENTS = 3
STREAMS = 20  # more than a browser opens connections to a server

PAGE = (
    b"""<!doctype html><script>
const heard = kind => new Promise(resolve => { kind.onmessage = message => resolve(message.data); });
(async () => {
    const events = Array.from({length: %d}, (_, at) => heard(new EventSource('/live?' + at)));
    const socket = new WebSocket('wss://' + location.host + '/socket');
    const reply = heard(socket);
    socket.onopen = () => socket.send('hello');
    const other = new WebSocket('wss://' + location.host + '/socket');
    const large = heard(other);
    other.onopen = () => other.send('x'.repeat(300000));
    const size = (await large).length;
    const end = new Promise(resolve => { other.onclose = event => resolve(event.code + ' ' + event.wasClean); });
    other.close(3001);
    const found = [...await Promise.all(events), await reply, size, await end, await (await fetch('/fetched')).text()];
    await fetch('/found?' + [...new Set(found)].join());
})();
</script>"""
    % STREAMS
)


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "websocket":
        await socket(scope, receive, send)
    if scope["type"] != "http":
        return
    headers = dict(scope["headers"])
    if headers.get(b"content-type", b"").startswith(b"application/grpc"):
        await grpc(scope, receive, send)
    elif scope["path"] == "/echo":
        await echo(receive, send)
    elif scope["path"] == "/read":
        await read(scope, receive, send)
    elif scope["path"] == "/whole":
        await whole(receive, send)
    elif scope["path"] == "/events":
        await events(send)
    elif scope["path"] == "/live":
        await live(receive, send)
    elif scope["path"] == "/page":
        await respond(send, PAGE, b"text/html")
    elif scope["path"].startswith("/size/"):
        await respond(send, bytes(int(scope["path"][6:])))
    else:
        await tell(scope, send)


async def respond(send: Any, body: bytes, kind: bytes = b"text/plain") -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]})
    await send({"type": "http.response.body", "body": body})


async def tell(scope: Any, send: Any) -> None:
    await respond(send, f"{scope['method']} {scope['path']} {scope['http_version']}".encode())


async def read(scope: Any, receive: Any, send: Any) -> None:
    """Respond once the body has come, to a client that has gone as well."""
    while (await receive()).get("more_body"):
        pass
    await tell(scope, send)


async def socket(scope: Any, receive: Any, send: Any) -> None:
    """Send back each message of a WebSocket, with the version of HTTP that it came by."""
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] != "websocket.disconnect":
        await send({"type": "websocket.send", "text": f"{message['text']} {scope['http_version']}"})


async def live(receive: Any, send: Any) -> None:
    """Send one event, and no end."""
    fields = [(b"content-type", b"text/event-stream")]
    await send({"type": "http.response.start", "status": 200, "headers": fields})
    await send({"type": "http.response.body", "body": b"data: event\n\n", "more_body": True})
    while (await receive())["type"] != "http.disconnect":
        pass


async def echo(receive: Any, send: Any) -> None:
    """Send back each piece as it comes."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        more = message["more_body"]
        await send({"type": "http.response.body", "body": message["body"], "more_body": more})


async def whole(receive: Any, send: Any) -> None:
    """Send the body back once all of it has come."""
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body += message["body"]
        more = message["more_body"]
    await respond(send, body)


async def events(send: Any) -> None:
    fields = [(b"content-type", b"text/event-stream")]
    await send({"type": "http.response.start", "status": 200, "headers": fields})
    for number in range(EVENTS):
        await asyncio.sleep(0.01)
        await send({"type": "http.response.body", "body": b"data: %d\n\n" % number, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def grpc(scope: Any, receive: Any, send: Any) -> None:
    """Echo messages: one for /echo.Echo/Unary, each as it comes for /echo.Echo/Stream; /echo.Echo/Fail fails."""
    fields = [(b"content-type", b"application/grpc")]
    await send({"type": "http.response.start", "status": 200, "headers": fields, "trailers": True})
    rest, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        more = message["more_body"]
        rest += message["body"]
        while len(rest) >= 5 and len(rest) >= 5 + int.from_bytes(rest[1:5], "big"):
            end = 5 + int.from_bytes(rest[1:5], "big")
            if scope["path"] != "/echo.Echo/Fail":
                await send({"type": "http.response.body", "body": rest[:end], "more_body": True})
            rest = rest[end:]
    await send({"type": "http.response.body", "body": b""})
    failed = scope["path"] == "/echo.Echo/Fail"
    status = [(b"grpc-status", b"3"), (b"grpc-message", b"as asked")] if failed else [(b"grpc-status", b"0")]
    await send({"type": "http.response.trailers", "headers": status})
