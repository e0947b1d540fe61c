"""A Django project behind its ASGI handler, served by the command."""

from __future__ import annotations

import hashlib
import http.client
import json
import random
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from support import Command

from .conftest import TIMEOUT, Curl, LogMark, Start


@pytest.fixture(scope="module")
def server(start: Start) -> Command:
    return start("django_app:application")


@pytest.fixture
def connection(server: Command) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=TIMEOUT)
    yield connection
    connection.close()


class TestViews:
    def test_sync_view(self, client: httpx.Client) -> None:
        response = client.get("/")
        assert (response.status_code, response.text) == (200, "hello from a view in a thread")
        assert response.headers["x-middleware"] == "passed"
        assert response.headers["x-content-type-options"] == "nosniff"

    def test_async_view(self, client: httpx.Client) -> None:
        assert client.get("/async/").json() == {"task": True, "loop": True}

    def test_converters_and_decoded_path(self, client: httpx.Client) -> None:
        assert client.get("/item/42/").json() == {"number": 42}
        assert client.get("/anything/%C3%BC%20b%2Fc").json() == {"rest": "ü b/c"}

    def test_missing_slash_redirects(self, client: httpx.Client) -> None:
        response = client.get("/item/42")
        assert (response.status_code, response.headers["location"]) == (301, "/item/42/")

    def test_redirect(self, client: httpx.Client) -> None:
        assert client.get("/redirect/", follow_redirects=True).json() == {"number": 7}

    def test_json_in(self, client: httpx.Client) -> None:
        assert client.post("/json/", json={"a": ["ä", None]}).json() == {"took": {"a": ["ä", None]}}

    def test_two_cookies(self, client: httpx.Client) -> None:
        assert client.get("/cookies/").headers.get_list("set-cookie") == [
            "first=1; HttpOnly; Path=/",
            "second=2; Path=/; SameSite=Lax",
        ]


class TestMeta:
    def test_request_meta(self, server: Command, connection: http.client.HTTPConnection) -> None:
        connection.request(
            "POST",
            "/meta/?a=1&a=2&b=%C3%A4",
            body=b"x=1",
            headers={"Content-Type": "application/x-www-form-urlencoded", "X-Own": "yes", "Cookie": "c=1; d=2"},
        )
        own_port = connection.sock.getsockname()[1]
        answer = json.load(connection.getresponse())
        meta = answer["META"]
        port = str(server.port)
        assert {key: meta[key] for key in meta if key.isupper() and key != "HTTP_ACCEPT_ENCODING"} == {
            "CONTENT_LENGTH": "3",
            "CONTENT_TYPE": "application/x-www-form-urlencoded",
            "HTTP_COOKIE": "c=1; d=2",
            "HTTP_HOST": f"127.0.0.1:{port}",
            "HTTP_X_OWN": "yes",
            "PATH_INFO": "/meta/",
            "QUERY_STRING": "a=1&a=2&b=%C3%A4",
            "REMOTE_ADDR": "127.0.0.1",
            "REMOTE_HOST": "127.0.0.1",
            "REMOTE_PORT": own_port,
            "REQUEST_METHOD": "POST",
            "SCRIPT_NAME": "",
            "SERVER_NAME": "127.0.0.1",
            "SERVER_PORT": port,
        }
        assert answer["uri"] == f"http://127.0.0.1:{port}/meta/?a=1&a=2&b=%C3%A4"
        assert answer["GET"] == {"a": ["1", "2"], "b": ["ä"]}
        assert answer["COOKIES"] == {"c": "1", "d": "2"}

    def test_script_name_is_the_root_path(self, start: Start) -> None:
        server = start("django_app:application", "--root-path", "/mounted")
        answer = httpx.get(f"{server.url}/meta/", timeout=TIMEOUT).json()
        assert answer["META"]["SCRIPT_NAME"] == "/mounted"
        assert answer["META"]["PATH_INFO"] == "/meta/"
        assert answer["path"] == "/mounted/meta/"

    def test_host_that_is_not_allowed(self, client: httpx.Client) -> None:
        assert client.get("/meta/", headers={"host": "example.org"}).status_code == 400


