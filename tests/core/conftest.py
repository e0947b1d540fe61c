from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fakes.other_http import compile_version
from fakes.websocket_streams import StreamPeer
from fakes.worker import TIME, FakeWorker
from garbage import assert_nothing_lives
from ws import FRAMINGS, framing_class


@pytest.fixture(autouse=True)
def time_stops() -> Iterator[None]:
    """What takes long here is said by the test, not by the machine; nor does garbage collection excuse it."""
    TIME.stop()
    gc.disable()
    yield
    gc.enable()
    TIME.go_on()


@pytest.fixture
def work() -> Iterator[Callable[..., FakeWorker]]:
    """Make workers without sockets: work(app, **settings) -> FakeWorker. They must leave nothing behind."""
    workers: list[FakeWorker] = []

    def make(app: Any, **options: Any) -> FakeWorker:
        workers.append(FakeWorker(app, **options))
        return workers[-1]

    yield make
    while workers:
        workers.pop().close()
    assert_nothing_lives()


@pytest.fixture(scope="session")
def other_version(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A version of HTTP that is not HTTP/1, for the versions of a worker."""
    return compile_version(tmp_path_factory.mktemp("other_http"))


@pytest.fixture(params=[*sorted(FRAMINGS), "http2"])
def sockets(request: pytest.FixtureRequest, work: Callable[..., FakeWorker]) -> Callable[..., FakeWorker]:
    """Make workers of one implementation: sockets(app, **settings) -> FakeWorker.

    The clients of one of them come by HTTP/2.
    """
    http2 = request.param == "http2"
    framing = None if http2 else framing_class(request.param)

    def make(app: Any, **settings: Any) -> FakeWorker:
        wire = work(app, **{"framing": framing, "ws_per_message_deflate": False, **settings})
        if http2:
            wire.make_peer = StreamPeer
        return wire

    return make
