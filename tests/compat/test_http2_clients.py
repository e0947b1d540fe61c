"""Clients that people use, over HTTP/2, on plain connections and over TLS."""

from __future__ import annotations

import json
import queue
import re
import shutil
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h2.config
import h2.connection
import h2.events
import httpx
import pytest
from support import Command
from support import command as start_command
from tls.pki import Pki
from wsproto.connection import Connection as WebSocket
from wsproto.connection import ConnectionType
from wsproto.events import CloseConnection, Message, Ping
from wsproto.extensions import PerMessageDeflate

from .apps.http2_app import EVENTS, STREAMS
from .conftest import TESTS, TIMEOUT

Run = Callable[..., str]

NODE = """
const http2 = require('http2');
const [url, ca] = process.argv.slice(1);
const session = http2.connect(url, ca ? {ca: require('fs').readFileSync(ca)} : {});
const ask = (path, method, body) => new Promise((resolve, reject) => {
    const request = session.request({':path': path, ':method': method});
    let status, text = '';
    request.setEncoding('latin1');
    request.on('response', head => { status = head[':status']; });
    request.on('data', piece => { text += piece; });
    request.on('end', () => resolve([status, text.length, text.slice(0, 40)]));
    request.on('error', reject);
    request.end(body);
});
Promise.all([
    ask('/', 'GET'), ask('/size/1000000', 'GET'), ask('/echo', 'POST', 'x'.repeat(3000000)), ask('/events', 'GET'),
    ...Array.from({length: 100}, (_, at) => ask('/' + at, 'GET')),
]).then(answers => { console.log(JSON.stringify(answers)); session.close(); })
    .catch(error => { console.error(error); process.exit(1); });
"""


def program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def run(name: str, *arguments: str) -> str:
    argv = [program(name), *arguments]
    result = subprocess.run(argv, capture_output=True, timeout=2 * TIMEOUT, check=False)
    assert result.returncode == 0, result.stdout.decode() + result.stderr.decode()
    return result.stdout.decode()


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="module", params=["plain", "tls"])
def server(request: pytest.FixtureRequest, pki: Pki) -> Iterator[Command]:
    options = ["--ssl-certfile", pki.certificate, "--ssl-keyfile", pki.key] if request.param == "tls" else []
    process = start_command("compat.apps.http2_app:app", "--app-dir", str(TESTS), "--port", "0", *options)
    process.wait_line(r"running on http")
    yield process
    process.close()


@pytest.fixture
def tls(server: Command) -> bool:
    return "https" in "\n".join(server.lines)


@pytest.fixture
def url(server: Command, tls: bool) -> str:
    return f"https://localhost:{server.port}" if tls else f"http://127.0.0.1:{server.port}"


@pytest.fixture
def curl(tls: bool, pki: Pki) -> Run:
    how = ["--http2", "--cacert", pki.ca] if tls else ["--http2-prior-knowledge"]
    return lambda *arguments: run("curl", "-sS", "--noproxy", "*", "--max-time", str(TIMEOUT), *how, *arguments)


class TestCurl:
    def test_get(self, curl: Run, url: str, server: Command) -> None:
        assert curl("-w", " %{http_version} %{response_code}", f"{url}/a?b=c") == "GET /a 2 2 200"
        server.wait_line(r'"GET /a\?b=c HTTP/2" 200')

    def test_bodies(self, curl: Run, url: str, tmp_path: Path) -> None:
        (tmp_path / "body").write_bytes(bytes(range(256)) * 20_000)
        curl("--data-binary", f"@{tmp_path / 'body'}", "-o", str(tmp_path / "echo"), f"{url}/echo")
        assert (tmp_path / "echo").read_bytes() == (tmp_path / "body").read_bytes()
        curl("-o", str(tmp_path / "large"), f"{url}/size/20000000")
        assert (tmp_path / "large").stat().st_size == 20_000_000

    def test_head(self, curl: Run, url: str) -> None:
        assert "content-length: 100" in curl("--head", f"{url}/size/100")

    def test_many_at_a_time(self, curl: Run, url: str, tls: bool) -> None:
        if tls:  # without TLS curl's own connections stumble over each other, with any server
            out = curl("--parallel", "-w", "%{response_code}\n", "-o", "/dev/null", f"{url}/[1-200]")
            assert out.split() == ["200"] * 200

    def test_expect(self, curl: Run, url: str) -> None:
        assert curl("-H", "Expect: 100-continue", "--data-binary", "x", f"{url}/echo") == "x"

    def test_upgrade_is_ignored(self, url: str, tls: bool) -> None:
        """There is no `Upgrade: h2c`: the request is served over HTTP/1.1."""
        if not tls:
            assert run("curl", "-sS", "--noproxy", "*", "--http2", f"{url}/") == "GET / 1.1"