class TestBodies:
    @pytest.mark.parametrize(("size", "kind"), [(1000, "InMemoryUploadedFile"), (3_000_000, "TemporaryUploadedFile")])
    def test_upload(self, client: httpx.Client, size: int, kind: str) -> None:
        content = random.Random(size).randbytes(size)
        response = client.post("/upload/", files={"file": ("a.bin", content)}, data={"note": "Grüße"})
        digest = hashlib.sha256(content).hexdigest()
        assert response.json() == {"size": size, "sha256": digest, "kind": kind, "note": "Grüße"}

    def test_curl_uploads(self, server: Command, curl: Curl, tmp_path: Path) -> None:
        path = tmp_path / "upload.bin"
        path.write_bytes(bytes(2_000_000))
        answer = json.loads(curl("--form", f"file=@{path}", "--form", "note=n", f"{server.url}/upload/"))
        assert answer["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()


class TestAnswers:
    @pytest.mark.parametrize("path", ["/stream/", "/stream/thread/"])
    def test_stream(self, client: httpx.Client, path: str) -> None:
        response = client.get(path)
        assert response.headers.get("transfer-encoding") == ("chunked" if response.http_version == "HTTP/1.1" else None)
        assert response.text == "".join(f"{number}\n" for number in range(500))

    def test_each_piece_is_delivered_before_the_next_is_made(
        self, client: httpx.Client, connection: http.client.HTTPConnection
    ) -> None:
        connection.request("GET", "/two-halves/")
        response = connection.getresponse()
        assert response.readline() == b"first half\n"
        client.get("/fire/first half read/")
        assert response.read() == b"second half\n"

    def test_file(self, client: httpx.Client) -> None:
        response = client.get("/file/")
        assert response.content == bytes(range(256)) * 4096
        assert response.headers["content-length"] == str(256 * 4096)
        assert response.headers["content-disposition"] == 'attachment; filename="bytes.bin"'

    @pytest.mark.parametrize("path", ["/", "/async/", "/file/", "/stream/", "/nowhere/"])
    def test_head_never_has_a_body(self, connection: http.client.HTTPConnection, path: str) -> None:
        # Django's ASGI handler sends the body for HEAD as well; it is the server that must drop it.
        connection.connect()
        sock = connection.sock
        for _ in range(2):
            connection.request("HEAD", path)
            response = connection.getresponse()
            assert (response.status, response.read()) == (404 if path == "/nowhere/" else 200, b"")
            assert connection.sock is sock
        connection.request("GET", "/")
        assert connection.getresponse().read() == b"hello from a view in a thread"

    def test_not_modified(self, client: httpx.Client) -> None:
        assert client.get("/not-modified/").text == "the same as ever"
        response = client.get("/not-modified/", headers={"if-none-match": '"ever"'})
        assert (response.status_code, response.content) == (304, b"")
        assert client.get("/not-modified/").text == "the same as ever"


class TestClientsThatLeave:
    def test_server_sent_events(self, server: Command, client: httpx.Client, log: LogMark) -> None:
        with httpx.stream("GET", f"{server.url}/sse/", timeout=TIMEOUT) as response:
            lines = response.iter_lines()
            assert [next(lines) for _ in range(3)] == ["data: tick", "", "data: tick"]
        assert client.get("/wait/sse closed/").status_code == 200
        assert log.count("Traceback|ERROR") == 0

    def test_view_that_waits_is_cancelled(self, server: Command, client: httpx.Client) -> None:
        with server.connect() as sock:
            sock.sendall(b"GET /hang/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            assert client.get("/wait/hang began/").status_code == 200
        assert client.get("/wait/hang cancelled/").status_code == 200
        assert client.get("/").status_code == 200


class TestErrors:
    def test_404_page(self, client: httpx.Client) -> None:
        response = client.get("/nowhere/")
        assert response.status_code == 404
        assert "<h1>Not Found</h1>" in response.text

    def test_403_page(self, client: httpx.Client) -> None:
        response = client.get("/forbidden/")
        assert response.status_code == 403
        assert "<h1>403 Forbidden</h1>" in response.text

    @pytest.mark.parametrize("path", ["/boom/", "/async-boom/"])
    def test_500_page_and_the_server_goes_on(self, client: httpx.Client, path: str) -> None:
        response = client.get(path)
        assert response.status_code == 500
        assert "<h1>Server Error (500)</h1>" in response.text
        assert client.get("/").status_code == 200


class TestLifespan:
    def test_django_has_none_and_is_served_all_the_same(self, server: Command) -> None:
        server.wait_line("ASGI 'lifespan' protocol appears unsupported")

    def test_switched_off(self, start: Start) -> None:
        server = start("django_app:application", "--lifespan", "off")
        assert httpx.get(f"{server.url}/", timeout=TIMEOUT).status_code == 200
        assert "lifespan" not in server.output

    def test_insisted_on(self, start: Start) -> None:
        with pytest.raises(AssertionError, match="the outputs ended without"):
            start("django_app:application", "--lifespan", "on")
