"""The core items of the ASGI checklist (1 to 9): each test's name carries the number of its item."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
import support
from core.responses import Client, read_one
from fakes.worker import get, post, respond

from fastserve._core.errors import ClientDisconnected

Connect = Callable[..., Client]
Log = Callable[[], list[str]]
KINDS = (bytes, str, int, float, list, tuple, dict, bool, type(None))

BAD_MESSAGES: dict[str, tuple[list[Any], str]] = {
    "unknown type": ([{"type": "http.response.nothing"}], "RuntimeError"),
    "no type": ([{"status": 200}], "KeyError"),
    "body first": ([{"type": "http.response.body", "body": b""}], "RuntimeError"),
    "no status": ([{"type": "http.response.start"}], "KeyError"),
    "text status": ([{"type": "http.response.start", "status": "200"}], "TypeError"),
    "status 42": ([{"type": "http.response.start", "status": 42}], "ValueError"),
    "two starts": ([{"type": "http.response.start", "status": 200}] * 2, "RuntimeError"),
    "header of a number": ([{"type": "http.response.start", "status": 200, "headers": [(b"a", 5)]}], "TypeError"),
    "text beyond ASCII": (
        [{"type": "http.response.start", "status": 200, "headers": [("\xe4", b"b")]}],
        "UnicodeEncodeError",
    ),
    "headers of no pairs": ([{"type": "http.response.start", "status": 200, "headers": [(b"a",)]}], "ValueError"),
    "headers None": ([{"type": "http.response.start", "status": 200, "headers": None}], "TypeError"),
    "text body": (
        [{"type": "http.response.start", "status": 200}, {"type": "http.response.body", "body": "x"}],
        "TypeError",
    ),
    "body a list": (
        [{"type": "http.response.start", "status": 200}, {"type": "http.response.body", "body": [1, 2]}],
        "TypeError",
    ),
    "not a dict": ([5], "TypeError"),
    "None": ([None], "TypeError"),
}


@pytest.fixture(params=["auto", "http2"])
def http(request: pytest.FixtureRequest) -> str:
    wire: str = request.param
    return wire


def plain(value: Any) -> bool:
    """Whether an event holds nothing but what ASGI allows."""
    if isinstance(value, dict):
        return all(type(key) is str and plain(each) for key, each in value.items())
    if isinstance(value, (list, tuple)):
        return all(map(plain, value))
    return type(value) in KINDS


def test_item_1_one_call_a_request(client: Connect) -> None:
    calls = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        calls.append(scope)
        assert type(scope) is dict
        await respond(send)

    connected = client(app)
    for _ in range(3):
        connected.ask(get())
    assert [call["type"] for call in calls] == ["http"] * 3
    assert len(set(map(id, calls))) == 3


@pytest.mark.parametrize("kind", ["function", "object", "returns a coroutine", "method", "returns a future"])
def test_item_1_any_callable(client: Connect, kind: str) -> None:
    async def function(scope: Any, receive: Any, send: Any) -> None:
        await respond(send, b"here")

    class Application:
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            await respond(send, b"here")

        async def method(self, scope: Any, receive: Any, send: Any) -> None:
            await respond(send, b"here")

    def returns(scope: Any, receive: Any, send: Any) -> Any:
        return function(scope, receive, send)

    def future(scope: Any, receive: Any, send: Any) -> Any:
        return asyncio.ensure_future(function(scope, receive, send))

    apps = {"function": function, "object": Application(), "returns a coroutine": returns,
            "method": Application().method, "returns a future": future}  # fmt: skip
    assert client(apps[kind], interface="asgi3").ask(get()).body == b"here"


@pytest.mark.parametrize(("disconnect", "version"), [("silent", "2.3"), ("raise", "2.5")])
def test_item_2_versions(client: Connect, disconnect: str, version: str) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await respond(send, repr(scope["asgi"]).encode())

    body = client(app, disconnect=disconnect).ask(get()).body
    assert body == repr({"version": "3.0", "spec_version": version}).encode()


def test_item_3_double_callable(client: Connect) -> None:
    class Application:
        def __init__(self, scope: Any) -> None:
            self.path = scope["path"]

        async def __call__(self, receive: Any, send: Any) -> None:
            await respond(send, self.path.encode())

    assert client(Application).ask(get("/two")).body == b"/two"


def test_item_4_only_plain_types(client: Connect) -> None:
    seen: list[Any] = []
    done = threading.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.extend([scope, await receive()])
        await respond(send)
        seen.append(await receive())
        done.set()

    client(app).ask(post(b"abc", "X: y"))
    assert done.wait(support.PATIENCE)  # without a global lock the response comes before
    assert [each["type"] for each in seen] == ["http", "http.request", "http.disconnect"]
    assert all(map(plain, seen))


@pytest.mark.parametrize("case", BAD_MESSAGES)
@pytest.mark.parametrize("kept", [False, True])
def test_item_5_send_raises_for_a_wrong_message(serve: support.Serve, log: Log, case: str, kept: bool) -> None:
    """The fault is the application's to see; the exchange ends in a 500 where nothing was sent."""
    messages, error = BAD_MESSAGES[case]
    raised: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/good":
            await respond(send, b"good")
            return
        try:
            for message in messages:
                await send(message)
        except Exception as exception:
            raised.append(type(exception).__name__)
            if not kept:
                raise

    server = serve(app)
    response = read_one(server.request(get()))
    assert raised == [error]
    assert (response.status, response.body) == (500, b"Internal Server Error")
    expected = "ASGI callable returned without" if kept else "Exception in ASGI application"
    assert len(log()) == 1
    assert log()[0].startswith(f"ERROR {expected}")
    assert read_one(server.request(get("/good", "Connection: close"))).body == b"good"


