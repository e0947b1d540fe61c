"""A chat: everybody whose page is open reads what anybody writes."""

from pathlib import Path

from fastapi import FastAPI, WebSocket, WebSocketDisconnect
from fastapi.responses import HTMLResponse

app = FastAPI()
page = (Path(__file__).parent / "page.html").read_text("utf-8")
rooms: dict[str, set[WebSocket]] = {}


@app.get("/", response_class=HTMLResponse)
async def show_page() -> str:
    return page


@app.get("/rooms")
async def list_rooms() -> dict[str, int]:
    """How many are in each room."""
    return {name: len(members) for name, members in rooms.items()}


@app.websocket("/rooms/{name}")
async def chat(websocket: WebSocket, name: str) -> None:
    await websocket.accept()
    members = rooms.setdefault(name, set())
    members.add(websocket)
    try:
        while True:
            text = await websocket.receive_text()
            for member in list(members):
                await member.send_text(text)
    except WebSocketDisconnect:
        pass
    finally:
        members.discard(websocket)
        if not members:
            rooms.pop(name, None)
