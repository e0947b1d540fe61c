"""What a WSGI application sees of a request (PEP 3333, "environ Variables")."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from wsgiref.validate import validator

import pytest
import support
from core.responses import Client
from fakes.worker import chunked, get, post

from fastserve._core.wsgi.environ import Environs, keys, paths_of
from fastserve.middleware.wsgi import WSGIMiddleware

Environ = dict[str, Any]
EnvironOf = Callable[..., Environ]
Start = Callable[..., support.Running]


def plain(environ: Environ, start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [environ["wsgi.input"].read(100)]


@pytest.mark.parametrize(
    "request_bytes",
    [get("/a/b?c=d"), get("*", method="OPTIONS"), get("/", version="1.0"), post(b"x" * 10), chunked([b"a", b"b"])],
)
def test_the_validator_of_the_standard_library_agrees(start: Start, request_bytes: bytes) -> None:
    assert Client(start(validator(plain)).connect()).ask(request_bytes).status == 200


@pytest.mark.parametrize("root_path", ["/api", "/api/", "api", "/"])
def test_the_validator_agrees_below_a_root_path(start: Start, root_path: str) -> None:
    assert Client(start(validator(plain), root_path=root_path).connect()).ask(get("/a/b?c=d")).status == 200


def test_request_line(environ_of: EnvironOf) -> None:
    environ = environ_of(get("/a/b?c=%20d&e", method="PUT"))
    assert environ["REQUEST_METHOD"] == "PUT"
    assert (environ["SCRIPT_NAME"], environ["PATH_INFO"], environ["QUERY_STRING"]) == ("", "/a/b", "c=%20d&e")
    assert environ["SERVER_PROTOCOL"] == "HTTP/1.1"


def test_hosts_of_requests_on_one_connection(start: Start) -> None:
    def app(environ: Environ, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [repr((environ.get("HTTP_HOST"), environ["SERVER_NAME"])).encode()]

    client = Client(start(app, access_log=False).connect())
    hosts = ["x", "x", "y", "y:80", "x", "z" * 64, "z" * 65, "z" * 64, "w" * 65, "x"]
    seen = [client.ask(get().replace(b"Host: x", b"Host: " + host.encode())).body for host in hosts]
    assert seen == [repr((host, "127.0.0.1")).encode() for host in hosts]


def test_without_a_query_it_is_empty(environ_of: EnvironOf) -> None:
    assert environ_of(get("/", version="1.0"))["QUERY_STRING"] == ""


@pytest.mark.parametrize(
    ("path", "info"),
    [
        ("/a%20b", "/a b"),
        ("/%E4%F6", "/\xe4\xf6"),  # no UTF-8: the bytes come through all the same
        ("/%C3%A4", "/\xc3\xa4"),
        ("/%2e%2F%", "/./%"),
        ("//a//b", "//a//b"),
    ],
)
def test_path_is_the_bytes_as_latin_1(environ_of: EnvironOf, path: str, info: str) -> None:
    assert environ_of(get(path))["PATH_INFO"] == info
    below = environ_of(get(path), root_path="/api")
    assert (below["SCRIPT_NAME"], below["PATH_INFO"]) == ("/api", info)


@pytest.mark.parametrize(
    ("scope", "paths"),
    [
        ({"path": "/api/x", "root_path": "/api"}, ("/api", "/x")),
        ({"path": "/api", "root_path": "/api"}, ("/api", "")),
        ({"path": "/apix", "root_path": "/api"}, ("/api", "/apix")),  # not below it
        ({"path": "/api/x", "root_path": "/api/"}, ("/api", "/x")),
        ({"path": "api/x", "root_path": "api"}, ("/api", "/x")),
        ({"path": "//x", "root_path": "/"}, ("", "/x")),
        ({"path": "", "root_path": ""}, ("", "/")),
        ({"path": "*"}, ("", "/")),
        ({"path": "/\xe4/\xf6", "root_path": "/\xe4"}, ("/\xc3\xa4", "/\xc3\xb6")),
        # A middleware has rewritten the path and left raw_path as it was.
        ({"path": "/\xf6", "raw_path": b"/a/%C3%B6"}, ("", "/\xc3\xb6")),
        ({"path": "/\ufffd", "raw_path": b"/%FF"}, ("", "/\xff")),
        ({"path": "/\xf6", "raw_path": None}, ("", "/\xc3\xb6")),
    ],
)
def test_script_name_and_path_info(scope: dict[str, Any], paths: tuple[str, str]) -> None:
    assert paths_of(scope) == paths


def test_headers(environ_of: EnvironOf) -> None:
    environ = environ_of(
        get("/", "X-One: 1", "x-two: a", "X-Two: b", "Cookie: a=1", "Cookie: b=2", "X-Latin: \xe4", "X-Empty:")
    )
    sent = {key: value for key, value in environ.items() if key.startswith("HTTP_")}
    assert sent == {
        "HTTP_HOST": "x",
        "HTTP_X_ONE": "1",
        "HTTP_X_TWO": "a,b",
        "HTTP_COOKIE": "a=1; b=2",
        "HTTP_X_LATIN": "\xe4",
        "HTTP_X_EMPTY": "",
    }


def test_a_header_with_an_underscore_is_left_out(environ_of: EnvironOf) -> None:
    """X_Forwarded_For would be seen as X-Forwarded-For, which a proxy may have taken out."""
    environ = environ_of(get("/", "X_Forwarded_For: 1.2.3.4", "Content_Length: 5", "X_Forwarded-For: 5"))
    assert "HTTP_X_FORWARDED_FOR" not in environ
    assert "CONTENT_LENGTH" not in environ
    assert "" not in environ


def test_content_type_and_length_have_keys_of_their_own(environ_of: EnvironOf) -> None:
    environ = environ_of(post(b"abc", "Content-Type: text/x"))
    assert (environ["CONTENT_TYPE"], environ["CONTENT_LENGTH"]) == ("text/x", "3")
    assert not {"HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH"} & environ.keys()


def test_a_body_without_a_length_ends_by_itself(environ_of: EnvironOf) -> None:
    environ = environ_of(chunked([b"a"]))
    assert "CONTENT_LENGTH" not in environ
    assert environ["wsgi.input_terminated"] is True


def test_server_and_client(start: Start) -> None:
    seen: list[Environ] = []

    def app(environ: Environ, start_response: Any) -> list[bytes]:
        seen.append(environ)
        return plain(environ, start_response)

    server = start(app)
    socks = [server.connect(), server.connect()]
    for client in [Client(sock) for sock in socks] * 2:
        client.ask(get())
    assert [(each["SERVER_NAME"], each["SERVER_PORT"]) for each in seen] == [("127.0.0.1", str(server.port))] * 4
    clients = [("127.0.0.1", str(sock.getsockname()[1])) for sock in socks]
    assert [(each["REMOTE_ADDR"], each["REMOTE_PORT"]) for each in seen] == clients * 2


@pytest.mark.parametrize(
    ("host", "name", "port"), [("a.b:81", "a.b", "81"), ("a.b", "a.b", "80"), ("[::1]:5", "[::1]", "5"), ("", "", "")]
)
def test_on_a_unix_socket_the_server_is_the_host_asked_for(
    start: Start, tmp_path: Path, host: str, name: str, port: str
) -> None:
    seen: list[Environ] = []

    def app(environ: Environ, start_response: Any) -> list[bytes]:
        seen.append(environ)
        return plain(environ, start_response)

    server = start(validator(app), uds=str(tmp_path / "socket"))
    request = get().replace(b"Host: x", b"Host: " + host.encode()) if host else b"GET / HTTP/1.0\r\n\r\n"
    client = Client(server.connect())
    for _ in range(2 if host else 1):
        assert client.ask(request).status == 200
        environ = seen.pop()
        assert (environ["SERVER_NAME"], environ["SERVER_PORT"]) == (name or "localhost", port or "80")
        assert environ["REMOTE_ADDR"] == ""
        assert "REMOTE_PORT" not in environ


def test_wsgi_variables(environ_of: EnvironOf) -> None:
    environ = environ_of(get())
    assert environ["wsgi.version"] == (1, 0)
    assert environ["wsgi.url_scheme"] == "http"
    assert environ["wsgi.errors"] is sys.stderr
    flags = [environ[f"wsgi.{name}"] for name in ("multithread", "multiprocess", "run_once")]
    assert flags == [True, False, False]
    assert environ_of(get(), wsgi_threads=1)["wsgi.multithread"] is False
    assert "HTTPS" not in environ


def test_what_many_processes_and_tls_change() -> None:
    scope = {"type": "http", "http_version": "1.1", "method": "GET", "path": "/", "query_string": b"", "headers": []}
    middleware = WSGIMiddleware(plain, workers=1, multiprocess=True)
    environ = middleware.environs.make({**scope, "scheme": "https", "server": None, "client": None}, None)
    assert (environ["wsgi.multiprocess"], environ["wsgi.multithread"]) == (True, False)
    assert (environ["wsgi.url_scheme"], environ["HTTPS"]) == ("https", "on")
    assert (environ["SERVER_NAME"], environ["SERVER_PORT"]) == ("localhost", "443")


FORWARDED = ("X-Forwarded-Proto: https", "X-Forwarded-For: 203.0.113.9")


def test_behind_a_trusted_proxy_scheme_and_client_are_what_it_says(environ_of: EnvironOf) -> None:
    environ = environ_of(get("/", *FORWARDED))
    assert (environ["wsgi.url_scheme"], environ["HTTPS"], environ["REMOTE_ADDR"]) == ("https", "on", "203.0.113.9")
    assert "REMOTE_PORT" not in environ  # of a client whose port nobody has told
    assert environ_of(get("/", "X-Forwarded-For: 203.0.113.9:4711"))["REMOTE_PORT"] == "4711"


@pytest.mark.parametrize("config", [{"forwarded_allow_ips": "10.0.0.1"}, {"proxy_headers": False}])
def test_what_others_say_is_a_header_and_no_more(environ_of: EnvironOf, config: dict[str, Any]) -> None:
    environ = environ_of(get("/", *FORWARDED), **config)
    assert (environ["wsgi.url_scheme"], environ["REMOTE_ADDR"]) == ("http", "127.0.0.1")
    assert (environ["HTTP_X_FORWARDED_PROTO"], environ["HTTP_X_FORWARDED_FOR"]) == ("https", "203.0.113.9")
    assert "HTTPS" not in environ
    assert int(environ["REMOTE_PORT"])


def test_a_header_with_underscores_is_not_a_proxys(environ_of: EnvironOf) -> None:
    environ = environ_of(get("/", "X_Forwarded_Proto: https", "X_Forwarded_For: 203.0.113.9"))
    assert (environ["wsgi.url_scheme"], environ["REMOTE_ADDR"]) == ("http", "127.0.0.1")


def test_an_environ_is_the_applications_own(start: Start) -> None:
    seen: list[str | None] = []

    def app(environ: Environ, start_response: Any) -> list[bytes]:
        seen.append(environ.get("mine"))
        environ["mine"] = "yes"
        environ["SERVER_NAME"] = "changed"
        seen.append(environ["SERVER_NAME"])
        return plain(environ, start_response)

    connected = Client(start(app).connect())
    connected.ask(get())
    connected.ask(get())
    assert seen == [None, "changed", None, "changed"]


def test_what_is_kept_of_strange_requests_is_bounded() -> None:
    environs = Environs(True, False, None)
    scope = {"http_version": "1.1", "method": "GET", "path": "/", "query_string": b""}
    for number in range(2000):
        environs.make({**scope, "server": (f"host{number}", 80), "headers": [(b"x-%d" % number, b"1")]}, None)
    assert len(environs.templates) == 100
    assert len(keys) <= 1000
    for number in range(1000):  # leave none of them behind
        keys.pop(b"x-%d" % number, None)