def test_item_5_after_a_wrong_message_the_right_one_is_taken(client: Connect) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        for message in (
            {"type": "nothing"},
            {"type": "http.response.start", "status": 200, "headers": [(b"a", b"\n")]},
        ):
            with pytest.raises((RuntimeError, ValueError)):
                await send(message)
        await send({"type": "http.response.start", "status": 201, "headers": [(b"x", b"y")]})
        with pytest.raises(TypeError):
            await send({"type": "http.response.body", "body": 1})
        await send({"type": "http.response.body", "body": b"fine"})

    response = client(app).ask(get())
    assert (response.status, response.body, response.get(b"x"), response.get(b"a")) == (201, b"fine", b"y", None)


def test_item_6_unknown_keys(client: Connect, log: Log) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "unknown": object()})
        await send({"type": "http.response.body", "body": b"ok", "unknown": object(), 3: 4})

    assert client(app).ask(get()).body == b"ok"
    assert log() == []


def test_item_7_exception_before_the_head(client: Connect, log: Log, caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise ZeroDivisionError("secret")

    connected = client(app)
    response = connected.ask(get())
    assert (response.status, response.body) == (500, b"Internal Server Error")
    assert (response.get(b"content-type"), response.get(b"connection")) == (b"text/plain; charset=utf-8", b"close")
    assert connected.at_end()
    assert log() == ["ERROR Exception in ASGI application"]
    assert caplog.records[0].exc_info is not None
    assert "secret" in str(caplog.records[0].exc_info[1])
    assert "in app" in (caplog.text)


def test_item_7_exception_with_a_head_that_is_still_held(client: Connect, log: Log) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"x-leak", b"1")]})
        raise ZeroDivisionError

    connected = client(app)
    response = connected.ask(get())
    assert (response.status, response.get(b"x-leak")) == (500, None)
    assert connected.at_end()
    assert log() == ["ERROR Exception in ASGI application"]


@pytest.mark.parametrize("length", [True, False])
def test_item_7_exception_in_the_body_breaks_the_connection(client: Connect, log: Log, length: bool) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"content-length", b"10")] if length else []
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"part", "more_body": True})
        raise ZeroDivisionError

    connected = client(app)
    connected.send(get() + get())
    connected.read_until(b"part")
    rest = connected.data + support.read_all(connected.sock)
    assert rest in (b"", b"\r\n")
    assert log() == ["ERROR Exception in ASGI application"]


def test_item_7_exception_behind_the_response_does_not_harm_it(client: Connect, log: Log) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await respond(send, b"all of it")
        raise ZeroDivisionError

    connected = client(app)
    assert connected.ask(get()).body == b"all of it"
    assert connected.ask(get()).body == b"all of it"
    connected.close()
    assert set(log()) == {"ERROR Exception in ASGI application"}


