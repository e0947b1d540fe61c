"""/upload: responds with the size and SHA-256 digest of a file, which is hashed as it arrives and never kept."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass, field
from typing import Any

from fastserve.demo import asgi, pages
from fastserve.demo.asgi import Receive, Scope, Send
from fastserve.demo.multipart import MultipartError, MultipartReader, Part, boundary_of


@dataclass
class Digest:
    """What is known about an upload so far; `pieces` counts the body events that brought it."""

    filename: str | None = None
    content_type: str = ""
    size: int = 0
    pieces: int = 0
    _hash: Any = field(default_factory=hashlib.sha256, repr=False)

    def update(self, data: bytes) -> None:
        """Take the next bytes of the file."""
        self.size += len(data)
        self._hash.update(data)

    def report(self, seconds: float) -> dict[str, Any]:
        """Return the response: what was uploaded, its size, its digest and how long it took to arrive."""
        return {
            "filename": self.filename,
            "content_type": self.content_type,
            "size": self.size,
            "sha256": self._hash.hexdigest(),
            "pieces": self.pieces,
            "seconds": round(seconds, 3),
        }


async def upload(scope: Scope, receive: Receive, send: Send) -> None:
    """Take the form's one file, or the whole body if it is not a form, and respond with JSON, or HTML for a browser."""
    started = time.perf_counter()
    content_type = asgi.field(scope, b"content-type")
    try:
        boundary = boundary_of(content_type)
        digest = await (_raw(content_type, receive) if boundary is None else _form(boundary, receive))
    except MultipartError as error:
        await pages.refuse(scope, send, 400, f"This form cannot be read: {error}.")
        return
    report = digest.report(time.perf_counter() - started)
    if asgi.wants_html(scope):
        await asgi.respond(scope, send, 200, pages.upload_page(scope, report), asgi.HTML, pages.HTML_FIELDS)
    else:
        await asgi.respond(scope, send, 200, json.dumps(report, indent=2) + "\n", asgi.JSON)


async def _raw(content_type: str, receive: Receive) -> Digest:
    digest = Digest(content_type=content_type)
    async for data in asgi.read_body(receive):
        digest.pieces += 1
        digest.update(data)
    return digest


async def _form(boundary: bytes, receive: Receive) -> Digest:
    reader = MultipartReader(boundary)
    digest: Digest | None = None
    in_file = False
    pieces = 0
    async for data in asgi.read_body(receive):
        pieces += 1
        for event in reader.feed(data):
            if isinstance(event, Part):
                in_file = bool(event.filename)
                if in_file and digest is not None:
                    raise MultipartError("it has more than one file")
                if in_file:
                    digest = Digest(event.filename, event.content_type)
            elif in_file and digest is not None:
                digest.update(event)
    reader.close()
    if digest is None:
        raise MultipartError("it has no file")
    digest.pieces = pieces
    return digest
