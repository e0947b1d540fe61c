"""The access log: lines made in the core and lines made of LogRecords are the same."""

from __future__ import annotations

import io
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes.worker import FakeWorker, get, hello

from fastserve._core.http.access_log import AccessLog
from fastserve.logging.formatters import ACCESS_FORMAT, AccessFormatter

Work = Callable[..., FakeWorker]


class Stream(io.StringIO):
    """Keeps what each write() gave it, and counts flush()."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[str] = []
        self.flushes = 0
        self.broken = False

    def write(self, text: str) -> int:
        if self.broken:
            raise OSError("no space")
        self.writes.append(text)
        return len(text)

    def flush(self) -> None:
        self.flushes += 1


class Records(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


class Setup:
    def __init__(self, work: Work, name: str) -> None:
        self.work = work
        self.stream = Stream()
        self.handler = logging.StreamHandler(self.stream)
        self.formatter = AccessFormatter(ACCESS_FORMAT, use_colors=False)
        self.handler.setFormatter(self.formatter)
        self.logger = logging.getLogger(name)
        self.logger.handlers = [self.handler]
        self.logger.propagate = False
        self.logger.setLevel(logging.INFO)
        self.made: list[logging.LogRecord] = []  # LogRecords that were really made
        self.access = AccessLog(self.logger, AccessFormatter, ACCESS_FORMAT)

    def wire(self, app: Any = None, **settings: Any) -> FakeWorker:
        self.logger.handlers = [self.handler]  # pytest has added its own to a logger that does not propagate
        return self.work(app or hello(), access=self.access, **settings)

    def records_from_here(self) -> Records:
        """Add a handler: from now on real records are wanted."""
        handler = Records()
        self.logger.addHandler(handler)
        return handler


@pytest.fixture
def log(work: Work, request: pytest.FixtureRequest) -> Iterator[Setup]:
    setup = Setup(work, f"access.{request.node.name}")
    yield setup
    setup.logger.filters.clear()
    setup.logger.handlers.clear()
    setup.logger.disabled = False


LINES = [
    (get(), 200, '10.0.0.1:1234 - "GET / HTTP/1.1" 200 OK'),
    (get("/a?b=c&d"), 200, '10.0.0.1:1234 - "GET /a?b=c&d HTTP/1.1" 200 OK'),
    (get("/%1b[31m%0a"), 200, '10.0.0.1:1234 - "GET /%1B%5B31m%0A HTTP/1.1" 200 OK'),
    (get("/%00%7f%c2%9b"), 200, '10.0.0.1:1234 - "GET /%00%7F%C2%9B HTTP/1.1" 200 OK'),
    (get("/a%20b/%C3%A4~_.-"), 404, '10.0.0.1:1234 - "GET /a%20b/%C3%A4~_.- HTTP/1.1" 404 Not Found'),
    (get("/%ff"), 200, '10.0.0.1:1234 - "GET /%EF%BF%BD HTTP/1.1" 200 OK'),
    (get('/"?"'), 200, '10.0.0.1:1234 - "GET /%22?" HTTP/1.1" 200 OK'),
    (get("/?%1b"), 200, '10.0.0.1:1234 - "GET /?%1b HTTP/1.1" 200 OK'),
    (get(method="POST", version="1.0"), 500, '10.0.0.1:1234 - "POST / HTTP/1.0" 500 Internal Server Error'),
    (get(method="DELETE"), 599, '10.0.0.1:1234 - "DELETE / HTTP/1.1" 599 '),
    (get("http://x/p"), 301, '10.0.0.1:1234 - "GET /p HTTP/1.1" 301 Moved Permanently'),
]


@pytest.mark.parametrize(("request_bytes", "status", "line"), LINES)
def test_lines(log: Setup, request_bytes: bytes, status: int, line: str) -> None:
    log.wire(hello(b"", status)).connect().feed(request_bytes)
    assert log.stream.writes == [f"INFO:     {line}\n"]


@pytest.mark.parametrize(("request_bytes", "status", "line"), LINES)
@pytest.mark.parametrize("colours", [False, True])
def test_both_ways_give_the_same_text(log: Setup, request_bytes: bytes, status: int, line: str, colours: bool) -> None:
    log.formatter.use_colors = colours
    wire = log.wire(hello(b"", status))
    wire.connect().feed(request_bytes)
    (direct,) = log.stream.writes
    records = log.records_from_here()
    log.stream.writes.clear()
    wire.connect().feed(request_bytes)
    assert "".join(log.stream.writes) == direct
    assert len(records.records) == 1
    assert ("\x1b[" in direct) is colours
    assert direct.isprintable() or colours or direct == direct.rstrip("\n") + "\n"


def test_raw_control_bytes_never_get_out(log: Setup) -> None:
    wire = log.wire()
    everything = "".join(f"%{byte:02x}" for byte in range(256))
    wire.connect().feed(get(f"/{everything}"))
    assert all(0x20 <= ord(character) < 0x7F for character in log.stream.writes[0].rstrip("\n"))


def test_queries_with_odd_bytes(log: Setup) -> None:
    wire = log.wire()
    wire.connect().feed(get("/?a\"b\\c'<>"))
    assert log.stream.writes == ['INFO:     10.0.0.1:1234 - "GET /?a"b\\c\'<> HTTP/1.1" 200 OK\n']


def test_lines_of_a_turn_leave_in_one_write(log: Setup) -> None:
    wire = log.wire()
    peers = [wire.connect() for _ in range(5)]
    for _ in range(20):
        for peer in peers:
            peer.put(get())
        wire.settle()
    log.stream.writes.clear()
    log.stream.flushes = 0
    for number, peer in enumerate(peers):
        peer.put(get(f"/{number}"))
    wire.settle()
    assert len(log.stream.writes) == 1
    assert log.stream.flushes == 1
    assert [line.split()[4] for line in log.stream.writes[0].splitlines()] == [f"/{number}" for number in range(5)]


class Pipe(io.RawIOBase):
    """Keeps what each write(2) would have got."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.writes.append(bytes(data))
        return len(data)