@pytest.mark.parametrize("suspended", [False, True])
def test_item_7_each_exception_is_logged_once_and_the_server_goes_on(
    serve: support.Serve, log: Log, suspended: bool
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if suspended:
            await asyncio.sleep(0)
        if scope["path"] == "/bad":
            raise ValueError(scope["path"])
        await respond(send)

    server = serve(app)
    for _ in range(3):
        assert read_one(server.request(get("/bad"))).status == 500
        assert read_one(server.request(get("/", "Connection: close"))).status == 200
    assert log() == ["ERROR Exception in ASGI application"] * 3


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, asyncio.CancelledError, GeneratorExit])
def test_item_7_exceptions_that_are_not_exception(serve: support.Serve, log: Log, error: type[BaseException]) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/bad":
            raise error
        await respond(send)

    server = serve(app)
    assert read_one(server.request(get("/bad"))).status == 500
    assert read_one(server.request(get("/", "Connection: close"))).status == 200
    assert log() == ["ERROR Exception in ASGI application"]


@pytest.mark.parametrize("given", ["nothing", "head", "part"])
def test_item_7_application_that_returns_too_early(client: Connect, log: Log, given: str) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if given != "nothing":
            await send({"type": "http.response.start", "status": 200})
        if given == "part":
            await send({"type": "http.response.body", "body": b"part", "more_body": True})

    connected = client(app)
    connected.send(get())
    if given == "part":
        connected.read_until(b"part\r\n")
        assert connected.at_end()
    else:
        assert connected.read().status == 500
        assert connected.at_end()
    what = "starting" if given == "nothing" else "completing"
    assert log() == [f"ERROR ASGI callable returned without {what} response."]


def test_item_7_application_that_returns_something(client: Connect, log: Log) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> str:
        await respond(send)
        return "value"

    connected = client(app)
    assert connected.ask(get()).body == b"ok"
    assert connected.ask(get()).body == b"ok"
    assert log()[0] == "ERROR ASGI callable should return None, but returned 'value'."


def test_item_7_application_that_returns_what_cannot_be_shown(client: Connect, log: Log) -> None:
    class Odd:
        def __str__(self) -> str:
            raise LookupError("wanted")

    async def app(scope: Any, receive: Any, send: Any) -> Odd:
        return Odd()

    connected = client(app)
    connected.send(get())
    assert connected.read().status == 500
    assert connected.at_end()


@pytest.mark.parametrize("grouped", [False, True])
def test_item_8_disconnect_error_is_not_logged(serve: support.Serve, log: Log, grouped: bool) -> None:
    errors: list[type[BaseException]] = []
    done = threading.Event()

    class Group(Exception):
        """Shaped as an ExceptionGroup, which Python 3.10 does not have."""

        def __init__(self, exceptions: tuple[BaseException, ...]) -> None:
            self.exceptions = exceptions

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"x", "more_body": True})
        try:
            while (await receive())["type"] != "http.disconnect":
                pass
            await send({"type": "http.response.body", "body": b"x", "more_body": True})
            while True:
                await send({"type": "http.response.body", "body": b"x" * 65536, "more_body": True})
        except OSError as error:
            errors.append(type(error))
            if not grouped:
                raise
            raise Group((error, Group((error,)))) from None
        finally:
            done.set()

    server = serve(app, disconnect="raise")
    connected = Client(server.connect())
    connected.send(get())
    connected.read_until(b"x\r\n")
    connected.close()
    assert done.wait(60)
    assert errors == [ClientDisconnected]
    server.stop()
    assert log() == []


def test_item_8_another_error_beside_the_disconnect_is_logged(serve: support.Serve, log: Log) -> None:
    done = threading.Event()

    class Group(Exception):
        exceptions: tuple[BaseException, ...] = ()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            while (await receive())["type"] != "http.disconnect":
                pass
            group = Group()
            group.exceptions = (ClientDisconnected(), ValueError())
            raise group
        finally:
            done.set()

    server = serve(app)
    connected = Client(server.connect())
    connected.send(get())
    connected.close()
    assert done.wait(60)
    server.stop()
    assert log() == ["ERROR Exception in ASGI application"]
