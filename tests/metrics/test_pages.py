"""What is shown of processes that end while they are read."""

from __future__ import annotations

from fastserve.metrics.pages import Live, Pages


def process(pages: Pages, place: int, pid: int) -> Live:
    live = pages.begin(place)
    live.pid = pid
    return live


def test_cpu_time_of_a_process_that_ends_while_it_is_read() -> None:
    """It counts once, with what was shown of it before: the time of a place neither falls nor leaps."""
    pages = Pages()
    first = process(pages, 3, 101)
    assert pages.cpu_of_places({101: 0.31}) == {3: 0.31}
    pages.end(first)
    assert pages.cpu_of_places({101: 0.33}) == {3: 0.31}
    second = process(pages, 3, 102)
    process(pages, 4, 103)
    assert pages.cpu_of_places({102: 0.5, 103: 0.25}) == {3: 0.81, 4: 0.25}
    assert pages.cpu_of_places({102: 0.25}) == {3: 0.81, 4: 0.25}, "what is not read anew is as it was"
    pages.end(second)
    pages.end(second)
    assert pages.cpu_of_places({}) == {3: 0.81, 4: 0.25}