def test_nghttp(url: str) -> None:
    out = run("nghttp", "-nv", "-m", "5", f"{url}/size/100000")
    assert out.count(":status: 200") == 5


def test_h2load(url: str) -> None:
    out = run("h2load", "-n", "5000", "-c", "10", "-m", "32", f"{url}/")
    assert "5000 succeeded, 0 failed, 0 errored, 0 timeout" in out


def test_h2load_uploads(url: str, tmp_path: Path) -> None:
    (tmp_path / "body").write_bytes(bytes(1 << 20))
    out = run("h2load", "-n", "40", "-c", "2", "-m", "10", "-d", str(tmp_path / "body"), f"{url}/echo")
    assert "40 succeeded, 0 failed" in out


def test_node(url: str, tls: bool, pki: Pki) -> None:
    answers = json.loads(run("node", "-e", NODE, url, *([pki.ca] if tls else [])))
    assert answers[0] == [200, 7, "GET / 2"]
    assert [answer[:2] for answer in answers[1:3]] == [[200, 1_000_000], [200, 3_000_000]]
    assert answers[3][2] == "".join(f"data: {number}\n\n" for number in range(EVENTS))
    assert [answer[2] for answer in answers[4:]] == [f"GET /{at} 2" for at in range(100)]


@pytest.fixture
def client(url: str, tls: bool, pki: Pki) -> Iterator[httpx.Client]:
    verify: Any = ssl.create_default_context(cafile=pki.ca) if tls else True
    with httpx.Client(base_url=url, http1=False, http2=True, verify=verify, timeout=TIMEOUT, trust_env=False) as client:
        yield client


class TestHttpx:
    def test_requests(self, client: httpx.Client) -> None:
        for at in range(20):
            response = client.get(f"/{at}")
            assert (response.http_version, response.text) == ("HTTP/2", f"GET /{at} 2")

    def test_upload(self, client: httpx.Client) -> None:
        assert client.post("/echo", content=(bytes(10_000) for _ in range(100))).content == bytes(1_000_000)

    def test_an_upload_that_nobody_reads(self, client: httpx.Client) -> None:
        assert client.post("/", content=bytes(30_000)).text == "POST / 2"
        assert client.get("/").text == "GET / 2"


@pytest.mark.parametrize("path", ["/read", "/"])
def test_h2spec(server: Command, tls: bool, path: str) -> None:
    """All cases, for an application that reads the body and for one that does not.

    On a plain port what is no preface of HTTP/2 is HTTP/1.1, and gets a response of that where a GOAWAY is expected.
    """
    options = ["-h", "127.0.0.1", "-p", str(server.port), "-P", path, "-o", str(int(TIMEOUT)), *(["-t", "-k"] * tls)]
    argv = [program("h2spec"), "--strict", *options]
    result = subprocess.run(argv, capture_output=True, timeout=2 * TIMEOUT, check=False)
    out = re.sub(r"\x1b\[[\d;]*m", "", result.stdout.decode())
    failures = re.findall("^ *\u00d7 (.*)", out.partition("Failures:")[2], re.MULTILINE)
    assert failures == ([] if tls else ["2: Sends invalid connection preface"]), out
    assert out.splitlines()[-1] == f"147 tests, {147 - len(failures)} passed, 0 skipped, {len(failures)} failed"


