"""The FastAPI application of the rows: a JSON answer from a coroutine, and one from a function in the thread pool."""

from __future__ import annotations

from fastapi import FastAPI

app = FastAPI()


@app.get("/")
async def hello() -> dict[str, str]:
    return {"message": "Hello, World!"}


@app.get("/def")
def hello_in_thread() -> dict[str, str]:
    return {"message": "Hello, World!"}
