"""Hubs whose `changed`, which may lead to an engine of the application's own, fails."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest
from core.topics.test_fan_out import joined, member, tell, texts
from fakes.worker import FakeWorker, get

from fastserve._core.topics.subscription import Subscription

Work = Callable[..., FakeWorker]


class Visitors:
    """An application whose connections subscribe to each list of topics in their path, whether it can be or not."""

    def __init__(self) -> None:
        self.hub: Any = None
        self.faults: list[str] = []
        self.subscriptions: list[Subscription] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
        else:
            await send({"type": "http.response.start", "status": 200, "headers": []})
        for names in scope["path"][1:].split("/"):
            subscription = Subscription(self.hub, tuple(names.split(",")))
            self.subscriptions.append(subscription)
            try:
                await send({"type": "fastserve.topics.subscribe", "subscription": subscription})
            except OSError as error:
                self.faults.append(str(error))
        while "disconnect" not in (await receive())["type"]:
            pass


class Changes:
    """Fails once for each topic that is called bad, as that gets its first subscriber."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, bool]] = []

    def __call__(self, name: str, there: bool) -> None:
        self.seen.append((name, there))
        if there and name.startswith("bad") and self.seen.count((name, there)) == 1:
            raise OSError(name)


@pytest.mark.parametrize("path", ["bad", "good/bad", "bad/good", "bad,good", "good,bad", "good/one,bad,two"])
def test_a_topic_that_cannot_be_subscribed_to(sockets: Work, path: str) -> None:
    app = Visitors()
    wire = sockets(app)
    changes = Changes()
    hub = joined(wire, changed=changes)
    peer = member(wire, path)
    assert app.faults == ["bad"]
    assert [each.active for each in app.subscriptions] == ["bad" not in each for each in path.split("/")]
    rest = [each for each in path.split("/") if "bad" not in each]
    assert hub.subscriptions == len(hub.topics) == len(rest)
    tell(wire, hub, "x", topic="good")
    tell(wire, hub, "y", topic="bad")
    assert texts(peer) == ["x"] * len(rest)
    second = member(wire, "bad")
    assert changes.seen.count(("bad", True)) == 2
    tell(wire, hub, "z", topic="bad")
    assert texts(second) == ["z"]
    peer.lose()
    second.lose()
    assert (hub.topics, hub.subscriptions) == ({}, 0)


def test_of_an_event_stream(work: Work) -> None:
    app = Visitors()
    wire = work(app)
    hub = joined(wire, changed=Changes())
    peer = wire.connect()
    peer.feed(get("/bad/bad"))
    assert app.faults == ["bad"]
    assert hub.count("bad") == 1
    peer.lose()
    assert (hub.topics, hub.subscriptions) == ({}, 0)


@pytest.mark.parametrize("path", ["bad-1,good", "good,bad-1,bad-2", "bad-1/good", "good/bad-1/bad-2"])
def test_a_topic_that_cannot_be_left(sockets: Work, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda each: found.append(str(each.exc_value)))

    def changed(name: str, there: bool) -> None:
        if not there:
            seen.append(name)
            if name.startswith("bad"):
                raise OSError(name)

    seen: list[str] = []
    gone: list[Any] = []
    wire = sockets(Visitors())
    hub = joined(wire, changed=changed, gone=lambda each: gone.append(each.key))
    peer = member(wire, path)
    app: Any = wire.worker.app
    app.subscriptions[-1].connection.known_by("its key")
    peer.lose()
    assert sorted(seen) == sorted(path.replace("/", ",").split(","))
    assert (hub.topics, hub.subscriptions, gone) == ({}, 0, ["its key"])
    assert len(found) == 1
    assert found[0].startswith("bad")