class Stream:
    """A WebSocket over the package h2, with the frames of wsproto."""

    def __init__(self, server: Command, tls: bool, ca: str, deflate: bool) -> None:
        self.sock: socket.socket = server.connect()
        if tls:
            context = ssl.create_default_context(cafile=ca)
            context.set_alpn_protocols(["h2"])
            self.sock = context.wrap_socket(self.sock, server_hostname="localhost")
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self.h2.initiate_connection()
        self.flush()
        while self.h2.remote_settings.enable_connect_protocol != 1:
            self.hear()
        self.id = self.h2.get_next_available_stream_id()
        self.deflate = PerMessageDeflate()
        scheme = "https" if tls else "http"
        fields = [(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", scheme), (":path", "/socket")]
        fields += [(":authority", "localhost"), ("sec-websocket-version", "13")]
        if deflate:
            fields.append(("sec-websocket-extensions", f"permessage-deflate; {self.deflate.offer()}"))
        self.h2.send_headers(self.id, fields)
        self.flush()
        self.head: dict[str, str] = {}
        self.received, self.ended = b"", False
        while not self.head:
            self.hear()
        extensions: list[Any] = []
        if deflate:
            self.deflate.finalize(self.head["sec-websocket-extensions"])
            extensions.append(self.deflate)
        self.frames = WebSocket(ConnectionType.CLIENT, extensions)

    def flush(self) -> None:
        self.sock.sendall(self.h2.data_to_send())

    def hear(self) -> None:
        raw = self.sock.recv(65536)
        assert raw, "the server has closed"
        for event in self.h2.receive_data(raw):
            if isinstance(event, h2.events.ResponseReceived):
                self.head = dict(event.headers or [])  # type: ignore[arg-type]
            elif isinstance(event, h2.events.DataReceived):
                self.received += event.data or b""
                self.h2.acknowledge_received_data(event.flow_controlled_length or 0, self.id)
            elif isinstance(event, h2.events.StreamEnded):
                self.ended = True
        self.flush()

    def send(self, event: Any) -> None:
        data = self.frames.send(event)
        while data:
            size = min(self.h2.local_flow_control_window(self.id), self.h2.max_outbound_frame_size, len(data))
            if size:
                self.h2.send_data(self.id, data[:size])
                self.flush()
            else:
                self.hear()
            data = data[size:]

    def events(self) -> Iterator[Any]:
        while True:
            received, self.received = self.received, b""
            if received:
                self.frames.receive_data(received)
            yield from self.frames.events()
            self.hear()


@pytest.mark.parametrize("deflate", [False, True])
def test_websocket_over_h2(server: Command, tls: bool, pki: Pki, deflate: bool) -> None:
    stream = Stream(server, tls, pki.ca, deflate)
    with stream.sock:
        assert stream.head[":status"] == "200"
        events = stream.events()
        for text in ("hello", "", "grün" * 100_000):
            stream.send(Message(text))
            found = ""
            while True:
                event = next(events)
                found += event.data
                if event.message_finished:
                    break
            assert found == f"{text} 2"
        stream.send(Ping(b"there?"))
        assert next(events).payload == b"there?"
        stream.send(CloseConnection(3001, "enough"))
        assert next(events).code == 3001
        while not stream.ended:
            stream.hear()


class TestGrpc:
    """grpcio, whose status is in the trailers."""

    @pytest.fixture
    def channel(self, server: Command, tls: bool, pki: Pki) -> Iterator[Any]:
        grpc = pytest.importorskip("grpc")
        if tls:
            credentials = grpc.ssl_channel_credentials(Path(pki.ca).read_bytes())
            channel = grpc.secure_channel(f"localhost:{server.port}", credentials)
        else:
            channel = grpc.insecure_channel(f"127.0.0.1:{server.port}")
        with channel:
            yield channel

    @pytest.mark.parametrize("size", [0, 1, 100_000, 3_000_000])
    def test_unary(self, channel: Any, size: int) -> None:
        assert channel.unary_unary("/echo.Echo/Unary")(bytes(size), timeout=TIMEOUT) == bytes(size)

    def test_stream(self, channel: Any) -> None:
        messages = [b"%d" % at * at for at in range(200)]
        assert list(channel.stream_stream("/echo.Echo/Stream")(iter(messages), timeout=TIMEOUT)) == messages

    def test_each_message_is_answered_before_the_next_is_sent(self, channel: Any) -> None:
        asked: queue.Queue[bytes | None] = queue.Queue()
        calls = channel.stream_stream("/echo.Echo/Stream")(iter(asked.get, None), timeout=TIMEOUT)
        for at in range(5):
            asked.put(b"%d" % at)
            assert next(calls) == b"%d" % at
        asked.put(None)
        assert list(calls) == []

    def test_failure(self, channel: Any) -> None:
        grpc = pytest.importorskip("grpc")
        with pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary("/echo.Echo/Fail")(b"x", timeout=TIMEOUT)
        assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.INVALID_ARGUMENT, "as asked")


@pytest.mark.parametrize(
    ("ws", "version"), [("auto", "2"), ("websockets", "1.1"), ("websockets-sansio", "1.1"), ("wsproto", "1.1")]
)
def test_chromium(pki: Pki, ws: str, version: str, tmp_path: Path) -> None:
    """A page with more streams of events than a browser opens connections, and with a WebSocket.

    That is on the same connection where the server takes WebSockets over HTTP/2, else it has its own.
    """
    argv = [program("chromium"), "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    options = ("--ssl-certfile", pki.certificate, "--ssl-keyfile", pki.key, "--ws", ws)
    server = start_command("compat.apps.http2_app:app", "--app-dir", str(TESTS), "--port", "0", *options)
    server.wait_line(r"running on https")
    argv += [
        "--ignore-certificate-errors",
        "--no-proxy-server",
        f"--user-data-dir={tmp_path}",
        "--remote-debugging-port=0",
    ]
    browser = subprocess.Popen(
        [*argv, f"https://localhost:{server.port}/page"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        found = rf"event,hello%20{version},{300_001 + len(version)},3001%20true,GET%20/fetched%202"
        server.wait_line(rf'"GET /found\?{found} HTTP/2" 200')
        server.wait_line(r'"WebSocket /socket" \[accepted\]')
        assert sum('"GET /live?' in line and 'HTTP/2" 200' in line for line in server.lines) == STREAMS
    finally:
        browser.kill()
        browser.wait()
        server.close()
