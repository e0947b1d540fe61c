"""Flask and Django as WSGI applications, served by the command, asked by real clients."""

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

from .conftest import TIMEOUT, Curl, LogMark, Start, texts_at_once

NUMBERS = "".join(f"{number}\n" for number in range(500))


@pytest.fixture(scope="module")
def server(start: Start) -> Command:
    return start("flask_app:app", "--interface", "wsgi", "--wsgi-threads", "4")


@pytest.fixture(scope="module")
def django(start: Start) -> Iterator[httpx.Client]:
    server = start("django_wsgi_app:application", "--interface", "wsgi")
    with httpx.Client(base_url=server.url, timeout=TIMEOUT, trust_env=False) as client:
        yield client


class TestFlask:
    def test_what_it_sees(self, server: Command, client: httpx.Client) -> None:
        answer = client.get("/seen/%C3%BC%20b", params={"a": ["1", "\xe4"]}, headers={"Cookie": "c=1"}).json()
        assert answer == {
            "rest": "\xfc b",
            "url": f"{server.url}/seen/\xfc%20b?a=1&a=\xe4",
            "args": {"a": ["1", "\xe4"]},
            "address": "127.0.0.1",
            "cookies": {"c": "1"},
            "own": f"{server.url}/",
        }

    def test_behind_a_proxy(self, client: httpx.Client) -> None:
        headers = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "203.0.113.9", "Host": "site.example"}
        answer = client.get("/seen/x", headers=headers).json()
        assert answer["address"] == "203.0.113.9"
        assert (answer["url"], answer["own"]) == ("https://site.example/seen/x", "https://site.example/")

    def test_root_path(self, start: Start) -> None:
        server = start("flask_app:app", "--interface", "wsgi", "--root-path", "/mounted")
        assert httpx.get(f"{server.url}/seen/x", timeout=TIMEOUT).json()["own"] == f"{server.url}/mounted/"

    def test_factory(self, start: Start) -> None:
        server = start("flask_app:create", "--interface", "wsgi", "--factory")
        assert httpx.get(server.url, timeout=TIMEOUT).text == "hello from Flask"

    def test_form_and_session(self, client: httpx.Client) -> None:
        assert client.post("/form", data={"a": "\xe4", "b": "2"}).json() == {"a": "\xe4", "b": "2"}
        assert [client.get("/count").text for _ in range(3)] == ["1", "2", "3"]

    @pytest.mark.parametrize("size", [1000, 3_000_000])
    def test_upload(self, client: httpx.Client, size: int) -> None:
        content = random.Random(size).randbytes(size)
        answer = client.post("/upload", files={"file": ("a.bin", content)}, data={"note": "Gr\xfc\xdfe"}).json()
        assert answer == {"size": size, "sha256": hashlib.sha256(content).hexdigest(), "note": "Gr\xfc\xdfe"}

    def test_a_body_without_a_length(self, client: httpx.Client) -> None:
        pieces = [bytes([number]) * 10_000 for number in range(100)]
        answer = client.post("/digest", content=iter(pieces)).json()
        assert answer == {"size": 1_000_000, "sha256": hashlib.sha256(b"".join(pieces)).hexdigest()}

    def test_curl_waits_for_100(self, server: Command, curl: Curl, tmp_path: Path) -> None:
        path = tmp_path / "upload.bin"
        path.write_bytes(bytes(2_000_000))
        request = ("--header", "Expect: 100-continue", "--expect100-timeout", "10", "--data-binary", f"@{path}")
        answer = json.loads(curl(*request, f"{server.url}/digest"))
        assert answer["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()

    def test_stream(self, client: httpx.Client) -> None:
        response = client.get("/stream")
        assert response.headers.get("transfer-encoding") == ("chunked" if response.http_version == "HTTP/1.1" else None)
        assert response.text == NUMBERS

    def test_each_piece_is_delivered_before_the_next_is_made(self, server: Command, client: httpx.Client) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=TIMEOUT)
        connection.request("GET", "/two-halves")
        response = connection.getresponse()
        assert response.readline() == b"first half\n"
        client.get("/fire/first half read")
        assert response.read() == b"second half\n"
        connection.close()

    def test_a_client_that_leaves(self, server: Command, client: httpx.Client, log: LogMark) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=TIMEOUT)
        connection.request("GET", "/endless")
        assert connection.getresponse().read(1) == b"x"
        connection.close()
        assert client.get("/wait/endless closed").status_code == 200
        assert "Traceback" not in log.new()

    def test_file(self, client: httpx.Client, files: Path) -> None:
        content = (files / "large.bin").read_bytes()
        response = client.get("/file/large.bin")
        assert response.content == content
        assert response.headers["content-length"] == str(len(content))
        part = client.get("/file/large.bin", headers={"Range": "bytes=1000-4999"})
        assert (part.status_code, part.content) == (206, content[1000:5000])
        same = client.get("/file/large.bin", headers={"If-None-Match": response.headers["etag"]})
        assert (same.status_code, same.content) == (304, b"")
        assert client.get("/file/empty.txt").content == b""
        head = client.head("/file/large.bin")
        assert (head.headers["content-length"], head.content) == (str(len(content)), b"")

    def test_errors(self, server: Command, client: httpx.Client, log: LogMark) -> None:
        assert client.get("/forbidden").status_code == 403
        assert client.get("/nowhere").status_code == 404
        assert client.post("/").status_code == 405
        assert client.get("/boom").status_code == 500
        log.wait("RuntimeError: the view broke")
        assert log.count("RuntimeError: the view broke") == 1

    @pytest.mark.parametrize("http2", [False, True])
    def test_more_requests_than_threads(self, server: Command, http2: bool) -> None:
        texts = texts_at_once([server.url] * 200, http1=not http2, http2=http2)
        assert set(texts) == {"hello from Flask"}


