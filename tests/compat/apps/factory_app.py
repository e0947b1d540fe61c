"""An application that is made by a function, as `--factory` wants it."""

from __future__ import annotations

from fastapi import FastAPI


def create() -> FastAPI:
    app = FastAPI()

    @app.get("/")
    async def index() -> dict[str, str]:
        return {"made by": "a factory"}

    return app
