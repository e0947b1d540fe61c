"""A FastAPI application, served by the command and asked by httpx, http.client and curl."""

from __future__ import annotations

import hashlib
import http.client
import json
import random
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from support import Command

from .conftest import TIMEOUT, Curl, LogMark, Start


@pytest.fixture(scope="module")
def server(start: Start) -> Command:
    return start("fastapi_app:app")


class TestRouting:
    def test_json_out(self, client: httpx.Client) -> None:
        response = client.get("/")
        assert response.status_code == 200
        assert response.json() == {"hello": "world"}
        assert response.headers["content-type"] == "application/json"
        assert response.headers["content-length"] == str(len(response.content))

    def test_path_and_query_parameters(self, client: httpx.Client) -> None:
        assert client.get("/items/42", params={"q": "ä &?"}).json() == {"item_id": 42, "q": "ä &?"}

    def test_path_is_decoded_once_and_raw_path_is_as_sent(self, server: Command, curl: Curl) -> None:
        answer = json.loads(curl(f"{server.url}/files/a%20b/%C3%A9%2Fc%2520?x=%20"))
        assert answer["path"] == "a b/é/c%20"
        assert answer["raw_path"] == "/files/a%20b/%C3%A9%2Fc%2520"
        assert answer["url"].endswith("?x=%20")

    def test_query_keeps_order_and_duplicates(self, client: httpx.Client) -> None:
        answer = client.get("/search?q=1&b=2&q=3&empty=&plus=a+b").json()
        assert answer["all"] == [["q", "1"], ["b", "2"], ["q", "3"], ["empty", ""], ["plus", "a b"]]
        assert answer["q"] == "3"

    def test_not_found_and_method_not_allowed(self, client: httpx.Client) -> None:
        assert client.get("/nowhere").json() == {"detail": "Not Found"}
        response = client.delete("/items")
        assert response.status_code == 405
        assert response.headers["allow"] == "POST"

    def test_redirect(self, client: httpx.Client) -> None:
        response = client.get("/redirect", follow_redirects=True)
        assert response.json() == {"item_id": 7, "q": "redirected"}
        assert [one.status_code for one in response.history] == [307]

    def test_redirect_to_the_slash_is_built_from_the_host_header(self, server: Command, client: httpx.Client) -> None:
        response = client.get("/slash")
        assert response.status_code == 307
        assert response.headers["location"] == f"{server.url}/slash/"
        response = client.get("/slash", headers={"host": "example.org:8443"})
        assert response.headers["location"] == "http://example.org:8443/slash/"

    def test_documentation_page_and_schema(self, client: httpx.Client) -> None:
        assert "text/html" in client.get("/docs").headers["content-type"]
        assert "/items/{item_id}" in client.get("/openapi.json").json()["paths"]

    def test_headers_with_duplicates(self, client: httpx.Client) -> None:
        answer = client.get("/headers", headers=[("user-agent", "tester"), ("x-many", "1"), ("X-Many", "2")]).json()
        assert answer == {"user-agent": "tester", "x-many": ["1", "2"]}

    def test_cookies_in_and_out(self, client: httpx.Client) -> None:
        response = client.get("/cookies", headers={"cookie": "seen=yes; other=1"})
        assert response.json() == {"seen": "yes"}
        assert response.headers.get_list("set-cookie") == [
            "first=1; HttpOnly; Path=/; SameSite=lax",
            'second="zwei drei"; Path=/cookies; SameSite=lax',
        ]


class TestBodies:
    def test_json_in(self, client: httpx.Client) -> None:
        response = client.post("/items", json={"name": "tea", "price": 2.5, "tags": ["hot", "grün"]})
        assert response.status_code == 201
        assert response.json() == {"name": "tea", "price": 2.5, "tags": ["hot", "grün"]}

    def test_validation_error_names_the_field(self, client: httpx.Client) -> None:
        response = client.post("/items", json={"name": "tea", "price": -1})
        assert response.status_code == 422
        assert [error["loc"] for error in response.json()["detail"]] == [["body", "price"]]

    def test_json_that_is_none(self, client: httpx.Client) -> None:
        response = client.post("/items", content=b"{broken", headers={"content-type": "application/json"})
        assert response.status_code == 422
        assert response.json()["detail"][0]["type"] == "json_invalid"

    def test_multipart_upload_of_some_megabytes(self, client: httpx.Client) -> None:
        content = random.Random(1).randbytes(3_000_000)
        response = client.post("/upload", files={"file": ("größe.bin", content)}, data={"note": "with a field"})
        assert response.json() == {
            "name": "größe.bin",
            "type": "application/octet-stream",
            "size": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
            "note": "with a field",
        }

    def test_several_files_of_one_field(self, client: httpx.Client) -> None:
        files = [("files", (f"{size}.bin", b"x" * size)) for size in (0, 1, 200_000)]
        assert client.post("/uploads", files=files).json() == [0, 1, 200_000]

    def test_curl_uploads_a_form_and_waits_for_100_continue(self, server: Command, curl: Curl, tmp_path: Path) -> None:
        path = tmp_path / "upload.bin"
        path.write_bytes(b"0123456789abcdef" * 150_000)
        out = curl("--form", f"file=@{path}", "--verbose", "--stderr", "-", f"{server.url}/upload")
        assert "< HTTP/1.1 100 Continue" in out
        assert hashlib.sha256(path.read_bytes()).hexdigest() in out

    def test_chunked_request_is_read_as_a_stream(self, client: httpx.Client) -> None:
        pieces = [random.Random(number).randbytes(50_000) for number in range(20)]
        answer = client.post("/stream-in", content=iter(pieces)).json()
        assert answer["sha256"] == hashlib.sha256(b"".join(pieces)).hexdigest()
        assert answer["pieces"] > 1

    def test_two_megabytes_over_http_client_with_content_length(self, server: Command) -> None:
        content = bytes(2_000_000)
        with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=TIMEOUT)) as connection:
            connection.request("POST", "/stream-in", body=content)
            assert json.load(connection.getresponse())["sha256"] == hashlib.sha256(content).hexdigest()


