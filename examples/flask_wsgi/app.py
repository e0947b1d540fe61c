"""A list of notes, as a Flask application: WSGI, so each request has a thread."""

import threading

from flask import Flask, Response, jsonify, request

app = Flask(__name__)
notes: list[str] = []
lock = threading.Lock()  # several requests run at a time


@app.get("/")
def list_notes() -> Response:
    with lock:
        return jsonify(notes)


@app.post("/")
def add_note() -> tuple[Response, int]:
    text = request.get_data(as_text=True)
    with lock:
        notes.append(text)
        return jsonify(number=len(notes)), 201


@app.get("/lines")
def lines() -> Response:
    """A response that is made while it is sent."""
    with lock:
        taken = list(notes)
    return Response((f"{number} {text}\n" for number, text in enumerate(taken, 1)), mimetype="text/plain")
