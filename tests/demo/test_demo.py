"""The demo application: its pages by themselves, and the whole of it behind a server."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import html
import json
import os
import random
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import httpx
import pytest
import support
from bridge import Bridge
from demo.forms import BOUNDARY, cut, field, form
from tls.pki import Pki
from tls.pki import serve as serve_tls
from topics.clients import Chat, close_all
from websockets.sync.client import connect

from fastserve import demo
from fastserve.demo import pages, stream

TIMES = "\N{MULTIPLICATION SIGN}"


def scope(path: str = "/", **changes: Any) -> dict[str, Any]:
    """An HTTP scope as a server makes it."""
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"localhost:8000")],
        "client": ("127.0.0.1", 50000),
        "server": ("127.0.0.1", 8000),
        "extensions": {},
        "state": {},
        **changes,
    }


def ask(asked: dict[str, Any], body: Iterable[bytes] = ()) -> tuple[int, dict[bytes, bytes], bytes]:
    """Calls the application and gives back status, headers and body of its response; -1 if it did not answer."""
    messages: list[dict[str, Any]] = [{"type": "http.request", "body": piece, "more_body": True} for piece in body]
    messages.append({"type": "http.request"})
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    if asked.pop("gone", False):
        messages[-1] = {"type": "http.disconnect"}
    asyncio.run(demo.app(asked, receive, send))
    if not sent:
        return -1, {}, b""
    return sent[0]["status"], dict(sent[0]["headers"]), b"".join(message["body"] for message in sent[1:])


class Tags(HTMLParser):
    """Checks that tags close in order, and keeps what is in table cells."""

    VOID = frozenset({"meta", "link", "input"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.rows: list[list[str]] = []
        self.targets: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        self.targets += [value for name, value in attrs if name in {"href", "action"} and value]
        if tag == "tr":
            self.rows.append([])
        elif tag in {"th", "td"} and self.rows:
            self.rows[-1].append("")
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] in (["th"], ["td"]):
            self.rows[-1][-1] += data


class TestPage:
    def test_shows_the_scope(self) -> None:
        state = {"started": "today", "requests": Counter({"/": 3})}
        asked = scope("/request/x", query_string=b"a=%3Cb%3E&c", state=state, extensions={"http.response.pathsend": {}})
        asked["headers"] += [(b"accept", b"text/html"), (b"x-two", b"1"), (b"x-two", b"2")]
        status, headers, body = ask(asked)
        assert status == 200
        assert headers[b"content-type"] == b"text/html; charset=utf-8"
        assert int(headers[b"content-length"]) == len(body)
        rows = Tags(body.decode()).rows
        for row in (
            ["method", "'GET'"],
            ["path", "'/request/x'"],
            ["raw_path", "b'/request/x'"],
            ["query_string", "b'a=%3Cb%3E&c'"],
            ["client", "('127.0.0.1', 50000)"],
            ["extensions", "{'http.response.pathsend': {}}"],
            ["x-two", "1"],
            ["x-two", "2"],
            ["a", "<b>"],
            ["c", ""],
            ["started", "today"],
            ["requests", f"3 {TIMES} /, 1 {TIMES} /request"],
        ):
            assert row in rows

    EVIL = "'\"><script>alert(1)</script>&amp;${x}"

    @pytest.mark.parametrize(
        "changes",
        [
            {"path": "/request/" + EVIL, "raw_path": b"/request/" + EVIL.encode()},
            {"query_string": EVIL.encode()},
            {"query_string": b"%3Cscript%3E=%22%3E%3Cscript%3E"},
            {"headers": [(b"host", EVIL.encode()), (EVIL.encode(), EVIL.encode())]},
            {"client": (EVIL, 1), "server": (EVIL, None), "scheme": EVIL},
            {"root_path": "/" + EVIL, "path": "/" + EVIL + "/request"},
            {"http_version": EVIL, "extensions": {EVIL: {}}, "state": {EVIL: EVIL}},
        ],
    )
    def test_everything_is_escaped(self, changes: dict[str, Any]) -> None:
        harmless = Tags(pages.request_page(scope()))
        page = pages.request_page(scope(**{"path": "/request", **changes}))
        assert "<script>alert" not in page
        found = Tags(page)
        assert found.seen == harmless.seen
        assert page.count("<script") == 1

    def test_error_page_and_upload_page_are_escaped(self) -> None:
        asked = scope("/upload", method="<b>", headers=[(b"accept", b"text/html")])
        status, _, body = ask(asked)
        assert status == 405
        assert "b" not in Tags(body.decode()).seen
        report = {"filename": "<script>", "size": 1}
        assert "script" not in Tags(pages.upload_page(scope(), report)).seen

    def test_content_security_policy_has_the_hashes_of_what_is_in_the_page(self) -> None:
        _, headers, body = ask(scope())
        policy = headers[b"content-security-policy"].decode()
        assert policy == dict(pages.HTML_FIELDS)[b"content-security-policy"].decode()
        for tag in ("style", "script"):
            content = re.search(f"<{tag}>(.*?)</{tag}>", body.decode(), re.DOTALL)
            assert content is not None
            digest = base64.b64encode(hashlib.sha256(content[1].encode()).digest()).decode()
            assert f"{tag}-src 'sha256-{digest}'" in policy
        assert "unsafe" not in policy

    @pytest.mark.parametrize(
        ("path", "root_path", "up"),
        [("/", "", "./"), ("/request", "", "./"), ("/request/a/b", "", "../../"), ("/m/n/request/a", "/m/n", "../")],
    )
    def test_links_are_relative_to_the_mount_point(self, path: str, root_path: str, up: str) -> None:
        targets = Tags(pages.request_page(scope(path, root_path=root_path))).targets
        assert {f"{up}json", f"{up}stream", f"{up}upload"} <= set(targets)

    @pytest.mark.parametrize(
        ("host", "url"),
        [
            (b"example.org:8000", "http://example.org:8000"),
            (b"[::1]:8000", "http://[::1]:8000"),
            (b"a;rm -rf /", "http://localhost"),
            (b"$(x)", "http://localhost"),
            (b"a\nb", "http://localhost"),
            (b"", "http://localhost"),
        ],
    )
    def test_commands_to_copy_repeat_only_an_honest_host(self, host: bytes, url: str) -> None:
        page = pages.request_page(scope(headers=[(b"host", host)]))
        assert f"<code>curl -N {url}/stream</code>" in page

    def test_what_can_be_tried_comes_first_and_what_to_do_next_last(self) -> None:
        """On a phone the page is one column, and the tables are several screens of it."""
        page = pages.request_page(scope())
        sections = ["stream", "upload", "websocket", "room", "request", "own"]
        assert re.findall(r'<section id="(\w+)"', page) == sections
        assert re.findall(r'<a href="#(\w+)">\w+</a>', page) == sections

    @pytest.mark.parametrize(("scheme", "url"), [("http", "ws://a/m/echo"), ("https", "wss://a/m/echo")])
    def test_shell_line_of_the_websocket(self, scheme: str, url: str) -> None:
        page = pages.request_page(scope("/m", root_path="/m", scheme=scheme, headers=[(b"host", b"a")]))
        assert f"<code>python -m websockets {url}</code>" in page


class TestAnswers:
    def test_json(self) -> None:
        asked = scope("/json/x", query_string=b"a=1&a=2", state={"started": "today"})
        status, headers, body = ask(asked)
        assert (status, headers[b"content-type"]) == (200, b"application/json")
        answer = json.loads(body)
        assert answer["query"] == [["a", "1"], ["a", "2"]]
        assert answer["headers"] == [["host", "localhost:8000"]]
        assert answer["state"] == {"started": "today"}

    @pytest.mark.parametrize("path", ["/", "/nowhere"])
    def test_head_is_get_without_the_body(self, path: str) -> None:
        status, headers, body = ask(scope(path))
        assert int(headers[b"content-length"]) == len(body) > 0
        # The page names the method, so its length is its own.
        headers[b"content-length"] = str(len(body) + 2 * (path == "/")).encode()
        assert ask(scope(path, method="HEAD")) == (status, headers, b"")

    @pytest.mark.parametrize(
        ("method", "path", "allow"),
        [
            ("POST", "/", b"GET, HEAD"),
            ("DELETE", "/json/x", b"GET, HEAD"),
            ("PUT", "/stream", b"GET, HEAD"),
            ("GET", "/upload", b"POST, PUT"),
        ],
    )
    def test_method_not_allowed(self, method: str, path: str, allow: bytes) -> None:
        status, headers, _ = ask(scope(path, method=method))
        assert (status, headers[b"allow"]) == (405, allow)

    @pytest.mark.parametrize("path", ["/nowhere", "/stream/x", "/jsonx", "//", "/m"])
    def test_not_found(self, path: str) -> None:
        assert ask(scope(path))[0] == 404

    def test_mount_point_is_taken_off_the_path(self) -> None:
        assert ask(scope("/m/json", root_path="/m"))[0] == 200
        assert ask(scope("/m", root_path="/m"))[0] == 200
        assert ask(scope("/mjson", root_path="/m"))[0] == 404

    def test_error_is_text_or_a_page(self) -> None:
        _, headers, body = ask(scope("/nowhere"))
        assert headers[b"content-type"] == b"text/plain; charset=utf-8"
        assert body == b"There is nothing at this address.\n"
        _, headers, body = ask(scope("/a/b", headers=[(b"accept", b"text/html,*/*")]))
        assert headers[b"content-type"] == b"text/html; charset=utf-8"
        assert "../" in Tags(body.decode()).targets

    def test_echo_without_upgrade(self) -> None:
        status, headers, _ = ask(scope("/echo"))
        assert (status, headers[b"upgrade"]) == (426, b"websocket")

    def test_unknown_scope_type(self) -> None:
        with pytest.raises(ValueError, match="scope type 'mail'"):
            ask({"type": "mail"})


class TestUpload:
    CONTENT = random.Random(4).randbytes(100_000)
    DIGEST = hashlib.sha256(CONTENT).hexdigest()

    def upload(self, body: bytes, content_type: bytes = b"", **changes: Any) -> tuple[int, Any]:
        headers = [(b"content-type", content_type), (b"accept", b"*/*")]
        status, _, answer = ask(scope("/upload", method="POST", headers=headers, **changes), cut(body, 7001))
        return status, json.loads(answer) if status == 200 else answer.decode()

    def test_raw(self) -> None:
        status, report = self.upload(self.CONTENT, b"image/png")
        assert status == 200
        assert (report["size"], report["sha256"], report["content_type"]) == (100_000, self.DIGEST, "image/png")

    def test_form(self) -> None:
        body = form(field("note", None, b"first"), field("file", "ä.bin", self.CONTENT), field("more", None, b"last"))
        status, report = self.upload(body, b"multipart/form-data; boundary=" + BOUNDARY)
        assert status == 200
        assert (report["size"], report["sha256"], report["filename"]) == (100_000, self.DIGEST, "ä.bin")

    @pytest.mark.parametrize(
        ("body", "words"),
        [
            (form(field("file", None, b"x")), "it has no file"),
            (form(field("file", "", b"")), "it has no file"),
            (form(field("file", "a", b"x"), field("file", "b", b"y")), "more than one file"),
            (form(field("file", "a", b"x"))[:-4], "before its closing"),
        ],
    )
    def test_form_that_cannot_be_taken(self, body: bytes, words: str) -> None:
        status, text = self.upload(body, b"multipart/form-data; boundary=" + BOUNDARY)
        assert status == 400
        assert words in text

    def test_boundary_missing(self) -> None:
        assert self.upload(b"", b"multipart/form-data")[0] == 400

    def test_page_for_a_browser_without_scripts(self) -> None:
        headers = [(b"accept", b"text/html")]
        status, _, answer = ask(scope("/upload", method="PUT", headers=headers), [self.CONTENT])
        assert status == 200
        assert ["sha256", self.DIGEST] in Tags(answer.decode()).rows

    def test_client_that_leaves_gets_no_answer(self) -> None:
        assert ask(scope("/upload", method="PUT", gone=True), [b"half"])[0] == -1


class TestEcho:
    def talk(self, path: str, *messages: dict[str, Any]) -> list[Any]:
        incoming = [{"type": "websocket.connect"}, *messages, {"type": "websocket.disconnect", "code": 1000}]
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            return incoming.pop(0)

        async def send(message: Any) -> None:
            sent.append(message)

        asyncio.run(demo.app({"type": "websocket", "path": path, "root_path": ""}, receive, send))
        return sent

    def test_echoes_text_as_text_and_bytes_as_bytes(self) -> None:
        messages: list[dict[str, Any]] = [
            {"type": "websocket.receive", "text": "", "bytes": None},
            {"type": "websocket.receive", "text": "grün"},
            {"type": "websocket.receive", "bytes": b"\x00"},
        ]
        assert self.talk("/echo", *messages) == [
            {"type": "websocket.accept"},
            {"type": "websocket.send", "text": ""},
            {"type": "websocket.send", "text": "grün"},
            {"type": "websocket.send", "bytes": b"\x00"},
        ]

    def test_other_addresses_are_refused(self) -> None:
        assert self.talk("/") == [{"type": "websocket.close"}]


class Window:
    """A window in the room, with the frames that it hears."""

    def __init__(self, running: Any, window: str, query: str = "") -> None:
        self.chat = Chat(running, f"/room?window={window}{query}")
        self.window = window

    def hear(self) -> Any:
        found = self.chat.hear_json()
        return json.loads(found["data"]) if "topic" in found else found

    def until(self, key: str, value: Any) -> Any:
        """Wait for a frame that says so."""
        while (found := self.hear()).get(key) != value:
            pass
        return found

    def say(self, **message: Any) -> None:
        self.chat.say(json.dumps(message))


class TestRoom:
    @pytest.fixture
    def serve(self, serve: support.Serve) -> Iterator[support.Serve]:
        """Close the clients before the servers stop, which wait for their close frames."""
        yield serve
        close_all()

    def test_windows_see_one_another(self, serve: support.Serve) -> None:
        running = serve(demo.app)
        one = Window(running, "aaaaaaa1")
        me = {"pid": os.getpid()}
        assert one.until("pid", me["pid"])["members"] == {"aaaaaaa1": me}
        two = Window(running, "aaaaaaa2")
        assert two.until("pid", me["pid"])["members"] == {"aaaaaaa1": me, "aaaaaaa2": me}
        assert one.until("joined", "aaaaaaa2")["info"] == me
        one.say(key="k1", text="<b>" * 400)
        for window in (one, two):
            found = window.until("key", "k1")
            assert found == {"from": "aaaaaaa1", "key": "k1", "text": ("<b>" * 400)[:500], **me}
        two.say(key="k1", to="aaaaaaa1")
        assert one.until("got", "k1") == {"got": "k1", "by": "aaaaaaa2"}
        for nonsense in ("", "[]", "5", '{"key": 1}', '{"key": "k", "to": "*"}', '{"key": "k", "to": 5}'):
            one.chat.say(nonsense)
        one.say(key="k2", text="end")
        assert two.until("key", "k2")["text"] == "end"
        late = Window(running, "aaaaaaa3")
        assert late.until("key", "k1")["from"] == "aaaaaaa1"  # what was said before
        assert late.until("key", "k2")["text"] == "end"

    def test_a_window_without_a_name(self, serve: support.Serve) -> None:
        with pytest.raises(AssertionError):
            Window(serve(demo.app), "x")

    @pytest.mark.slow
    def test_two_workers(self, command: support.StartCommand) -> None:
        server = command("fastserve.demo:app", "--workers", "2", "--port", "0")
        windows: dict[int, Window] = {}
        number = 0
        while len(windows) < 2:
            window = Window(server, f"{number:08x}")
            number += 1
            while "members" not in (found := window.hear()):
                pass
            windows.setdefault(found["pid"], window)
        one, two = windows.values()
        one.until("joined", two.window)
        two.say(key="k", text="across")
        assert one.until("key", "k")["pid"] in windows
        one.say(key="k", to=two.window)
        assert two.until("got", "k")["by"] == one.window
        close_all()


class TestServed:
    @pytest.fixture
    def running(self, serve: support.Serve, monkeypatch: pytest.MonkeyPatch) -> support.Running:
        monkeypatch.setattr(stream, "INTERVAL", 0.0)
        return serve(demo.app, lifespan="on")

    def test_shell_line_of_the_websocket(self, running: support.Running) -> None:
        """What the page tells to type talks to the echo: a line that is typed comes back."""
        _, _, body = running.fetch("/", headers={"Accept": "text/html"})
        line = re.search(r"<code>python (-m websockets ws://\S+)</code>", body.decode())
        assert line is not None
        command = [sys.executable, *line[1].split()]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as client:
            assert client.stdin is not None and client.stdout is not None
            client.stdin.write("hello there\n")
            assert any("< hello there" in shown for shown in client.stdout)
            client.stdin.close()
            client.stdout.read()
        assert client.returncode == 0

    def test_echo_over_http2(self, running: support.Running) -> None:
        """As for the page of a browser that has come by HTTP/2."""
        bridge = Bridge(running.port).start()
        with connect(f"ws://127.0.0.1:{bridge.port}/echo", proxy=None) as client:
            for message in ("hello there", b"\0" * 100_000):
                client.send(message)
                assert client.recv(support.PATIENCE) == message
        bridge.stop()

    def test_version_that_a_browser_comes_by(self, tmp_path: Path) -> None:
        pki = Pki(tmp_path)
        running = serve_tls(pki, demo.app, lifespan="on")
        for http2, shown in ((True, "<i>HTTP/2</i>"), (False, "<i>HTTP/1.1</i>")):
            with httpx.Client(http2=http2, verify=pki.trusting(), trust_env=False, timeout=support.PATIENCE) as client:
                assert shown in client.get(running.url, headers={"Accept": "text/html"}).text
        running.stop()

    def test_own_application(self, running: support.Running, serve: support.Serve) -> None:
        """The application that the page shows is one."""
        code = re.search(r'<code id="own-code">(.*?)</code>', running.fetch("/")[2].decode(), re.DOTALL)
        assert code is not None
        names: dict[str, Any] = {}
        exec(html.unescape(code[1]), names)
        status, _, body = serve(names["app"], lifespan="auto").fetch("/")
        assert (status, body) == (200, b"Hello, world!")

    def test_page_and_state(self, running: support.Running) -> None:
        for _ in range(2):
            running.fetch("/json")
        status, headers, body = running.fetch("/", headers={"Accept": "text/html"})
        assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
        rows = Tags(body.decode()).rows
        assert ["requests", f"2 {TIMES} /json, 1 {TIMES} /"] in rows
        assert ["server", f"('127.0.0.1', {running.port})"] in rows
        assert {"started", "python", "event_loop"} <= {row[0] for row in rows}

    def test_lifespan_off(self, serve: support.Serve) -> None:
        _, _, body = serve(demo.app, lifespan="off").fetch("/")
        assert "There is no state" in body.decode()

    def test_stream(self, running: support.Running) -> None:
        status, headers, body = running.fetch("/stream")
        assert (status, headers["transfer-encoding"]) == (200, "chunked")
        lines = body.decode().splitlines()
        assert len(lines) == stream.LINES
        assert re.fullmatch(r"line  1 of 20, sent after 0\.\d{3} s", lines[0])

    def test_head(self, running: support.Running) -> None:
        for path in ("/", "/json", "/stream", "/nowhere"):
            assert running.fetch(path, "HEAD")[2] == b""

    def test_uploads(self, running: support.Running) -> None:
        content = random.Random(5).randbytes(2_000_000)
        digest = hashlib.sha256(content).hexdigest()
        _, _, raw = running.fetch("/upload", "PUT", content)
        _, _, chunked = running.fetch("/upload", "POST", cut(content, 100_000))
        headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY.decode()}"}
        _, _, parts = running.fetch("/upload", "POST", form(field("file", "big.bin", content)), headers)
        for answer in map(json.loads, (raw, chunked, parts)):
            assert (answer["size"], answer["sha256"]) == (2_000_000, digest)

    def test_client_that_leaves_a_stream(self, running: support.Running, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(stream, "LINES", 1_000_000)
        with running.connect() as sock:
            sock.sendall(b"GET /stream HTTP/1.1\r\nHost: a\r\n\r\n")
            assert support.read_until(sock).startswith(b"HTTP/1.1 200 OK\r\n")
        assert running.fetch("/json")[0] == 200
