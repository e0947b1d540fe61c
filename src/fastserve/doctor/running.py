"""What a running server responds at a URL."""

from __future__ import annotations

import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime

from fastserve.doctor.finding import FAIL, OK, WARN, Case, Finding

SECONDS = 5.0  # to wait for the response
SKEW = 5.0  # seconds between its Date and our clock


def response(case: Case) -> Iterator[Finding]:
    """Ask for the URL and look at the response."""
    if case.url is None:
        return
    import http.client
    import urllib.error
    import urllib.request

    check = "URL"
    request = urllib.request.Request(case.url, headers={"user-agent": "fastserve-doctor"})
    begin = time.monotonic()
    try:
        try:
            received = urllib.request.urlopen(request, timeout=SECONDS)
        except urllib.error.HTTPError as exc:
            received = exc
        with received:
            status, date = received.status or 0, received.headers.get("date", "")
    except (OSError, ValueError, http.client.HTTPException) as exc:
        why = getattr(exc, "reason", None) or exc
        yield Finding(
            FAIL, check, f"{case.url} does not respond: {why}", "look whether the server runs, and where it listens"
        )
        return
    took = (time.monotonic() - begin) * 1000
    level = FAIL if status >= 500 else OK
    yield Finding(
        level, check, f"{case.url} responds with {status} in {took:.0f} ms", "look at its log" if level == FAIL else ""
    )
    try:
        skew = parsedate_to_datetime(date).timestamp() - time.time()
    except (TypeError, ValueError):
        return
    if abs(skew) > SKEW:
        text = f"its Date is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'after'} this machine's clock"
        yield Finding(WARN, check, text, "run chrony or systemd-timesyncd on both")