def test_no_write_is_so_long_that_a_pipe_may_tear_a_line(log: Setup) -> None:
    """Whatever the application has printed; a line that is too long in any case does not spoil another one."""
    pipe = Pipe()
    stdout = io.TextIOWrapper(io.BufferedWriter(pipe, 4096), encoding="utf-8")
    log.handler.setStream(stdout)  # type: ignore[arg-type]
    stdout.write("printed by the application\n" * 100)
    long = "x" * 5000
    paths = [*(f"/{number}{'p' * 370}" for number in range(20)), f"/{long}", *(f"/{number}" for number in range(100))]
    log.wire().connect().feed(b"".join(map(get, paths)))
    lines = b"".join(pipe.writes).decode().splitlines()[100:]
    assert [line.split()[4] for line in lines] == paths
    short = [each for each in pipe.writes if long.encode() not in each]
    assert all(len(each) <= 4096 and each.endswith(b"\n") for each in short)
    assert b"".join(each for each in pipe.writes if each not in short).count(b"\n") == 1


def test_lines_for_an_unbuffered_file_are_whole_or_reported(log: Setup) -> None:
    """As for standard output of `python -u`, whose text layer drops what a pipe does not take."""
    read, write = os.pipe()
    os.set_blocking(write, False)
    reported: list[logging.LogRecord] = []
    log.handler.handleError = reported.append  # type: ignore[method-assign, assignment]
    with io.FileIO(read) as pipe, io.FileIO(write, "wb") as file:
        log.handler.setStream(io.TextIOWrapper(file, encoding="utf-8", write_through=True))  # type: ignore[arg-type]
        wire = log.wire()
        sent = 0
        while not reported and sent < 1000:
            wire.connect().feed(get(f"/{sent}{'p' * 2000}"))
            sent += 1
        assert "".join(each.getMessage() for each in reported).split()[4].startswith(f"/{sent - 1}p")
        lines = pipe.read(1 << 20).decode().splitlines(keepends=True)
        assert [line.split()[4].strip("/p") for line in lines] == [f"{number}" for number in range(sent - 1)]
        wire.connect().feed(get("/after"))
        assert pipe.read(1 << 20).decode().split()[4] == "/after"
        log.handler.setStream(log.stream)