class TestDjango:
    def test_view_and_meta(self, django: httpx.Client) -> None:
        assert django.get("/").text == "hello from a view in a thread"
        answer = django.post("/meta/?a=1&a=%C3%A4", data={"x": "1"}).json()
        assert answer["GET"] == {"a": ["1", "\xe4"]}
        assert (answer["META"]["CONTENT_LENGTH"], answer["META"]["PATH_INFO"]) == ("3", "/meta/")
        assert django.get("/anything/%C3%BC%20b%2Fc").json() == {"rest": "\xfc b/c"}

    def test_behind_a_proxy(self, django: httpx.Client) -> None:
        answer = django.get("/meta/", headers={"X-Forwarded-Proto": "https", "X-Forwarded-For": "203.0.113.9"}).json()
        assert answer["uri"] == f"https://{django.base_url.netloc.decode()}/meta/"
        assert (answer["META"]["REMOTE_ADDR"], answer["META"]["wsgi.url_scheme"]) == ("203.0.113.9", "https")

    @pytest.mark.parametrize(("size", "kind"), [(1000, "InMemoryUploadedFile"), (3_000_000, "TemporaryUploadedFile")])
    def test_upload(self, django: httpx.Client, size: int, kind: str) -> None:
        content = random.Random(size).randbytes(size)
        answer = django.post("/upload/", files={"file": ("a.bin", content)}, data={"note": "n"}).json()
        assert answer == {"size": size, "sha256": hashlib.sha256(content).hexdigest(), "kind": kind, "note": "n"}

    def test_stream(self, django: httpx.Client) -> None:
        assert django.get("/stream/thread/").text == NUMBERS

    def test_file(self, django: httpx.Client) -> None:
        response = django.get("/file/")
        assert response.content == bytes(range(256)) * 4096
        assert response.headers["content-length"] == str(256 * 4096)

    def test_cookies_redirects_and_errors(self, django: httpx.Client) -> None:
        assert len(django.get("/cookies/").headers.get_list("set-cookie")) == 2
        assert django.get("/redirect/", follow_redirects=True).json() == {"number": 7}
        assert django.get("/forbidden/").status_code == 403
        assert django.get("/boom/").status_code == 500
        assert django.head("/").content == b""
