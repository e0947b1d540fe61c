"""What gunicorn's logger is told of a response."""

from __future__ import annotations

from fastserve.workers.access import Response


def test_messages_that_are_not_of_bytes() -> None:
    response = Response()
    headers = [("x-a", "1"), (b"x-b", memoryview(b"\xe4"))]
    response.note({"type": "http.response.start", "status": 201, "headers": headers}, True)
    for body in (b"ab", None):
        response.note({"type": "http.response.body", "body": body}, True)
    assert (response.status, response.headers, response.sent) == (201, [("x-a", "1"), ("x-b", "\xe4")], 2)