class TestErrors:
    def test_http_exception(self, client: httpx.Client) -> None:
        response = client.get("/forbidden")
        assert (response.status_code, response.json()) == (403, {"detail": "not for you"})
        assert response.headers["x-reason"] == "closed"

    def test_exception_handler(self, client: httpx.Client) -> None:
        assert client.get("/tea").status_code == 418

    @pytest.mark.parametrize(
        ("path", "words"), [("/boom", "the endpoint broke"), ("/threads/boom", "the thread broke")]
    )
    def test_exception_is_a_500_with_a_traceback_in_the_log(
        self, server: Command, log: LogMark, path: str, words: str
    ) -> None:
        response = httpx.get(server.url + path, timeout=TIMEOUT)
        assert (response.status_code, response.text) == (500, "Internal Server Error")
        log.wait(f"RuntimeError: {words}")
        assert log.count("Exception in ASGI application") == 1
        assert httpx.get(f"{server.url}/", timeout=TIMEOUT).status_code == 200


class TestMiddlewareAndDependencies:
    def test_http_middleware_adds_a_header(self, client: httpx.Client) -> None:
        assert client.get("/items/1").headers["x-middleware"] == b"/items/1".hex()

    def test_dependency_with_yield_is_closed(self, client: httpx.Client) -> None:
        assert client.get("/dependency").json() == ["open", "open in thread"]
        assert client.get("/wait/dependency closed").status_code == 200

    def test_background_task_runs_after_delivery(self, client: httpx.Client) -> None:
        # The task cannot end before the second request, and that is made after the first was answered in full.
        assert client.get("/background").json() == {"task": "waits"}
        client.post("/background/release")
        assert client.get("/wait/background done").status_code == 200

    def test_def_endpoint_runs_in_a_thread(self, client: httpx.Client) -> None:
        assert client.get("/threads").json()["main"] is False

    def test_def_endpoints_run_side_by_side(self, server: Command) -> None:
        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(lambda _: httpx.get(f"{server.url}/threads/meet", timeout=TIMEOUT), range(4)))
        assert sorted(int(answer.text) for answer in answers) == [0, 1, 2, 3]


class TestLifespan:
    def test_state_is_shared_by_reference_and_copied_by_name(self, client: httpx.Client) -> None:
        first = client.get("/state", params={"add": "one"}).json()
        second = client.get("/state", params={"add": "two"}).json()
        shared = first["shared"]
        assert shared[-1] == "one"
        assert first == {"greeting": "hello from startup", "shared": shared, "own": 1}
        assert second == {"greeting": "hello from startup", "shared": [*shared, "two"], "own": 1}

    def test_shutdown_runs_to_its_end_on_sigterm(self, start: Start) -> None:
        server = start("fastapi_app:app")
        server.wait_line("lifespan: opened")
        httpx.get(f"{server.url}/state?add=kept", timeout=TIMEOUT)
        assert server.stop(signal.SIGTERM) == -signal.SIGTERM
        lines = "\n".join(server.stderr)
        assert 0 < lines.index("lifespan: closed with ['kept']") < lines.index("Application shutdown complete.")

    def test_factory(self, start: Start) -> None:
        server = start("factory_app:create", "--factory")
        assert httpx.get(f"{server.url}/", timeout=TIMEOUT).json() == {"made by": "a factory"}

    def test_root_path(self, start: Start) -> None:
        server = start("fastapi_app:app", "--root-path", "/mounted")
        assert httpx.get(f"{server.url}/items/3", timeout=TIMEOUT).json()["item_id"] == 3
        assert "/mounted/openapi.json" in httpx.get(f"{server.url}/docs", timeout=TIMEOUT).text


class TestOneConnection:
    @pytest.fixture
    def connection(self, server: Command) -> Iterator[http.client.HTTPConnection]:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=TIMEOUT)
        yield connection
        connection.close()

    def test_many_kinds_of_answer_in_a_row(self, connection: http.client.HTTPConnection) -> None:
        connection.connect()
        sock = connection.sock
        for method, path, status in [
            ("GET", "/", 200),
            ("POST", "/items", 422),
            ("GET", "/nowhere", 404),
            ("HEAD", "/items/1", 405),
            ("GET", "/tea", 418),
            ("GET", "/openapi.json", 200),
        ] * 3:
            connection.request(method, path)
            response = connection.getresponse()
            response.read()
            assert response.status == status
            assert connection.sock is sock
