"""One exchange in the terms of ASGI, over two versions of HTTP; tests/asgi has what a client sees of it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from core import responses
from fakes import other_http, worker
from fakes.worker import FakeWorker, respond

from fastserve._core.errors import ClientDisconnected

Work = Callable[..., FakeWorker]
DISCONNECT = {"type": "http.disconnect"}
HTTP1 = SimpleNamespace(
    get=worker.get, post=worker.post, read_one=responses.read_one, read_responses=responses.read_responses
)


class Script:
    """An application that hands its scope, receive and send out, and ends when told to."""

    def __init__(self) -> None:
        self.scope: Any = None
        self.receive: Any = None
        self.send: Any = None
        self.end: asyncio.Future[None]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scope, self.receive, self.send = scope, receive, send
        self.end = asyncio.get_running_loop().create_future()
        await self.end

    def finish(self, wire: FakeWorker) -> None:
        self.scope = self.receive = self.send = None
        wire.call(self.end.set_result, None)


def run(wire: FakeWorker, awaitable: Any) -> Any:
    """What awaiting it gives, in a task beside the application."""

    async def wait() -> Any:
        return await awaitable

    return wire.loop.run_until_complete(wait())


def start(wire: FakeWorker, awaitable: Any) -> asyncio.Task[Any]:
    async def wait() -> Any:
        return await awaitable

    task = wire.loop.create_task(wait())
    wire.settle()
    return task


@pytest.fixture(params=["http1", pytest.param("other", marks=pytest.mark.tree)])
def work(request: pytest.FixtureRequest, work: Work) -> Work:
    """Make workers as the fixture of that name does, which speak one version of HTTP or the other."""
    versions = (request.getfixturevalue("other_version"),) if request.param == "other" else None

    def make(app: Any, **options: Any) -> FakeWorker:
        wire = work(app, versions=versions, **options)
        wire.speech = HTTP1 if versions is None else other_http
        return wire

    return make


@pytest.fixture
def script() -> Script:
    return Script()


def test_pieces_that_have_come_are_given_together(work: Work, script: Script) -> None:
    wire = work(script)
    peer = wire.connect()
    peer.feed(wire.speech.get("/", "Content-Length: 9", method="POST") + b"one")
    peer.feed(b"two")
    assert run(wire, script.receive()) == {"type": "http.request", "body": b"onetwo", "more_body": True}
    task = start(wire, script.receive())
    assert not task.done()
    peer.feed(b"six")
    assert task.result() == {"type": "http.request", "body": b"six", "more_body": False}
    script.finish(wire)


def test_a_read_that_is_all_body_is_not_copied(work: Work, script: Script) -> None:
    wire = work(script)
    peer = wire.connect()
    peer.feed(wire.speech.get("/", "Content-Length: 5000", method="POST"))
    piece = bytes(5000)
    peer.feed(piece)
    assert run(wire, script.receive())["body"] is piece
    script.finish(wire)


def test_reading_stops_and_goes_on(work: Work, script: Script) -> None:
    wire = work(script)
    peer = wire.connect()
    peer.feed(wire.speech.get("/", "Content-Length: 1000000", method="POST"))
    fed = 0
    while peer.transport.calls == [] and fed < 1000000:
        peer.feed(bytes(20000))
        fed += 20000
    assert 65536 < fed < 200000
    assert len(run(wire, script.receive())["body"]) == fed
    assert peer.transport.calls == ["pause_reading", "resume_reading"]
    script.finish(wire)


def test_reading_that_was_stopped_goes_on_behind_the_response(work: Work) -> None:
    go: list[asyncio.Future[None]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        go.append(asyncio.get_running_loop().create_future())
        await go[-1]
        await respond(send)

    wire = work(app)
    peer = wire.connect()
    peer.feed(wire.speech.get("/", "Content-Length: 200000", method="POST"))
    fed = 0
    while peer.transport.calls == [] and fed < 180000:
        peer.feed(bytes(20000))
        fed += 20000
    wire.call(go[0].set_result, None)
    assert wire.speech.read_one(peer.take()).status == 200
    assert peer.transport.calls == ["pause_reading", "resume_reading"]
    peer.feed(bytes(200000 - fed) + wire.speech.get("/2"))
    wire.call(go[1].set_result, None)
    assert wire.speech.read_one(peer.take()).status == 200


def test_disconnect_wakes_every_receive(work: Work, script: Script) -> None:
    wire = work(script)
    peer = wire.connect()
    peer.feed(wire.speech.get())
    run(wire, script.receive())
    tasks = [start(wire, script.receive()) for _ in range(3)]
    peer.lose()
    assert [task.result() for task in tasks] == [DISCONNECT] * 3
    assert run(wire, script.receive()) == DISCONNECT
    script.finish(wire)
    assert wire.messages == []


def test_a_body_that_has_come_is_given_before_the_disconnect(work: Work, script: Script) -> None:
    wire = work(script)
    peer = wire.connect()
    peer.feed(wire.speech.post(b"all"))
    peer.lose()
    assert run(wire, script.receive()) == {"type": "http.request", "body": b"all", "more_body": False}
    assert run(wire, script.receive()) == DISCONNECT
    script.finish(wire)


def test_send_after_the_loss(work: Work, script: Script) -> None:
    wire = work(script, raise_disconnect=True)
    peer = wire.connect()
    peer.feed(wire.speech.get())
    peer.lose()
    for _ in range(2):
        with pytest.raises(ClientDisconnected):
            run(wire, script.send({"type": "http.response.start", "status": 200}))
    script.finish(wire)
    assert wire.messages == []


class TestToNobody:
    """send() once the client is gone; tests/compat/test_nobody.py has what applications see of a cancellation in it."""

    PIECE: ClassVar[dict[str, Any]] = {"type": "http.response.body", "body": b"x", "more_body": True}

    @pytest.fixture
    def wire(self, work: Work, script: Script) -> Iterator[FakeWorker]:
        wire = work(script)
        peer = wire.connect()
        peer.feed(wire.speech.get())
        peer.lose()
        yield wire
        script.finish(wire)
        assert wire.messages == []

    def test_each_gives_the_loop_a_turn(self, wire: FakeWorker, script: Script) -> None:
        turns: list[str] = []

        async def flood() -> None:
            for _ in range(20):
                turns.append("sent")
                await script.send(self.PIECE)

        async def tick() -> None:
            for _ in range(20):
                turns.append("other")
                await asyncio.sleep(0)

        async def both() -> None:
            await asyncio.gather(flood(), tick())

        wire.loop.run_until_complete(both())
        assert turns == ["sent", "other"] * 20

    def test_tasks_that_are_cancelled_together(self, wire: FakeWorker, script: Script) -> None:
        """Each is put off for itself."""
        sent: list[int] = []

        async def flood(number: int) -> None:
            while True:
                await script.send(self.PIECE)
                sent.append(number)

        async def both() -> None:
            tasks = [asyncio.create_task(flood(number)) for number in range(2)]
            await asyncio.sleep(0)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            assert all(task.cancelled() for task in tasks)

        wire.loop.run_until_complete(both())
        assert sent == [0, 1] * 16

    def test_what_is_put_off_is_forgotten_in_the_next_turn(self, wire: FakeWorker, script: Script) -> None:
        """A later one is put off as often."""
        waits: list[str] = []

        async def work() -> None:
            for _ in range(40):
                asyncio.get_running_loop().call_soon(task.cancel)
                await script.send(self.PIECE)
                try:
                    await asyncio.sleep(1000)
                except asyncio.CancelledError:
                    waits.append("cancelled")

        task = wire.loop.create_task(work())
        wire.loop.run_until_complete(task)
        assert waits == ["cancelled"] * 40

    @pytest.mark.parametrize("error", [ValueError, GeneratorExit, KeyboardInterrupt])
    @pytest.mark.parametrize("made", [True, False])
    def test_any_other_exception_is_raised(
        self, wire: FakeWorker, script: Script, error: type[BaseException], made: bool
    ) -> None:
        async def run() -> None:
            sending = script.send(self.PIECE)
            assert sending.send(None) is None
            with pytest.raises(error):
                sending.throw(error() if made else error)
            with pytest.raises(RuntimeError, match="cannot reuse"):
                sending.send(None)

        wire.loop.run_until_complete(run())

    def test_a_cancellation_by_hand_is_raised(self, wire: FakeWorker, script: Script) -> None:
        """Nobody has cancelled the task, so it could not be put off."""

        async def run() -> None:
            sending = script.send(self.PIECE)
            sending.send(None)
            with pytest.raises(asyncio.CancelledError):
                sending.throw(asyncio.CancelledError())

        if sys.version_info >= (3, 11):  # before, a task cannot tell
            wire.loop.run_until_complete(run())
        sending = script.send(self.PIECE)  # where no loop runs
        sending.send(None)
        with pytest.raises(asyncio.CancelledError):
            sending.throw(asyncio.CancelledError())

    def test_closing_a_coroutine_that_is_in_it(self, wire: FakeWorker, script: Script) -> None:
        told: list[str] = []

        async def work() -> None:
            try:
                await script.send(self.PIECE)
            finally:
                told.append("closed")

        coroutine = work()
        coroutine.send(None)
        coroutine.close()
        assert told == ["closed"]


@pytest.mark.parametrize("how", ["eof", "lose"])
def test_the_disconnect_comes_before_an_empty_body(work: Work, script: Script, how: str) -> None:
    wire = work(script)
    peer = wire.connect()
    peer.feed(wire.speech.get())
    getattr(peer, how)()
    assert run(wire, script.receive()) == DISCONNECT
    script.finish(wire)


def test_the_first_step_has_an_empty_body_before_the_disconnect(work: Work) -> None:
    """Else a request in a batch fails if the end of its connection is read with it, and outside of one it does not."""
    told: list[list[Any]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        told.append([await receive()])
        await respond(send, b"answer")
        told[-1].append(await receive())

    wire = work(app)
    peers = [wire.connect() for _ in range(8)]
    for _ in range(100):  # requests that come together are run in batches after a while
        for peer in peers:
            peer.put(wire.speech.get())
        wire.settle()
        assert all(peer.take() for peer in peers)
    for peer in peers:
        peer.put(wire.speech.get())
    assert wire.speech.read_one(peer.eof()).body == b"answer"
    assert told == [[{"type": "http.request", "body": b"", "more_body": False}, DISCONNECT]] * 808


def test_an_application_that_has_waited_is_told_of_the_end_first(work: Work) -> None:
    told = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        told.append(await receive())

    wire = work(app)
    peer = wire.connect()
    peer.put(wire.speech.get())
    peer.eof()
    assert told == [DISCONNECT]


def test_send_waits_for_a_client_that_does_not_read(work: Work, script: Script) -> None:
    wire = work(script)
    peer = wire.connect()
    peer.feed(wire.speech.get())
    peer.transport.stuck = True
    run(wire, script.send({"type": "http.response.start", "status": 200}))
    waiting = start(wire, script.send({"type": "http.response.body", "body": bytes(100000), "more_body": True}))
    more = start(wire, script.send({"type": "http.response.body", "body": b"x", "more_body": True}))
    assert not waiting.done()
    assert not more.done()
    wire.call(peer.transport.unstick)
    assert waiting.done()
    assert more.done()
    run(wire, script.send({"type": "http.response.body"}))
    assert wire.speech.read_one(peer.take()).body == bytes(100000) + b"x"
    script.finish(wire)


def test_send_that_waits_sees_the_loss(work: Work, script: Script) -> None:
    wire = work(script, raise_disconnect=True)
    peer = wire.connect()
    peer.feed(wire.speech.get())
    peer.transport.stuck = True
    run(wire, script.send({"type": "http.response.start", "status": 200}))
    waiting = start(wire, script.send({"type": "http.response.body", "body": bytes(100000), "more_body": True}))
    peer.lose()
    assert isinstance(waiting.exception(), ClientDisconnected)
    script.finish(wire)


def test_send_that_waits_returns_at_the_loss(work: Work, script: Script) -> None:
    wire = work(script)
    peer = wire.connect()
    peer.feed(wire.speech.get())
    peer.transport.stuck = True
    run(wire, script.send({"type": "http.response.start", "status": 200}))
    waiting = start(wire, script.send({"type": "http.response.body", "body": bytes(100000), "more_body": True}))
    assert not waiting.done()
    peer.lose()
    assert waiting.result() is None
    script.finish(wire)


def test_half_close_is_a_disconnect_and_the_response_goes_out(work: Work, script: Script) -> None:
    wire = work(script)
    peer = wire.connect()
    peer.feed(wire.speech.get())
    run(wire, script.receive())
    waiting = start(wire, script.receive())
    peer.eof()
    assert waiting.result() == DISCONNECT
    run(wire, respond(script.send, b"answer"))
    assert wire.speech.read_one(peer.take()).body == b"answer"
    script.finish(wire)


def test_application_that_is_no_coroutine_function(work: Work) -> None:
    def app(scope: Any, receive: Any, send: Any) -> Any:
        return respond(send, b"answer")

    wire = work(app)
    assert wire.speech.read_one(wire.connect().feed(wire.speech.get())).body == b"answer"


@pytest.mark.parametrize("problem", ["raises", "gives no awaitable", "takes no arguments"])
def test_application_that_cannot_be_called(work: Work, problem: str) -> None:
    def raises(scope: Any, receive: Any, send: Any) -> Any:
        raise ValueError

    apps: dict[str, Any] = {
        "raises": raises,
        "gives no awaitable": lambda scope, receive, send: 3,
        "takes no arguments": respond.__class__,
    }
    wire = work(apps[problem])
    assert wire.speech.read_one(wire.connect().feed(wire.speech.get())).status == 500
    assert wire.messages == ["Exception in ASGI application\n"]
    wire.errors.clear()


def test_counts(work: Work, script: Script) -> None:
    wire = work(script)
    peer = wire.connect()
    assert (wire.worker.active, wire.worker.total_requests, len(wire.worker.tasks)) == (0, 0, 0)
    peer.feed(wire.speech.get())
    assert (wire.worker.active, wire.worker.total_requests, len(wire.worker.tasks)) == (1, 1, 1)
    script.finish(wire)
    assert (wire.worker.active, wire.worker.total_requests, len(wire.worker.tasks)) == (0, 1, 0)
    wire.errors.clear()


def test_an_exchange_that_ends_in_its_first_step_is_no_task_of_the_worker(work: Work) -> None:
    seen: list[int] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await respond(send)
        seen.append(len(wire.worker.tasks))

    wire = work(app)
    wire.connect().feed(wire.speech.get())
    assert seen == [0]
    assert len(wire.worker.tasks) == 0


def test_background_work_does_not_hold_up_the_next_request(work: Work) -> None:
    waiting: list[asyncio.Future[None]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await respond(send, scope["path"].encode())
        waiting.append(asyncio.get_running_loop().create_future())
        await waiting[-1]

    wire = work(app)
    peer = wire.connect()
    answers = wire.speech.read_responses(peer.feed(wire.speech.get("/1") + wire.speech.get("/2")))
    assert [each.body for each in answers] == [b"/1", b"/2"]
    assert len(wire.worker.tasks) == 2
    peer.lose()
    for future in waiting:
        wire.call(future.set_result, None)
    assert wire.messages == []
