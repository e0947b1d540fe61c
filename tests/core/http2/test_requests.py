"""What becomes of requests: their scopes, and those that are refused."""

from __future__ import annotations

from typing import Any

import pytest
from core.http2.test_streams import Work, echo, path
from fakes.http2 import GET, PING, POST, Http2Client, data, headers, ping
from fakes.worker import hello, respond


class TestScope:
    def seen(self, work: Work, fields: Any, extra: dict[str, Any] | None = None, **options: Any) -> dict[str, Any]:
        scopes: list[dict[str, Any]] = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            scopes.append(scope)
            await respond(send)

        assert Http2Client(work(app, **options), **(extra or {})).ask(1, fields).status == 200
        return scopes[0]

    def test_all_of_it(self, work: Work) -> None:
        scope = self.seen(work, [*path("/a%20b%C3%A9?c=d%20e"), ("x-a", "b"), ("x-a", "c")])
        del scope["state"]
        assert scope == {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "2",
            "method": "GET",
            "scheme": "http",
            "path": "/a bé",
            "raw_path": b"/a%20b%C3%A9",
            "query_string": b"c=d%20e",
            "root_path": "",
            "headers": [(b"host", b"a"), (b"x-a", b"b"), (b"x-a", b"c")],
            "client": ("10.0.0.1", 1234),
            "server": ("10.0.0.2", 80),
            "extensions": {
                "fastserve.topics": {},
                "http.response.early_hint": {},
                "http.response.zerocopysend": {},
            },
        }

    def test_root_path(self, work: Work) -> None:
        scope = self.seen(work, path("/x"), root_path="/app")
        assert (scope["path"], scope["raw_path"], scope["root_path"]) == ("/app/x", b"/app/x", "/app")

    def test_cookies_are_one_field(self, work: Work) -> None:
        scope = self.seen(work, [*GET, ("cookie", "a=1"), ("x-a", "b"), ("cookie", "c=2")])
        assert scope["headers"][1:] == [(b"cookie", b"a=1; c=2"), (b"x-a", b"b")]

    def test_host_in_place_of_authority(self, work: Work) -> None:
        assert self.seen(work, [*GET[:3], ("x-a", "b"), ("host", "h")])["headers"][0] == (b"host", b"h")

    def test_trailers_are_offered(self, work: Work) -> None:
        assert "http.response.trailers" in self.seen(work, [*GET, ("te", "trailers")])["extensions"]

    def test_asterisk(self, work: Work) -> None:
        assert self.seen(work, path("*", "OPTIONS"))["path"] == "*"

    def test_the_scheme_is_that_of_the_connection(self, work: Work, encrypted: dict[str, Any]) -> None:
        assert self.seen(work, [GET[0], (":scheme", "https"), *GET[2:]])["scheme"] == "http"
        assert self.seen(work, GET, extra=encrypted)["scheme"] == "https"

    def test_both_versions_have_templates_of_their_own(self, work: Work) -> None:
        from fakes.worker import get

        versions: list[str] = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            versions.append(scope["http_version"])
            await respond(send)

        wire = work(app)
        wire.connect().feed(get())
        Http2Client(wire).ask(1)
        wire.connect().feed(get())
        assert versions == ["1.1", "2", "1.1"]


@pytest.mark.parametrize(
    ("fields", "options", "status"),
    [
        ([*GET[:3], ("host", "h"), ("host", "i")], {}, 400),
        ([*GET, ("host", "other")], {}, 400),
        (GET[:3], {}, 400),
        ([*GET, ("expect", "wonders")], {}, 417),
        (path("/", "BREW"), {}, 501),
        ([(":method", "CONNECT"), (":authority", "a:1")], {}, 501),
        (path("/" + "x" * 20), {"limit_request_line": 20}, 414),
        ([*POST, ("content-length", "6")], {"limit_request_body": 5}, 413),
        (GET, {"limit_concurrency": 1}, 503),
    ],
)
def test_refused(work: Work, fields: Any, options: dict[str, Any], status: int) -> None:
    """The stream gets an answer, and the connection goes on."""
    client = Http2Client(work(hello(), **options))
    client.send(headers(1, fields, end=fields[0][1] != "POST"))
    reply = client.replies[1]
    assert (reply.status, reply.ended) == (status, True)
    assert reply.head.get("retry-after") == ("1" if status == 503 else None)
    client.send(ping())
    assert client.heard[-1].type == PING


def test_body_over_the_limit(work: Work) -> None:
    client = Http2Client(work(echo, limit_request_body=5))
    client.send(headers(1, POST, end=False), data(1, b"12345"), data(1, b"6", end=True))
    assert (client.replies[1].status, client.replies[1].ended) == (413, True)
    assert client.ask(3, POST, b"12345").body == b"12345"


def test_refusals_keep_the_header_table_in_step(work: Work) -> None:
    client = Http2Client(work(hello(headers=[(b"x-a", b"b" * 50)])))
    for stream in range(1, 41, 2):
        if stream % 4 == 1:
            assert client.ask(stream).head["x-a"] == "b" * 50
        else:
            assert client.ask(stream, path("/", "BREW")).status == 501
