"""Rows of the table of features: what is asked, what must come back, and asking both servers for it."""

from __future__ import annotations

import gzip
import http.client
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from pathlib import Path
from typing import NamedTuple

import httpx
from support import Command

TESTS = Path(__file__).parents[1]
TIMEOUT = 60.0
# Of the server: its name, and how the body is framed where the application leaves that open.
OWN = {"server", "connection", "keep-alive", "transfer-encoding"}
MOMENT = {"date", "expires"}


class App(NamedTuple):
    """An application of apps/, and the options that it is served with: by uvicorn and by fastserve the same."""

    name: str
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class Ask:
    """A request, as `METHOD target`, and what its response must have. A list of pieces is sent as a chunked body."""

    line: str
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | list[bytes] | None = None
    has: Mapping[str, str] = field(default_factory=dict)  # header fields: patterns that match the value
    holds: str | bytes = b""  # in the body
    is_: bytes | None = None  # the body


@dataclass(frozen=True)
class Row:
    """Requests on one connection, by a client that keeps cookies; `differs` says why uvicorn's answers are others."""

    app: App
    asks: tuple[Ask, ...]
    differs: str = ""

    @property
    def id(self) -> str:
        first = self.asks[-1]
        what = ", ".join(f"{name}={value}" for name, value in first.headers.items())
        options = " ".join(self.app.options)
        return re.sub(r"[^\x20-\x7e]", "?", f"{self.app.name} {options} {first.line[:60]} {what[:60]}".strip())


@dataclass
class Answer:
    """What a client got, without what must differ from one time to the next."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def values(self, name: str) -> list[str]:
        return [value for field, value in self.headers if field == name.lower()]


class Client:
    """A client with one connection, which is made anew when the server closes it, and with cookies."""

    def __init__(self, server: Command) -> None:
        self.port = server.port
        self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT)
        self.cookies: SimpleCookie = SimpleCookie()

    def ask(self, ask: Ask) -> Answer:
        method, target = ask.line.split(" ", 1)
        headers = dict(ask.headers)
        if self.cookies and "Cookie" not in headers:
            headers["Cookie"] = "; ".join(f"{each.key}={each.coded_value}" for each in self.cookies.values())
        chunked = isinstance(ask.body, list)
        body = iter(ask.body) if isinstance(ask.body, list) else ask.body
        if chunked:
            headers["Transfer-Encoding"] = "chunked"
        self.connection.request(method, target, body, headers, encode_chunked=chunked)
        response = self.connection.getresponse()
        content = response.read()
        for value in response.headers.get_all("Set-Cookie", []):
            self.cookies.load(value)
        fields = [(name.lower(), value) for name, value in response.getheaders()]
        return Answer(response.status, fields, content)

    def masked(self, answer: Answer) -> Answer:
        """Return the response without fields of the server's own, its port, and what is drawn or signed."""
        here = f"127.0.0.1:{self.port}"
        boundary = "".join(re.findall(r"boundary=(\w+)", "".join(answer.values("content-type")))) or "no boundary"
        body = answer.body.replace(here.encode(), b"127.0.0.1:PORT").replace(boundary.encode(), b"BOUNDARY")
        if answer.values("content-encoding") == ["gzip"]:
            body = gzip.decompress(body)  # padded at random by some
        varies = here.encode() in answer.body or "gzip" in answer.values("content-encoding")

        def mask(name: str, value: str) -> tuple[str, str]:
            if varies and name in ("etag", "content-length"):
                value = "VARIES"
            value = value.replace(here, "127.0.0.1:PORT").replace(boundary, "BOUNDARY")
            return name, re.sub(r"(?i)(session|sessionid|messages|csrftoken|expires)=[^;]*", r"\1=VALUE", value)

        headers = sorted(mask(name, value) for name, value in answer.headers if name not in OWN | MOMENT)
        return Answer(answer.status, headers, body)

    def close(self) -> None:
        self.connection.close()


def check(ask: Ask, answer: Answer) -> None:
    """Raise AssertionError where a response is not what the row says."""
    assert answer.status == ask.status, answer
    for name, pattern in ask.has.items():
        values = answer.values(name)
        assert any(re.fullmatch(pattern, value) for value in values), (name, values)
    holds = ask.holds.encode() if isinstance(ask.holds, str) else ask.holds
    assert holds in answer.body, answer
    assert ask.is_ is None or answer.body == ask.is_, answer.body[:200]


def same(one: Answer, other: Answer) -> bool:
    """Return whether answers are the same, but for a length that one server leaves to the framing of the body."""
    framed = {name for answer in (one, other) if answer.values(name := "content-length") == []}
    first, second = ([field for field in answer.headers if field[0] not in framed] for answer in (one, other))
    return (one.status, first, one.body) == (other.status, second, other.body)


class Http2Client(Client):
    """The same over HTTP/2, which has no chunks: pieces are sent as they are."""

    def __init__(self, server: Command) -> None:
        super().__init__(server)
        self.session = httpx.Client(http1=False, http2=True, timeout=TIMEOUT, trust_env=False)

    def ask(self, ask: Ask) -> Answer:
        method, target = ask.line.split(" ", 1)
        fields = {name.lower(): value for name, value in ask.headers.items()}
        fields.setdefault("accept-encoding", "identity")
        host = fields.pop("host", f"127.0.0.1:{self.port}")
        if self.cookies:
            fields.setdefault("cookie", "; ".join(f"{each.key}={each.coded_value}" for each in self.cookies.values()))
        content = iter(ask.body) if isinstance(ask.body, list) else ask.body
        if content is None and method in ("POST", "PUT", "PATCH"):
            content = b""  # as http.client sends it
        request = httpx.Request(
            method,
            f"http://127.0.0.1:{self.port}/",
            headers=[("host", host), *fields.items()],
            content=content,
            extensions={"target": target.encode("latin-1")},
        )
        response = self.session.send(request, stream=True)
        try:
            body = b"".join(response.iter_raw())
        finally:
            response.close()
        assert response.http_version == "HTTP/2"
        for value in response.headers.get_list("set-cookie"):
            self.cookies.load(value)
        found = list(response.headers.multi_items())
        if ask.line == "HEAD /see":  # its body would name the version, which is two characters shorter
            found = [
                (name, str(int(value) + 2)) if name == "content-length" else (name, value) for name, value in found
            ]
        if "content-length" not in response.headers:
            found.append(("transfer-encoding", "chunked"))  # as HTTP/1.1 says that there is no length
        return Answer(response.status_code, found, body)

    def masked(self, answer: Answer) -> Answer:
        """Return it as if it had come over HTTP/1.1."""
        masked = super().masked(answer)
        body = masked.body.replace(b'"http_version":"2"', b'"http_version":"1.1"')
        if body == masked.body:
            return masked
        more = len(body) - len(masked.body)
        fields = [
            (name, str(int(value) + more) if name == "content-length" and value.isdigit() else value)
            for name, value in masked.headers
        ]
        return Answer(masked.status, fields, body)

    def close(self) -> None:
        super().close()
        self.session.close()


def answers(server: Command, row: Row, checked: bool = True, kind: type[Client] = Client) -> Iterator[Answer]:
    """Ask for all of a row, hold each answer to it if it is to be checked, and yield it masked."""
    client = kind(server)
    try:
        for ask in row.asks:
            answer = client.ask(ask)
            if checked:
                check(ask, answer)
            yield client.masked(answer)
    finally:
        client.close()
