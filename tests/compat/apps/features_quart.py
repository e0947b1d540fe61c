"""What users of Quart touch that depends on the server."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from quart import (
    Quart,
    Response,
    abort,
    flash,
    get_flashed_messages,
    make_response,
    redirect,
    request,
    send_file,
    send_from_directory,
    session,
    url_for,
)

FILES = Path(os.environ["COMPAT_FILES"])
app = Quart(__name__, static_folder=str(FILES), static_url_path="/static")
app.secret_key = "only for tests"


@app.before_request
def before() -> None:
    request.seen = "before"  # type: ignore[attr-defined]


@app.after_request
async def after(response: Response) -> Response:
    response.headers["x-after"] = request.seen  # type: ignore[attr-defined]
    return response


@app.route("/see", methods=["GET", "POST"])
async def see() -> dict[str, Any]:
    return {
        "url": request.url,
        "root": request.root_path,
        "remote": request.remote_addr,
        "scheme": request.scheme,
        "args": request.args.to_dict(flat=False),
        "cookies": dict(request.cookies),
        "form": (await request.form).to_dict(flat=False),
        "files": {name: [each.filename, len(each.read())] for name, each in (await request.files).items()},
        "link": url_for("see", _external=True),
        "http_version": request.http_version,
    }


@app.get("/count")
async def count() -> str:
    session["count"] = session.get("count", 0) + 1
    return str(session["count"])


@app.get("/say")
async def say() -> Any:
    await flash("said")
    return redirect(url_for("heard"))


@app.get("/heard")
async def heard() -> str:
    return ",".join(map(str, get_flashed_messages()))


@app.get("/file")
async def file() -> Response:
    return await send_file(FILES / "large.bin", conditional=True, as_attachment=True)


@app.get("/files/<name>")
async def files(name: str) -> Response:
    return await send_from_directory(FILES, name)


@app.post("/unread")
async def unread() -> tuple[str, int]:
    return "no", 401


@app.post("/pieces")
async def pieces() -> str:
    return str(sum([len(piece) async for piece in request.body]))


@app.get("/stream")
async def stream() -> tuple[AsyncIterator[bytes], int, dict[str, str]]:
    async def lines() -> AsyncIterator[bytes]:
        for number in range(100):
            yield b"%d\n" % number

    return lines(), 202, {"content-type": "text/plain", "x-own": "header"}


@app.get("/cookies")
async def cookies() -> Response:
    response = await make_response("cookies")
    response.set_cookie("first", "1", httponly=True, samesite="Strict")
    response.set_cookie("second", "2", secure=True, max_age=60)
    return response  # type: ignore[return-value]


@app.get("/teapot")
async def teapot() -> str:
    abort(418)


@app.get("/slashed/")
async def slashed() -> str:
    return "slashed"


@app.errorhandler(404)
async def not_found(error: Exception) -> tuple[dict[str, str], int]:
    return {"nothing at": request.path}, 404
