"""What `fastserve top` shows, as text, for terminals of some sizes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from top.statuses import durations, status, worker

from fastserve.top.figures import Figures, Window
from fastserve.top.layout import (
    RED,
    YELLOW,
    Shown,
    as_text,
    bars,
    frame,
    number,
    row,
    seconds,
    size,
    span,
)
from fastserve.top.live import Keys
from fastserve.top.once import text_of


def figures(count: int = 2, **more: object) -> Figures:
    """Return figures of 10 seconds in which each worker served ten times as many requests a second as its number."""
    window = Window()
    for now in range(20, 31):
        workers = [worker(place, now, requests=10 * place * (now - 20)) for place in range(count)]
        found = window.add(status(now, workers, **more))
    return found


LONG: dict[str, object] = {"worker": 0, "method": "GET", "path": "/x" * 300, "seconds": 1.0}


def test_frame_of_80_by_24() -> None:
    shown = figures(3, last_end={"at": 1018.0, "worker": 1, "reason": "replaced"})
    shown.requests = [
        {"worker": 1, "method": "GET", "path": "/long", "seconds": 12.3},
        {"worker": 0, "method": "POST", "path": "/short", "seconds": 0.2},
    ]
    text = as_text(frame(shown, 80, 24))
    assert text.splitlines() == [
        "fastserve 1.2.3   ready   up 30s   3 of 3 workers ready",
        "requests 30/s   5xx 0/s   p50 1.8ms   p99 2.5ms of 10 s",
        "in flight 0  queue 0  accept queue 0/2048  last end worker 1 replaced 12s ago",
        "",
        "  W     PID STATE  AGE  REQ/S  ACT WAIT   P99   LAG BUSY  CPU   RSS IDLE/ACT/WS",
        "  0 4000000 ready  30s      0    0    0     - 0.2ms   0%   0%   50M       3/2/1",
        "  1 4000001 ready  30s     10    0    0 2.5ms 0.2ms   0%   0%   50M       3/2/1",
        "  2 4000002 ready  30s     20    0    0 2.5ms 0.2ms   0%   0%   50M       3/2/1",
        *[""] * 12,
        "Longest requests under way",
        "   12.3 s  worker 1   GET /long",
        "    0.2 s  worker 0   POST /short",
        "q quit   space pause   s sort   w worker   (sorted by worker)",
    ]


@pytest.mark.parametrize(("width", "height"), [(80, 24), (200, 50), (40, 10), (20, 5)])
@pytest.mark.parametrize("count", [1, 4, 64])
@pytest.mark.parametrize(
    "requests", [None, [], [{"worker": 0, "method": "GET", "path": "/x" * 300, "seconds": 1.0}] * 90]
)
def test_no_frame_is_larger_than_the_terminal(
    width: int, height: int, count: int, requests: list[dict[str, object]] | None
) -> None:
    shown = figures(count)
    shown.requests = requests
    lines = frame(shown, width, height)
    assert len(lines) == height
    assert all(sum(len(text) for text, _ in line) <= width for line in lines)
    text = as_text(lines)
    if height >= 24:
        assert "q quit" in text.splitlines()[-1]
        shown_workers = [line for line in text.splitlines() if " 40000" in line]
        if len(shown_workers) < count:
            assert f"... and {count - len(shown_workers)} more workers" in text
        else:
            assert "more workers" not in text
        assert len(shown_workers) >= min(count, height // 3)


def test_wide_terminals_have_charts() -> None:
    assert "▇" not in as_text(frame(figures(2), 100, 24))
    wide = as_text(frame(figures(2), 200, 50))
    assert "REQ/S OF THE LAST MINUTE" in wide
    assert wide.splitlines()[6].count("█") == 10
    assert bars([0, 1, 8], 60) == " ▁█"
    assert bars([], 60) == bars([0, 0], 60) == ""


def test_rates_are_of_the_last_seconds() -> None:
    """Rates are of two seconds, percentiles of ten; a worker that has been replaced starts anew."""
    window = Window()
    window.add(status(0, [worker(0, 0)]))
    window.add(status(1, [worker(0, 1, requests=100)]))
    slow = durations(ms2=100, ms600=4)
    found = window.add(status(2, [worker(0, 2, requests=104, errors=4, durations=slow, cpu=1.0, busy=0.5)]))
    assert (found.rate, found.errors) == (52, 2)
    assert found.p50 is not None and found.p50 < 0.0025
    assert found.p99 is not None and 0.5 < found.p99 <= 0.75
    assert (found.workers[0].cpu, found.workers[0].busy) == (0.5, 0.25)
    new = {**worker(0, 1, requests=6), "pid": 9}
    found = window.add(status(3, [new], requests=110, errors=4, durations=durations(ms2=106, ms600=4)))
    assert found.workers[0].rate == 6
    for now in range(4, 20):
        found = window.add(status(now, [{**new, "age": now}], requests=110, durations=durations(ms2=106, ms600=4)))
    assert (found.rate, found.p99) == (0, None)


def styles_of(text: str, shown: Figures) -> set[str]:
    return {style for line in frame(shown, 80, 24) for piece, style in line if piece.strip() == text}


def test_colours() -> None:
    """5xx are red, a lag of more than 0.1 s is yellow."""
    calm = figures(1)
    assert styles_of("0.2ms", calm) == {""}
    window = Window()
    window.add(status(0, [worker(0, 0)]))
    late = window.add(status(2, [worker(0, 2, requests=9, errors=4, lag=0.25, queue=7, state="stopping")], ready=False))
    assert styles_of("250ms", late) == {YELLOW}
    assert styles_of("2/s", late) == {RED}
    assert styles_of("stopp", late) == {YELLOW}
    assert styles_of("not ready", late) == {RED}


def test_keys() -> None:
    keys = Keys()
    assert keys.shown == Shown()
    seen = []
    for _ in range(6):
        keys.press("s", [])
        seen.append(keys.shown.sort)
    assert seen == ["rate", "p99", "lag", "cpu", "rss", "worker"]
    chosen = []
    for _ in range(3):
        keys.press("w", [1, 0, 1])  # in the order of the screen
        chosen.append(keys.shown.worker)
    assert chosen == [1, 0, None]
    keys.press(" ", [])
    assert keys.shown.paused
    keys.press("x", [])
    assert not keys.quit
    keys.press("q", [])
    assert keys.quit


def test_sorting_and_a_single_worker() -> None:
    shown = figures(3)
    shown.requests = [{"worker": place, "method": "GET", "path": f"/{place}", "seconds": 1.0} for place in range(3)]
    text = as_text(frame(shown, 80, 24, Shown(sort="rate", worker=1, paused=True)))
    places = [line.split()[0] for line in text.splitlines() if " 40000" in line]
    assert places == ["2", "1", "0"]
    assert "of worker 1" in text and "GET /1" in text and "GET /2" not in text
    assert "PAUSED" in text and "(sorted by rate)" in text
    assert as_text(frame(shown, 80, 24, Shown(note="cannot ask"))).endswith("cannot ask")


@pytest.mark.parametrize("height", [8, 24, 50])
@pytest.mark.parametrize("chosen", [0, 40, 63])
def test_the_chosen_worker_is_never_hidden(height: int, chosen: int) -> None:
    lines = as_text(frame(figures(64), 80, height, Shown(worker=chosen))).splitlines()
    places = [int(line.split()[0]) for line in lines if " ready " in line and line.split()[0].isdecimal()]
    assert chosen in places
    assert f"... and {64 - len(places)} more workers" in lines[5 + len(places)]


def test_nothing_of_a_client_reaches_the_terminal() -> None:
    """A path may have anything that HTTP allows, and a terminal takes much of that for orders."""
    shown = figures(1)
    shown.requests = [{"worker": 0, "method": "GET", "path": "/\x1b[2J\x9b\u202e\u00e9\r\n", "seconds": 1.0}]
    assert "GET /?[2J?????" in as_text(frame(shown, 80, 24))


def test_text_without_a_screen() -> None:
    text = text_of(figures(64))
    assert text.count(" 40000") == 64
    assert "q quit" not in text and "\n\n\n" not in text


NUMBERS = (0, 7, 99, 999, 1000, 9999, 10_000, 99_999, 123_456, 999_499, 999_500, 5_000_000)
SECONDS = (0.0, 0.0099, 0.00999, 0.5, 0.9994, 0.9999, 9.99, 99.94, 99.96, 3600.0)


@pytest.mark.parametrize("count", NUMBERS)
def test_no_figure_is_cut(count: int) -> None:
    """A row is as wide as its heading, whatever is in it: 12,000 that wait are not shown as 1,200."""
    (worker,) = figures(1).workers
    for took in SECONDS:
        crowded = replace(
            worker, rate=float(count), active=count, queue=count, p99=took, lag=took, rss=count * 2**20,
            busy=min(took, 64), cpu=min(took, 64), idle=count, serving=count, websockets=count, age=took * 1000,
        )  # fmt: skip
        text = "".join(piece for piece, _ in row(crowded, 80, Shown()))
        assert len(text.rstrip()) == 79 and f" {number(count, 4):>4} {number(count, 4):>4} " in text
    assert all(abs(unpacked(number(count, width)) - count) <= count / 4 for width in (3, 4, 5))
    assert number(12_000, 4) == "12k" and number(123_456, 3) == ".1M"


def unpacked(text: str) -> float:
    units = {"k": 1e3, "M": 1e6}
    return float(text.rstrip("kM")) * units.get(text[-1], 1)


def test_numbers() -> None:
    """Each fits its column."""
    assert [number(each) for each in (0, 0.25, 9, 10.4, 99_999, 100_000, 1e8, 5e9)] == [
        "0", "0.2", "9", "10", "99999", "100k", "100M", "5.0G",
    ]  # fmt: skip
    assert [seconds(each) for each in (None, 0, 0.0099, 0.01, 0.9994, 1, 10)] == [
        "-", "0.0ms", "9.9ms", "10ms", "999ms", "1.0s", "10.0s",
    ]  # fmt: skip
    assert [span(each) for each in (0, 99.9, 100, 5999, 6000, 200_000, 1e8)] == [
        "0s", "99s", "1m", "99m", "1h", "2d", "1157d",
    ]  # fmt: skip
    assert [size(each) for each in (None, 0, 2**30, 2**34)] == ["-", "0M", "1024M", "16.0G"]
