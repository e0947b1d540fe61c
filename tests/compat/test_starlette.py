"""A Starlette application: streams, files, server-sent events, background tasks, middleware, errors."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from support import Command, read_until

from .conftest import TIMEOUT, Curl, LogMark, Start


@pytest.fixture(scope="module", params=["app", "wrapped"])
def server(request: pytest.FixtureRequest, start: Start) -> Command:
    """The application as it is, and behind BaseHTTPMiddleware, which runs it in a task of its own."""
    return start(f"starlette_app:{request.param}")


@pytest.fixture
def connection(server: Command) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=TIMEOUT)
    yield connection
    connection.close()


# BaseHTTPMiddleware hides some things from the application that it wraps: that a stream broke, that a client left.
without_middleware = pytest.mark.parametrize("server", ["app"], indirect=True)


class TestRequest:
    def test_what_the_application_sees(self, server: Command, client: httpx.Client) -> None:
        response = client.get("/about?a=1")
        answer = response.json()
        assert answer["url"] == f"{server.url}/about?a=1"
        assert answer["base_url"] == f"{server.url}/"
        assert answer["path"] == "/about"
        assert answer["client"] == "127.0.0.1"
        assert answer["http_version"] == response.http_version.removeprefix("HTTP/")
        assert answer["link"] == f"{server.url}/about"
        assert answer["started"] == ["once"]

    def test_mounted_application(self, client: httpx.Client) -> None:
        answer = client.get("/below/about").json()
        assert (answer["path"], answer["root_path"]) == ("/below/about", "/below")

    def test_http_1_0(self, server: Command, curl: Curl) -> None:
        assert '"http_version":"1.0"' in curl("--http1.0", f"{server.url}/about")

    def test_absolute_form_target(self, server: Command) -> None:
        raw = f"GET {server.url}/about HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nConnection: close\r\n\r\n"
        assert b'"path":"/about"' in server.request(raw.encode())

    @pytest.mark.parametrize("method", ["POST", "PUT"])
    @pytest.mark.parametrize("size", [0, 1, 65_536, 1_000_000])
    def test_body_is_echoed(self, client: httpx.Client, method: str, size: int) -> None:
        content = bytes(size)
        assert client.request(method, "/echo", content=content).content == content

    def test_form_with_a_file_in_chunks(self, client: httpx.Client) -> None:
        content = bytes(range(256)) * 10_000
        form = client.build_request("POST", "/digest", files={"file": ("a.bin", content)})
        headers = {"content-type": form.headers["content-type"]}
        answer = client.post("/digest", content=iter([form.read()]), headers=headers).json()
        assert answer == {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}


class TestStreams:
    def test_stream_is_chunked_and_whole(self, client: httpx.Client) -> None:
        response = client.get("/numbers", headers={"accept-encoding": "identity"})
        assert response.headers.get("transfer-encoding") == ("chunked" if response.http_version == "HTTP/1.1" else None)
        assert response.text == "".join(f"{number}\n" for number in range(1000))

    def test_stream_from_a_def_generator(self, client: httpx.Client) -> None:
        assert client.get("/numbers/thread").text.splitlines()[-1] == "99"

    def test_stream_to_http_1_0_ends_with_the_connection(self, server: Command, curl: Curl) -> None:
        out = curl("--http1.0", "--include", f"{server.url}/numbers")
        head, _, body = out.partition("\r\n\r\n")
        assert "transfer-encoding" not in head.lower()
        assert body == "".join(f"{number}\n" for number in range(1000))

    def test_each_piece_is_delivered_before_the_next_is_made(
        self, client: httpx.Client, connection: http.client.HTTPConnection
    ) -> None:
        connection.request("GET", "/two-halves")
        response = connection.getresponse()
        assert response.readline() == b"first half\n"
        assert client.post("/fire/first half read").status_code == 200
        assert response.read() == b"second half\n"

    @without_middleware
    def test_stream_that_breaks_is_cut_off(self, server: Command, client: httpx.Client, log: LogMark) -> None:
        with pytest.raises(httpx.RemoteProtocolError):
            client.get("/broken-stream")
        log.wait("RuntimeError: the stream broke")
        assert log.count("Exception in ASGI application") == 1
        assert httpx.get(f"{server.url}/about", timeout=TIMEOUT).status_code == 200

    def test_gzip_middleware(self, client: httpx.Client) -> None:
        response = client.get("/large-text", headers={"accept-encoding": "gzip"})
        assert response.headers["content-encoding"] == "gzip"
        assert int(response.headers["content-length"]) < 2000
        assert response.text == "compress me " * 5000
        streamed = client.get("/numbers", headers={"accept-encoding": "gzip"})
        assert streamed.headers["content-encoding"] == "gzip"
        assert len(streamed.text.splitlines()) == 1000


class TestClientsThatLeave:
    def test_server_sent_events(self, client: httpx.Client, server: Command, log: LogMark) -> None:
        name = "sse closed"
        with httpx.stream("GET", f"{server.url}/sse", params={"name": name}, timeout=TIMEOUT) as response:
            assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
            lines = response.iter_lines()
            assert [next(lines) for _ in range(5)] == ["id: 0", "data: tick", "", "id: 1", "data: tick"]
        assert client.get(f"/wait/{name}").text == name
        assert log.count("Traceback|ERROR") == 0

    def test_server_sent_events_cut_by_a_reset(self, client: httpx.Client, server: Command, log: LogMark) -> None:
        with server.connect() as sock:
            sock.sendall(b"GET /sse?name=reset HTTP/1.1\r\nHost: a\r\n\r\n")
            assert read_until(sock).startswith(b"HTTP/1.1 200 OK\r\n")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        assert client.get("/wait/reset").text == "reset"
        assert log.count("Traceback|ERROR") == 0

    @without_middleware
    def test_is_disconnected(self, client: httpx.Client, server: Command) -> None:
        with server.connect() as sock:
            sock.sendall(b"GET /long-poll HTTP/1.1\r\nHost: a\r\n\r\n")
            assert client.get("/wait/long poll began").status_code == 200
        assert client.get("/wait/long poll abandoned").status_code == 200

    def test_upload_that_is_given_up(self, client: httpx.Client, server: Command) -> None:
        with server.connect() as sock:
            sock.sendall(b"POST /half-upload HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf")
            assert client.get("/wait/upload began").status_code == 200
        assert client.get("/wait/upload abandoned").status_code == 200
        assert client.get("/about").status_code == 200


class TestFiles:
    def test_file_with_its_length_and_validators(self, client: httpx.Client, files: Path) -> None:
        response = client.get("/file", headers={"accept-encoding": "identity"})
        assert response.content == (files / "large.bin").read_bytes()
        assert response.headers["content-length"] == str(len(response.content))
        assert response.headers["content-disposition"] == 'attachment; filename="large.bin"'
        assert {"etag", "last-modified"} <= set(response.headers)

    @pytest.mark.parametrize(
        ("wanted", "begin", "end"),
        [
            ("bytes=0-0", 0, 1),
            ("bytes=100-199", 100, 200),
            ("bytes=3071990-", 3071990, 3072000),
            ("bytes=-5", -5, None),
        ],
    )
    def test_range(self, client: httpx.Client, files: Path, wanted: str, begin: int, end: int | None) -> None:
        content = (files / "large.bin").read_bytes()
        response = client.get("/file", headers={"range": wanted})
        assert response.status_code == 206
        assert response.content == content[begin:end]
        first = begin % len(content)
        assert response.headers["content-range"] == f"bytes {first}-{first + len(response.content) - 1}/{len(content)}"

    def test_several_ranges(self, client: httpx.Client) -> None:
        response = client.get("/file", headers={"range": "bytes=0-1,10-11"})
        assert response.status_code == 206
        assert response.headers["content-type"].startswith("multipart/byteranges; boundary=")
        assert b"\x00\x01" in response.content
        assert b"\x0a\x0b" in response.content

    def test_range_that_cannot_be(self, client: httpx.Client) -> None:
        response = client.get("/file", headers={"range": "bytes=9999999-"})
        assert response.status_code == 416
        assert response.headers["content-range"] == "bytes */3072000"

    def test_head_of_a_file(self, connection: http.client.HTTPConnection) -> None:
        for _ in range(2):
            connection.request("HEAD", "/file")
            response = connection.getresponse()
            assert response.read() == b""
            assert response.headers["content-length"] == "3072000"

    def test_curl_resumes_a_download(self, server: Command, curl: Curl, files: Path, tmp_path: Path) -> None:
        whole = (files / "large.bin").read_bytes()
        part = tmp_path / "part.bin"
        part.write_bytes(whole[:1_000_000])
        curl("--continue-at", "-", "--output", str(part), f"{server.url}/file")
        assert part.read_bytes() == whole

    def test_static_file_not_modified(self, client: httpx.Client) -> None:
        first = client.get("/static/small.txt")
        assert first.text == "a small file\n"
        second = client.get("/static/small.txt", headers={"if-none-match": first.headers["etag"]})
        assert (second.status_code, second.content) == (304, b"")
        assert second.headers["etag"] == first.headers["etag"]
        assert client.get("/static/small.txt").text == "a small file\n"

    def test_empty_and_missing_static_file(self, client: httpx.Client) -> None:
        empty = client.get("/static/empty.txt")
        assert (empty.status_code, empty.content) == (200, b"")
        assert client.get("/static/missing.txt").status_code == 404
        assert client.get("/static/..%2f..%2fetc/passwd").status_code == 404


class TestAnswersWithoutBody:
    @pytest.mark.parametrize("code", [204, 304])
    def test_no_body_and_the_connection_goes_on(self, connection: http.client.HTTPConnection, code: int) -> None:
        connection.connect()
        sock = connection.sock
        for _ in range(2):
            connection.request("GET", f"/status/{code}")
            response = connection.getresponse()
            assert (response.status, response.read()) == (code, b"")
            assert connection.sock is sock

    def test_204_has_no_content_length(self, client: httpx.Client) -> None:
        assert "content-length" not in client.get("/status/204").headers

    @pytest.mark.parametrize("path", ["/about", "/large-text", "/numbers"])
    def test_head(self, connection: http.client.HTTPConnection, path: str) -> None:
        connection.connect()
        sock = connection.sock
        for _ in range(2):
            connection.request("HEAD", path)
            response = connection.getresponse()
            assert (response.status, response.read()) == (200, b"")
            assert connection.sock is sock
        if path == "/large-text":
            assert response.headers["content-length"] == "60000"

    def test_curl_head(self, server: Command, curl: Curl) -> None:
        assert curl("--head", f"{server.url}/about").startswith("HTTP/1.1 200 OK\r\n")


class TestMiddleware:
    def test_cors_preflight_and_answer(self, client: httpx.Client) -> None:
        asked = {"origin": "https://example.org", "access-control-request-method": "PUT"}
        response = client.options("/echo", headers=asked)
        assert response.status_code == 200
        assert response.headers["access-control-allow-origin"] == "https://example.org"
        assert response.headers["access-control-max-age"] == "60"
        response = client.options("/echo", headers={**asked, "origin": "https://example.com"})
        assert response.status_code == 400
        response = client.put("/echo", headers={"origin": "https://example.org"}, content=b"x")
        assert response.headers["access-control-allow-origin"] == "https://example.org"

    def test_base_http_middleware(self, start: Start) -> None:
        server = start("starlette_app:wrapped")
        for path in ("/about", "/numbers", "/file"):
            assert httpx.get(server.url + path, timeout=TIMEOUT).headers["x-base-middleware"] == "passed"


class TestBackground:
    def test_runs_after_delivery_and_the_connection_goes_on(self, connection: http.client.HTTPConnection) -> None:
        connection.connect()
        sock = connection.sock
        for path, method, text in [
            ("/background", "GET", b"delivered"),
            ("/background/release", "POST", b"released"),
            ("/wait/background%20done", "GET", b"background done"),
        ]:
            connection.request(method, path)
            assert connection.getresponse().read() == text
            assert connection.sock is sock

    def test_failing_task_is_logged(self, server: Command, client: httpx.Client) -> None:
        assert client.get("/background/fail").text == "delivered"
        server.wait_line("RuntimeError: the background task broke")
        assert httpx.get(f"{server.url}/about", timeout=TIMEOUT).status_code == 200


class TestErrors:
    def test_exception_handler_for_404(self, client: httpx.Client) -> None:
        response = client.get("/no%20where")
        assert (response.status_code, response.json()) == (404, {"nothing at": "/no where"})

    # After such an error the server may close the connection, so each of these requests has its own.

    def test_500_and_the_server_goes_on(self, server: Command, log: LogMark) -> None:
        for _ in range(3):
            response = httpx.get(f"{server.url}/boom", timeout=TIMEOUT)
            assert (response.status_code, response.text) == (500, "Internal Server Error")
        assert httpx.get(f"{server.url}/about", timeout=TIMEOUT).status_code == 200
        server.wait_line("RuntimeError: the endpoint broke")

    def test_endpoint_that_cancels_itself(self, server: Command) -> None:
        with contextlib.suppress(httpx.RemoteProtocolError):  # closing the connection is the other honest response
            assert httpx.get(f"{server.url}/cancel-itself", timeout=TIMEOUT).status_code == 500
        assert httpx.get(f"{server.url}/about", timeout=TIMEOUT).status_code == 200

    def test_debug_page(self, start: Start) -> None:
        server = start("starlette_app:debugging")
        as_browser = httpx.get(f"{server.url}/boom", headers={"accept": "text/html"}, timeout=TIMEOUT)
        assert as_browser.status_code == 500
        assert "RuntimeError: the endpoint broke" in as_browser.text
        assert "<html>" in as_browser.text
        as_text = httpx.get(f"{server.url}/boom", timeout=TIMEOUT)
        assert as_text.text.startswith("Traceback")


class TestStop:
    def test_stop_waits_for_a_request_and_then_runs_the_lifespan(self, start: Start) -> None:
        server = start("starlette_app:app")
        with httpx.stream("GET", f"{server.url}/two-halves", timeout=TIMEOUT) as response:
            lines = response.iter_lines()
            assert next(lines) == "first half"
            # This one, too, has begun before the stop, and its body ends after it.
            url = f"{server.url}/fire/first half read"
            assert httpx.post(url, content=late(server), timeout=TIMEOUT).text == "first half read"
            assert list(lines) == ["second half"]
        assert server.wait() == -signal.SIGTERM
        assert "lifespan: closed" in server.stdout


def late(server: Command) -> Iterator[bytes]:
    """A request body whose end is sent after the server was told to stop."""
    yield b"begun"
    server.send_signal(signal.SIGTERM)
    server.wait_line("Waiting for connections to close")
    yield b"done"
