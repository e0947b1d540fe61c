"""Event streams over HTTP/2, as browsers open them over TLS: many on one connection."""

from __future__ import annotations

import httpx
import support
from support import PATIENCE
from topics.rooms import app


def test_many_event_streams_of_one_connection(serve: support.Serve) -> None:
    rooms = serve(app)
    with httpx.Client(base_url=rooms.url, http1=False, http2=True, timeout=PATIENCE, trust_env=False) as client:
        requests = [client.build_request("GET", f"/events/{room}") for room in ("one", "one", "two") for _ in range(10)]
        streams = [client.send(request, stream=True) for request in requests]
        assert {(each.http_version, each.headers["content-type"]) for each in streams} == {
            ("HTTP/2", "text/event-stream; charset=utf-8")
        }
        lines = [each.iter_lines() for each in streams]
        for each in lines:
            assert [next(each), next(each)] == [":", ""]  # the comment with which a stream opens
        for number in range(3):
            assert client.post(f"/publish/one?text={number}").is_success
            assert client.post(f"/publish/two?text=other-{number}").is_success
        for at, each in enumerate(lines):
            name = "" if at < 20 else "other-"
            found = [line for line in (next(each) for _ in range(6)) if line]
            assert found == [f"data: {name}{number}" for number in range(3)]
        for stream in streams:
            stream.close()
