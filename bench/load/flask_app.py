"""The Flask application of the rows: one plain-text page."""

from __future__ import annotations

from flask import Flask, Response

app = Flask(__name__)


@app.get("/")
def hello() -> Response:
    return Response("Hello, World!", content_type="text/plain; charset=utf-8")
