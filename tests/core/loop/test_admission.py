"""The queue of requests that wait for others to end, alone: guests of a worker, and a clock that the tests move."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from fakes.worker import TIME, FakeWorker, hello

from fastserve._core.http.admission import Guest
from fastserve._core.metrics import SCALAR_CELLS

Work = Callable[..., FakeWorker]


class Door:
    """A worker with a limit, and what has become of its guests."""

    def __init__(self, wire: FakeWorker) -> None:
        self.wire = wire
        self.inside: list[str] = []
        self.refused: list[str] = []
        self.guests: dict[str, Guest] = {}

    def come(self, *names: str, line: Any = None) -> None:
        for name in names:
            guest = self.guests[name] = Guest(
                self.wire.worker,
                partial(self.inside.append, name),
                partial(self.refused.append, name),
                line,
            )
            self.wire.call(guest.enter)

    def go(self, *names: str) -> None:
        for name in names:
            self.wire.call(self.guests.pop(name).exit)

    def go_all(self) -> None:
        while self.guests:
            self.go(next(iter(self.guests)))

    @property
    def waiting(self) -> int:
        return self.wire.worker.admission.length

    def counted(self, name: str) -> int:
        return self.wire.worker.metrics.get(SCALAR_CELLS[name])


@pytest.fixture
def door(work: Work) -> Callable[..., Door]:
    return lambda **settings: Door(work(hello(), **{"limit_requests": 2, **settings}))


def test_first_in_first_out(door: Callable[..., Door]) -> None:
    """As many run as may, and the others follow in their order, one for each that ends."""
    crowd = door()
    crowd.come("a", "b", "c", "d", "e")
    assert (crowd.inside, crowd.waiting, crowd.counted("queue")) == (["a", "b"], 3, 3)
    crowd.go("b")
    assert crowd.inside == ["a", "b", "c"]
    crowd.go("a")
    crowd.come("f")
    crowd.go("c", "d")
    assert crowd.inside == ["a", "b", "c", "d", "e", "f"]
    assert (crowd.refused, crowd.waiting, crowd.counted("queue")) == ([], 0, 0)
    crowd.go_all()


def test_full(door: Callable[..., Door]) -> None:
    """Beyond the queue's size the newest are refused at once, and those that wait stay."""
    crowd = door(queue=2)
    crowd.come("a", "b", "c", "d", "e", "f")
    assert (crowd.inside, crowd.refused, crowd.waiting) == (["a", "b"], ["e", "f"], 2)
    assert (crowd.counted("queue_full"), crowd.counted("queue_deadline"), crowd.counted("queue_gone")) == (2, 0, 0)
    crowd.go("e", "f", "a", "b")
    assert crowd.inside == ["a", "b", "c", "d"]
    crowd.go_all()
    assert crowd.counted("queue_gone") == 0


def test_no_queue(door: Callable[..., Door]) -> None:
    crowd = door(queue=0, limit_requests=1)
    crowd.come("a", "b")
    assert (crowd.inside, crowd.refused, crowd.waiting) == (["a"], ["b"], 0)
    crowd.go("a")
    crowd.come("c")
    assert crowd.inside == ["a", "c"]
    crowd.go_all()


def test_deadline(door: Callable[..., Door]) -> None:
    """Each waits for as long as the option says, from its own start."""
    crowd = door(limit_requests=1, queue_timeout=2.0)
    crowd.come("a", "b")
    crowd.wire.advance(1.5)
    crowd.come("c")
    assert crowd.refused == []
    crowd.wire.advance(1)
    assert (crowd.refused, crowd.waiting, crowd.counted("queue_deadline")) == (["b"], 1, 1)
    crowd.go("a")
    assert crowd.inside == ["a", "c"]
    crowd.wire.advance(60)
    assert crowd.refused == ["b"]
    crowd.go_all()


def test_late_is_late(door: Callable[..., Door]) -> None:
    """A loop that was busy past the deadline does not begin with what has waited for too long."""
    crowd = door(limit_requests=1, queue_timeout=2.0)
    crowd.come("a", "b")

    def busy() -> None:
        TIME.spin(3)
        crowd.guests.pop("a").exit()

    crowd.wire.loop.call_soon(busy)
    crowd.wire.turn()
    assert (crowd.inside, crowd.refused, crowd.counted("queue_deadline")) == (["a"], ["b"], 1)
    crowd.go_all()


def test_gone(door: Callable[..., Door]) -> None:
    """One that leaves the queue does not count there, and the others go on."""
    crowd = door(limit_requests=1, queue=2)
    crowd.come("a", "b", "c")
    crowd.go("b")
    assert (crowd.waiting, crowd.counted("queue_gone")) == (1, 1)
    crowd.come("d")
    assert crowd.refused == []
    crowd.go("a")
    assert crowd.inside == ["a", "c"]
    crowd.go_all()


def test_lines_take_turns(door: Callable[..., Door]) -> None:
    """A connection with many streams does not keep others waiting for all of them."""
    crowd = door(limit_requests=1)
    crowd.come("a1", "a2", "a3", "a4", "a5", line="a")
    crowd.come("b")
    crowd.come("c1", "c2", line="c")
    order = []
    while crowd.guests:
        order.append(crowd.inside[-1])
        crowd.go(crowd.inside[-1])
    assert order == ["a1", "a2", "b", "c1", "a3", "c2", "a4", "a5"]


def test_full_of_one_line(door: Callable[..., Door]) -> None:
    """In a full queue one that comes takes the place of the newest of the longest line, unless its own is as long."""
    crowd = door(limit_requests=1, queue=4)
    crowd.come("a1", "a2", "a3", "a4", "a5", line="a")
    assert crowd.refused == []
    crowd.come("b1", line="b")
    assert (crowd.refused, crowd.waiting) == (["a5"], 4)
    crowd.come("b2", line="b")
    assert crowd.refused == ["a5", "a4"]
    crowd.come("b3", line="b")
    crowd.come("a6", line="a")
    assert (crowd.refused, crowd.waiting) == (["a5", "a4", "b3", "a6"], 4)
    assert crowd.counted("queue_full") == 4
    crowd.go("a1")
    assert crowd.inside == ["a1", "a2"]
    crowd.guests = {name: guest for name, guest in crowd.guests.items() if name not in crowd.refused}
    crowd.go_all()


def test_failing_refusal(door: Callable[..., Door]) -> None:
    """An error while one is refused is logged, and the queue goes on."""
    crowd = door(limit_requests=1, queue_timeout=1.0)
    crowd.come("a")

    def fail() -> None:
        raise LookupError("refused")

    guest = Guest(crowd.wire.worker, lambda: None, fail)
    crowd.wire.call(guest.enter)
    assert guest.waits
    crowd.come("b")
    crowd.wire.advance(2)
    assert (guest.waits, crowd.refused) == (False, ["b"])
    assert [str(error) for error in crowd.wire.errors] == ["refused"]
    crowd.go_all()
