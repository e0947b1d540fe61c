"""What the containers serve: who asked, as the application sees it, and a WebSocket that sends back what it gets."""

from typing import Any

from fastapi import FastAPI, Request, WebSocket, WebSocketDisconnect
from fastapi.responses import PlainTextResponse

app = FastAPI()


@app.get("/")
async def who(request: Request) -> dict[str, Any]:
    client = request.client.host if request.client else None
    return {"client": client, "url": str(request.url)}


@app.get("/healthz", response_class=PlainTextResponse)
async def healthy() -> str:
    return "ok"


@app.websocket("/echo")
async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    try:
        while True:
            await websocket.send_text(await websocket.receive_text())
    except WebSocketDisconnect:
        pass