def test_a_handler_without_a_lock(log: Setup) -> None:
    log.handler.lock = None
    log.wire().connect().feed(get("/"))
    assert "".join(log.stream.writes).count("\n") == 1


class Counting(io.TextIOWrapper):
    """Counts what is written to a file."""

    count = 0

    def write(self, text: str) -> int:
        self.count += 1
        return super().write(text)


def test_a_regular_file_takes_the_lines_of_a_turn_in_one_write(log: Setup, tmp_path: Path) -> None:
    with (tmp_path / "log").open("ab") as file, Counting(file, encoding="utf-8") as stream:
        log.handler.setStream(stream)  # type: ignore[arg-type]
        wire = log.wire()
        peers = [wire.connect() for _ in range(5)]
        for _ in range(20):
            for peer in peers:
                peer.put(get())
            wire.settle()
        stream.count = 0
        for peer in peers:
            peer.put(get(f"/{'p' * 2000}"))
        wire.settle()
        assert stream.count == 1
        assert (tmp_path / "log").read_text().count("p" * 2000) == 5


def test_lines_that_cannot_be_written_in_one_go(log: Setup, capsys: pytest.CaptureFixture[str]) -> None:
    log.stream.broken = True
    log.wire().connect().feed(get(f"/{'p' * 370}") * 20)
    assert capsys.readouterr().err.count("OSError: no space") == 1


def test_pipelined_requests_leave_in_one_write(log: Setup) -> None:
    log.wire().connect().feed(get("/1") + get("/2") + get("/3"))
    assert "".join(log.stream.writes).count("\n") == 3
    assert len(log.stream.writes) <= 2


def test_lines_that_are_held_are_written_at_the_end(log: Setup) -> None:
    wire = log.wire()
    peers = [wire.connect() for _ in range(5)]
    for _ in range(20):
        for peer in peers:
            peer.put(get())
        wire.settle()
    before = "".join(log.stream.writes).count("\n")
    for peer in peers:
        peer.put(get())
    wire.turn()
    wire.worker.close()
    wire.turn(3)
    wire.worker.close()
    assert "".join(log.stream.writes).count("\n") == before + 5


def test_no_client_address(log: Setup) -> None:
    log.wire().connect(peername=None, sockname="/tmp/s").feed(get())
    assert log.stream.writes == ['INFO:      - "GET / HTTP/1.1" 200 OK\n']


def test_client_that_middleware_has_changed(log: Setup) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        scope["client"] = ("1.2.3.4", 0)
        await hello()(scope, receive, send)

    wire = log.wire(app)
    wire.connect().feed(get())
    assert log.stream.writes == ['INFO:     1.2.3.4:0 - "GET / HTTP/1.1" 200 OK\n']
    records = log.records_from_here()
    wire.connect().feed(get())
    assert records.records[0].args == ("1.2.3.4:0", "GET", "/", "1.1", 200)


def change_handler(log: Setup) -> None:
    log.logger.addHandler(logging.NullHandler())


def change_filter(log: Setup) -> None:
    log.logger.addFilter(lambda record: True)


def change_handler_filter(log: Setup) -> None:
    log.handler.addFilter(lambda record: True)


def change_formatter(log: Setup) -> None:
    class Own(AccessFormatter):
        pass

    log.handler.setFormatter(Own(ACCESS_FORMAT, use_colors=False))


def change_format(log: Setup) -> None:
    log.handler.setFormatter(AccessFormatter("%(message)s", use_colors=False))


def change_handler_class(log: Setup) -> None:
    class Own(logging.StreamHandler):  # type: ignore[type-arg]
        pass

    handler = Own(log.stream)
    handler.setFormatter(log.formatter)
    log.logger.handlers = [handler]


def change_propagation(log: Setup) -> None:
    log.logger.propagate = True


def change_emit(log: Setup) -> None:
    emit = log.handler.emit
    log.handler.emit = emit  # type: ignore[method-assign]


def change_handle(log: Setup) -> None:
    handle = log.logger.handle
    log.logger.handle = handle  # type: ignore[method-assign]


