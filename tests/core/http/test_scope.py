from __future__ import annotations

from typing import Any

import pytest
from fakes.settings import make_settings
from fakes.worker import get

from fastserve._core.http.scope import Peers
from fastserve._core.testing import scope_of

PEERS = Peers(("1.2.3.4", 5), ("6.7.8.9", 80), "http")


def scope(request: bytes, state: dict[str, Any] | None = None, **settings: Any) -> dict[str, Any]:
    made = scope_of(make_settings(**settings), request, PEERS, state or {})
    assert made is not None
    return made


def test_all_of_it() -> None:
    assert scope(get("/a%20b?c=%20d", "Accept: */*", "X-Own:  v ")) == {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/a b",
        "raw_path": b"/a%20b",
        "query_string": b"c=%20d",
        "root_path": "",
        "headers": [(b"host", b"x"), (b"accept", b"*/*"), (b"x-own", b"v")],
        "client": ("1.2.3.4", 5),
        "server": ("6.7.8.9", 80),
        "state": {},
        "extensions": {
            "http.response.early_hint": {},
            "fastserve.topics": {},
            "http.response.zerocopysend": {},
        },
    }


@pytest.mark.parametrize(
    ("target", "path", "raw", "query"),
    [
        ("/", "/", b"/", b""),
        ("/?", "/", b"/", b""),
        ("/??a", "/", b"/", b"?a"),
        ("/a?b?c", "/a", b"/a", b"b?c"),
        ("//a//b", "//a//b", b"//a//b", b""),
        ("/a/../b/./", "/a/../b/./", b"/a/../b/./", b""),
        ("/%C3%A4", "/ä", b"/%C3%A4", b""),
        ("/%c3%a4", "/ä", b"/%c3%a4", b""),
        ("/%f0%9f%98%80", "/\U0001f600", b"/%f0%9f%98%80", b""),
        ("/%2F%2f", "///", b"/%2F%2f", b""),
        ("/%00", "/\0", b"/%00", b""),
        ("/%3F?x", "/?", b"/%3F", b"x"),
        ("/%ff", "/\ufffd", b"/%ff", b""),
        ("/%ed%a0%80", "/\ufffd\ufffd\ufffd", b"/%ed%a0%80", b""),
        ("/%c0%80", "/\ufffd\ufffd", b"/%c0%80", b""),
        ("/%", "/%", b"/%", b""),
        ("/%4", "/%4", b"/%4", b""),
        ("/%zz%41", "/%zzA", b"/%zz%41", b""),
        ("/%%41", "/%A", b"/%%41", b""),
        ("/%2541", "/%41", b"/%2541", b""),
        ("/a+b", "/a+b", b"/a+b", b""),
        ("http://x/p?q", "/p", b"/p", b"q"),
        ("http://x", "/", b"/", b""),
        ("http://x?q", "/", b"/", b"q"),
        ("HTTP://x/p%20q", "/p q", b"/p%20q", b""),
        ("https://x:443/p", "/p", b"/p", b""),
    ],
)
def test_targets(target: str, path: str, raw: bytes, query: bytes) -> None:
    made = scope(get(target))
    assert (made["path"], made["raw_path"], made["query_string"]) == (path, raw, query)


def test_asterisk_form() -> None:
    made = scope(get("*", method="OPTIONS"))
    assert (made["method"], made["path"], made["raw_path"], made["query_string"]) == ("OPTIONS", "*", b"*", b"")


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "PROPFIND"])
def test_methods(method: str) -> None:
    assert scope(get(method=method))["method"] == method


def test_http_1_0() -> None:
    assert scope(b"GET / HTTP/1.0\r\n\r\n")["http_version"] == "1.0"
    assert scope(b"GET / HTTP/1.0\r\n\r\n")["headers"] == []


def test_headers_keep_order_duplicates_and_bytes() -> None:
    fields = ["B: 1", "A: 2", "b: 3", "Cookie: a=1", "Cookie: b=2", "X_Y: \xe4\xff", "Empty:", "A: x, y"]
    assert scope(get("/", *fields))["headers"] == [
        (b"host", b"x"), (b"b", b"1"), (b"a", b"2"), (b"b", b"3"), (b"cookie", b"a=1"), (b"cookie", b"b=2"),
        (b"x_y", b"\xe4\xff"), (b"empty", b""), (b"a", b"x, y"),
    ]  # fmt: skip


def test_known_names_are_shared_and_all_are_lower() -> None:
    first, second = (scope(get("/", "USER-AGENT: a", "X-OWN: b"))["headers"] for _ in range(2))
    assert [name for name, _ in first] == [b"host", b"user-agent", b"x-own"]
    assert first[1][0] is second[1][0]


def test_root_path_is_in_path_and_raw_path() -> None:
    made = scope(get("/a%20b"), root_path="/ä")
    assert (made["root_path"], made["path"], made["raw_path"]) == ("/ä", "/ä/a b", "/ä".encode() + b"/a%20b")


def test_state_is_a_shallow_copy() -> None:
    inner: list[int] = []
    state = {"inner": inner}
    made = scope(get(), state)
    made["state"]["other"] = 1
    assert made["state"]["inner"] is inner
    assert state == {"inner": inner}


def test_scopes_share_nothing_that_can_change() -> None:
    one, other = scope(get()), scope(get())
    assert one["asgi"] is not other["asgi"]
    assert one["headers"] is not other["headers"]
    assert one["state"] is not other["state"]


def test_refused() -> None:
    assert scope_of(make_settings(), b"GET / HTTP/1.1\r\n\r\n", PEERS, {}) is None


@pytest.mark.parametrize("sendfile", [False, True])
def test_pathsend_is_announced_only_if_the_settings_say_so(sendfile: bool) -> None:
    settings = make_settings(sendfile=sendfile)
    made = scope_of(settings, get(), Peers.of(None, None, "http", settings), {})
    assert made is not None
    assert ("http.response.pathsend" in made["extensions"]) is sendfile


def test_peers() -> None:
    peers = Peers(None, ("/tmp/s", None), "https")
    made = scope_of(make_settings(), get(), peers, {})
    assert made is not None
    assert (made["client"], made["server"], made["scheme"]) == (None, ("/tmp/s", None), "https")
