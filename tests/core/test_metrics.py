"""The page of metrics by itself: series, routes and own cells that find room, and those that do not."""

from __future__ import annotations

import mmap
from typing import Any

import pytest

from fastserve._core.http.proxies import waited_since
from fastserve._core.metrics import BOUNDS, SCALAR_CELLS, SHAPE, Metrics, OwnCell, Sums

NOW = 1_800_000_000.0


def sums_of(page: Metrics, lives: bool = True) -> Sums:
    sums = Sums()
    assert sums.add(page.read(), lives)
    return sums


def test_histogram() -> None:
    """A value on a bound is in its bucket; nothing is below 0."""
    page = Metrics()
    for value in (*BOUNDS, 11, 0, -1):
        page.observe(SCALAR_CELLS["wait"], value)
    cells = sums_of(page).histogram(SCALAR_CELLS["wait"])
    assert cells[:18] == [3, *[1] * 17]
    assert cells[18] == pytest.approx((sum(BOUNDS) + 11) * 1e9, abs=100)


def test_series_without_room() -> None:
    page = Metrics()
    for status in range(200, 300):
        for _ in range(2):
            page.request("GET", status, "1.1", False, 0.001)
    sums = sums_of(page)
    assert len(sums.series) == 64
    assert sums.requests == 200
    assert sum(sums.series[60000][:18]) == 200 - 63 * 2


class Route:
    def __init__(self, path: Any) -> None:
        self.path = path


def test_routes_without_room() -> None:
    page = Metrics()
    page.count_by_route()
    for number in range(200):
        page.request("GET", 200, "1.1", False, 0.001, {"route": Route(f"/{number}")})
    sums = sums_of(page)
    assert len(sums.routes) == 128
    assert sums.routes["GET /0"][:5] == [0, 1, 0, 0, 0]
    assert sums.routes["_OTHER _OTHER"][:5] == [0, 200 - 127, 0, 0, 0]


@pytest.mark.parametrize(
    ("scope", "name"),
    [
        ({}, "unmatched"),
        ({"route": None}, "unmatched"),
        ({"route": object()}, "unmatched"),
        ({"route": Route(5)}, "unmatched"),
        ({"route": Route("/a")}, "/a"),
        ({"route": Route("/a"), "root_path": "/api"}, "/api/a"),
        ({"path_template": "/b/{id}"}, "/b/{id}"),
        ({"route": Route("/" + "é" * 100)}, "/" + "é" * 61),
    ],
)
def test_names_of_routes(scope: dict[str, Any], name: str) -> None:
    page = Metrics()
    page.count_by_route()
    page.request("GET", 404, "2", True, 0.001, scope)
    page.request("GET", 101, "2", True, 0.001, scope)
    assert {each: cells[:5] for each, cells in sums_of(page).routes.items()} == {f"GET {name}": [1, 0, 0, 1, 0]}


def test_ended_process() -> None:
    """Its gauges are dropped; the certificate that ends first is the one that is shown."""
    page = Metrics()
    page.set(SCALAR_CELLS["active"], 5)
    page.add(SCALAR_CELLS["sent"], 7)
    page.set(SCALAR_CELLS["certificate_end"], 9)
    sums = sums_of(page, lives=False)
    assert [sums.scalar(SCALAR_CELLS[name]) for name in ("active", "sent", "certificate_end")] == [0, 7, 0]
    sums.join(sums_of(page))
    page.set(SCALAR_CELLS["certificate_end"], 8)
    sums.join(sums_of(page))
    assert [sums.scalar(SCALAR_CELLS[name]) for name in ("active", "sent", "certificate_end")] == [10, 21, 8]


def test_a_page_that_nobody_has_begun() -> None:
    assert not Sums().add(bytes(SHAPE["cells"] * 8))
    assert not Sums().add(b"")


def test_own_cells_after_the_page() -> None:
    """Memory that is longer has room for more of them, which a reading includes once they are used."""
    page = Metrics(mmap.mmap(-1, SHAPE["cells"] * 8 + 10 * SHAPE["own_size"] * 8))
    assert page.own_count == 266
    assert len(page.read()) == SHAPE["cells"] * 8
    OwnCell(page, 258, b"cx").add(2.5)
    assert len(page.read()) == (SHAPE["cells"] + 3 * SHAPE["own_size"]) * 8
    for number in (-1, 266):
        with pytest.raises(IndexError):
            OwnCell(page, number, b"x")
    with pytest.raises(ValueError, match="96 bytes"):
        OwnCell(page, 0, b"x" * 97)


def test_wrong_arguments() -> None:
    with pytest.raises(ValueError, match="81920 bytes"):
        Metrics(bytearray(100))
    for cell in (0, SHAPE["series"], -1):
        with pytest.raises(IndexError):
            Metrics().add(cell)
    with pytest.raises(IndexError):
        Metrics().observe(SHAPE["series"] - 1, 1)


@pytest.mark.parametrize(
    ("value", "waited"),
    [
        (b"t=1799999999", 1),
        (b"1799999999.5", 0.5),
        (b"1799999998000", 2),
        (b"t=1799999998000000", 2),
        (b"t=1799999400", 600),
        (b"t=1799999399", -1),
        (b"t=1800000001", -1),
        (b"", -1),
        (b"t=", -1),
        (b"inf", -1),
        (b"nan", -1),
        (b"-5", -1),
    ],
)
def test_waits_that_proxies_tell(value: bytes, waited: float) -> None:
    assert waited_since(value, NOW) == pytest.approx(waited)