CHANGES = [change_handler, change_filter, change_handler_filter, change_formatter, change_format,
           change_handler_class, change_propagation, change_emit, change_handle]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("early", [False, True])
def test_any_change_brings_real_records(
    log: Setup, monkeypatch: pytest.MonkeyPatch, change: Callable[[Setup], None], early: bool
) -> None:
    """Records have uvicorn's five arguments, from the first line after the change on."""
    made: list[Any] = []
    real = logging.LogRecord

    class Watched(real):  # type: ignore[misc, valid-type]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            made.append((self.name, self.levelno, self.msg, self.args))

    wire = log.wire()
    peer = wire.connect()
    if not early:
        peer.feed(get())
    lines = len(log.stream.writes)
    old = logging.getLogRecordFactory()
    logging.setLogRecordFactory(Watched)
    try:
        peer.feed(get())
        assert made == []
        change(log)
        peer.feed(get("/a%20b?c"))
    finally:
        logging.setLogRecordFactory(old)
    expected = (log.logger.name, logging.INFO, '%s - "%s %s HTTP/%s" %d',
                ("10.0.0.1:1234", "GET", "/a%20b?c", "1.1", 200))  # fmt: skip
    assert made[:1] == [expected]
    assert len(log.stream.writes) > lines + 1


@pytest.mark.parametrize("how", ["level", "handler level", "disabled", "no handler", "logging.disable"])
def test_switched_off(log: Setup, how: str) -> None:
    peer = log.wire().connect()
    peer.feed(get())
    written = list(log.stream.writes)
    try:
        if how == "level":
            log.logger.setLevel(logging.WARNING)
        elif how == "handler level":
            log.handler.setLevel(logging.WARNING)
        elif how == "disabled":
            log.logger.disabled = True
        elif how == "no handler":
            log.logger.handlers = [logging.NullHandler()]
        else:
            logging.disable(logging.INFO)
        peer.feed(get())
        assert log.stream.writes == written
    finally:
        logging.disable(logging.NOTSET)


def test_colours_may_change(log: Setup) -> None:
    peer = log.wire().connect()
    peer.feed(get())
    log.formatter.use_colors = True
    peer.feed(get())
    log.formatter.use_colors = False
    peer.feed(get())
    assert ["\x1b[" in text for text in log.stream.writes] == [False, True, False]


def test_stream_may_change(log: Setup) -> None:
    peer = log.wire().connect()
    peer.feed(get())
    other = Stream()
    log.handler.setStream(other)
    peer.feed(get())
    assert (len(log.stream.writes), len(other.writes)) == (1, 1)


def test_back_to_plain(log: Setup) -> None:
    peer = log.wire().connect()
    records = log.records_from_here()
    peer.feed(get())
    log.logger.removeHandler(records)
    peer.feed(get())
    assert len(records.records) == 1
    assert len(log.stream.writes) == 2


def test_stream_that_fails(log: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    handled: list[logging.LogRecord] = []
    monkeypatch.setattr(logging.StreamHandler, "handleError", lambda self, record: handled.append(record))
    peer = log.wire().connect()
    log.stream.broken = True
    assert peer.feed(get()).startswith(b"HTTP/1.1 200")
    assert len(handled) == 1
    log.stream.broken = False
    peer.feed(get())
    assert len(log.stream.writes) == 1


def test_answers_of_the_server(log: Setup) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise ValueError

    wire = log.wire(app, limit_concurrency=2)
    first, second = wire.connect(), wire.connect()
    second.feed(get("/2"))
    second.eof()
    first.feed(get("/1"))
    assert [text.split('"')[1:] for text in log.stream.writes] == [
        ["GET /2 HTTP/1.1", " 503 Service Unavailable\n"], ["GET /1 HTTP/1.1", " 500 Internal Server Error\n"],
    ]  # fmt: skip


def test_one_line_a_response(log: Setup) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})
        for _ in range(3):
            await send({"type": "http.response.body", "body": b"x", "more_body": True})
        raise ValueError

    log.wire(app).connect().feed(get())
    assert "".join(log.stream.writes).count("\n") == 1
