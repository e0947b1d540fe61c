"""The web view at `/` of the metrics listener: one page, which reads `/status.json` every two seconds."""

from __future__ import annotations

import base64
import functools
import hashlib
from pathlib import Path
from string import Template

from fastserve.metrics.listener import Response

HTML_TYPE = "text/html; charset=utf-8"


@functools.cache
def page() -> Response:
    """Return the page. Nothing but its own style and script may be used by it, and nothing may frame it."""
    folder = Path(__file__).parent
    style, script = ((folder / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    html = Template((folder / "page.html").read_text(encoding="utf-8")).substitute(style=style, script=script)
    policy = "; ".join(
        (
            "default-src 'none'",
            f"style-src {digest(style)}",
            f"script-src {digest(script)}",
            "connect-src 'self'",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )
    headers = (
        ("Content-Security-Policy", policy),
        ("X-Frame-Options", "DENY"),
        ("Referrer-Policy", "no-referrer"),
        ("Cross-Origin-Resource-Policy", "same-origin"),
    )
    return Response(200, html, HTML_TYPE, headers)


def digest(text: str) -> str:
    """Return a text's source expression of a Content-Security-Policy."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
