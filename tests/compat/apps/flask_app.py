"""A Flask application: forms, uploads, streams, files, sessions and errors."""

from __future__ import annotations

import hashlib
import os
import threading
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from flask import Flask, Response, abort, request, send_from_directory, session, stream_with_context, url_for

app = Flask(__name__)
app.secret_key = "only for tests"
happened: defaultdict[str, threading.Event] = defaultdict(threading.Event)


@app.get("/")
def index() -> str:
    return "hello from Flask"


@app.get("/seen/<path:rest>")
def seen(rest: str) -> dict[str, object]:
    return {
        "rest": rest,
        "url": request.url,
        "args": request.args.to_dict(flat=False),
        "address": request.remote_addr,
        "cookies": request.cookies,
        "own": url_for("index", _external=True),
    }


@app.post("/form")
def form() -> dict[str, str]:
    return request.form.to_dict()


@app.post("/upload")
def upload() -> dict[str, object]:
    content = request.files["file"].read()
    return {"size": len(content), "sha256": hashlib.sha256(content).hexdigest(), "note": request.form["note"]}


@app.post("/digest")
def digest() -> dict[str, object]:
    """Reads a body of any length as it comes."""
    total, size = hashlib.sha256(), 0
    while piece := request.stream.read(65536):
        total.update(piece)
        size += len(piece)
    return {"size": size, "sha256": total.hexdigest()}


@app.get("/stream")
def stream() -> Response:
    return Response(stream_with_context(f"{number}\n" for number in range(500)), mimetype="text/plain")


@app.get("/two-halves")
def two_halves() -> Response:
    def halves() -> Iterator[str]:
        yield "first half\n"
        assert happened["first half read"].wait(60)
        yield "second half\n"

    return Response(halves(), mimetype="text/plain")


@app.get("/endless")
def endless() -> Response:
    def pieces() -> Iterator[bytes]:
        try:
            while True:
                yield b"x" * 65536
        finally:
            happened["endless closed"].set()

    return Response(pieces())


@app.get("/fire/<name>")
def fire(name: str) -> str:
    happened[name].set()
    return name


@app.get("/wait/<name>")
def wait(name: str) -> str:
    assert happened[name].wait(60)
    return name


@app.get("/file/<name>")
def file(name: str) -> Response:
    return send_from_directory(Path(os.environ["COMPAT_FILES"]), name, conditional=True)


@app.get("/count")
def count() -> str:
    session["count"] = session.get("count", 0) + 1
    return str(session["count"])


@app.get("/forbidden")
def forbidden() -> str:
    abort(403)


@app.get("/boom")
def boom() -> str:
    raise RuntimeError("the view broke")


def create() -> Flask:
    """A factory, as Flask's own documentation has it."""
    return app
