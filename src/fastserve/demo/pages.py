"""The demo's pages: plain files beside this one, filled in. Everything from a request is escaped."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from html import escape
from http import HTTPStatus
from importlib.resources import files
from string import Template
from typing import Any
from urllib.parse import quote

from fastserve.demo import asgi, request
from fastserve.demo.asgi import Fields, Receive, Scope, Send


def _read(name: str) -> str:
    return (files("fastserve.demo") / name).read_text("utf-8")


def _source(text: str) -> str:
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"


STYLE = _read("page.css")
SCRIPT = _read("page.js")
PAGE = Template(_read("page.html"))
MESSAGE = Template(_read("message.html"))

# Even if a value escaped its place, the browser would run nothing but our own style and script.
HTML_FIELDS = (
    (
        b"content-security-policy",
        "; ".join(
            (
                "default-src 'none'",
                f"style-src {_source(STYLE)}",
                f"script-src {_source(SCRIPT)}",
                "connect-src 'self'",
                "img-src data:",
                "form-action 'self'",
                "base-uri 'none'",
                "frame-ancestors 'none'",
            )
        ).encode(),
    ),
    (b"referrer-policy", b"no-referrer"),
)

SCOPE_KEYS = (
    "method",
    "path",
    "raw_path",
    "query_string",
    "http_version",
    "scheme",
    "root_path",
    "client",
    "server",
    "asgi",
    "extensions",
)

_HOST = re.compile(r"[0-9A-Za-z._-]+(:[0-9]+)?|\[[0-9A-Fa-f:.]+\](:[0-9]+)?")


async def show_page(scope: Scope, receive: Receive, send: Send) -> None:
    """Respond with the page."""
    await asgi.respond(scope, send, 200, request_page(scope), asgi.HTML, HTML_FIELDS)


async def show_json(scope: Scope, receive: Receive, send: Send) -> None:
    """Respond with what the page shows of the request, as JSON."""
    text = json.dumps(request.describe(scope), indent=2, ensure_ascii=False) + "\n"
    await asgi.respond(scope, send, 200, text, asgi.JSON)


async def refuse(scope: Scope, send: Send, status: int, text: str, fields: Fields = ()) -> None:
    """Respond with an error in one sentence: a page for a browser, text for any other client."""
    if not asgi.wants_html(scope):
        await asgi.respond(scope, send, status, text + "\n", asgi.TEXT, fields)
        return
    page = _message(scope, f"{status} {HTTPStatus(status).phrase}", f"<p>{escape(text)}</p>")
    await asgi.respond(scope, send, status, page, asgi.HTML, (*HTML_FIELDS, *fields))


def request_page(scope: Scope) -> str:
    """Return the page for this request."""
    target = (scope.get("raw_path") or b"").decode("latin-1") or quote(scope["path"])
    if scope["query_string"]:
        target += "?" + scope["query_string"].decode("latin-1")
    headers = request.headers(scope)
    return PAGE.substitute(
        style=STYLE,
        script=SCRIPT,
        base=_base(scope),
        url=escape(_url(scope)),
        websocket_url=escape(_url(scope).replace("http", "ws", 1)),
        method=escape(scope["method"]),
        target=escape(target),
        version=escape(scope["http_version"]),
        facts=_rows((name, repr(scope[name]) if name in scope else "not given") for name in SCOPE_KEYS),
        headers=_rows(headers),
        header_count=len(headers),
        query=_rows(request.parameters(scope)) or _empty("The query string has no parameters."),
        state=_rows(_readable(scope.get("state") or {})) or _empty("There is no state: the lifespan is off."),
    )


def upload_page(scope: Scope, report: Mapping[str, Any]) -> str:
    """Return the page in response to an upload made without scripts."""
    rows = _rows((name, "" if value is None else str(value)) for name, value in report.items())
    return _message(scope, "Upload received", f'<table class="pairs"><tbody>{rows}</tbody></table>')


def _message(scope: Scope, title: str, body: str) -> str:
    return MESSAGE.substitute(style=STYLE, base=_base(scope), title=escape(title), body=body)


def _rows(pairs: Iterable[tuple[str, str]]) -> str:
    return "\n".join(f'<tr><th scope="row">{escape(name)}</th><td>{escape(value)}</td></tr>' for name, value in pairs)


def _empty(text: str) -> str:
    return f'<tr><td class="empty">{escape(text)}</td></tr>'


def _readable(state: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    for name, value in state.items():
        if isinstance(value, Mapping):
            yield name, ", ".join(f"{number} \N{MULTIPLICATION SIGN} {key}" for key, number in value.items())
        else:
            yield name, str(value)


def _base(scope: Scope) -> str:
    """Return the relative path from this address up to the demo's root, valid behind any proxy and mount point."""
    sent: bytes = scope.get("raw_path") or quote(scope["path"]).encode()
    below = sent.count(b"/") - scope.get("root_path", "").rstrip("/").count("/")
    return "../" * (below - 1) or "./"


def _url(scope: Scope) -> str:
    """Return where the client reached us, safe to paste into a shell: anything odd in Host is not repeated."""
    host = asgi.field(scope, b"host")
    if not _HOST.fullmatch(host):
        host = "localhost"
    return f"{scope['scheme']}://{host}{quote(scope.get('root_path', '').rstrip('/'))}"
