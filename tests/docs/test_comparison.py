"""The README's figures and its table of servers: each cell is a measurement of the tree, or an option of --help."""

from __future__ import annotations

import json
import re

import pytest
from docs.pages import OURS, ROOT
from docs.record_peers import PEERS

from bench import overload

README = (ROOT / "README.md").read_text(encoding="utf-8")
SERVERS = ("fastserve", "uvicorn", "gunicorn", "granian", "hypercorn")
RESTARTS = {
    "Requests lost when SIGHUP replaces two workers": "SIGHUP, kept-alive connections",
    "Requests lost while workers end after 200 requests each": "workers end after 200 requests, kept-alive connections",
}
BENCHMARKS = {
    "CPU time per request, FastAPI (uvicorn: 1)": "fastapi",
    "Memory of an idle connection (uvicorn: 1)": "idle",
}
ROWS = {
    cells[0]: dict(zip(SERVERS, cells[1:], strict=True))
    for line in README.splitlines()
    if len(cells := [cell.strip() for cell in line.strip("|").split("|")]) == 1 + len(SERVERS)
}


def benchmark(name: str) -> dict[str, str]:
    """Return the shares of uvicorn's figure in the first table of bench/ROWS.md."""
    lines = (ROOT / "bench" / "ROWS.md").read_text(encoding="utf-8").splitlines()
    head = next(line for line in lines if line.startswith("| row |"))
    row = next(line for line in lines if line.startswith(f"| {name} |"))
    cells = dict(zip(*([cell.strip(" *") for cell in line.strip("|").split("|")] for line in (head, row)), strict=True))
    figures = {server: float(cells[server].split()[0].replace(",", "")) for server in SERVERS if server in cells}
    shares = {server: f"{figure / figures['uvicorn']:.2f}" for server, figure in figures.items()}
    return {"gunicorn": "", **shares, "uvicorn": "1"}


@pytest.mark.parametrize(("title", "name"), BENCHMARKS.items())
def test_rows_of_benchmarks(title: str, name: str) -> None:
    assert ROWS[title] == benchmark(name)


@pytest.mark.parametrize(("title", "name"), RESTARTS.items())
def test_rows_of_restarts(title: str, name: str) -> None:
    measured = json.loads((ROOT / "bench" / "results" / "restarts.json").read_text())["lost"][name]
    assert ROWS[title] == {server: "" if measured[server] == "-" else measured[server] for server in SERVERS}


def test_figures_of_overload() -> None:
    """The page has those of the run, and the commands of it."""
    served = json.loads((ROOT / "bench" / "results" / "overload.json").read_text())["served"]
    page = (ROOT / "docs" / "explanation" / "overload.md").read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if " % | " in line]
    assert len(rows) == len(served) == len(overload.COMMANDS)
    for (title, steady, bursts), (name, shares) in zip(rows, served.items(), strict=True):
        program, _, options = title.replace("`", "").partition(" ")
        command = overload.COMMANDS[name]
        limits = [each for each in command if each.startswith(("--limit", "--queue", "--backpressure"))]
        assert (program, options.split()) == (command[0], " ".join(limits).replace("=", " ").split())
        assert [steady, bursts] == [f"{shares[each]:.0%}".replace("%", " %") for each in ("steady", "bursts")]
    ours = served["fastserve-queue"]
    assert ours["steady"] >= 0.95
    assert ours["bursts"] == 1


def test_rows_of_options_name_those_that_there_are() -> None:
    options = {server: set(peer["options"]) for server, peer in json.loads(PEERS.read_text()).items()}
    options["fastserve"] = OURS
    seen = 0
    for title, cells in ROWS.items():
        if title in {*RESTARTS, *BENCHMARKS, "", "---"}:
            continue
        for server, cell in cells.items():
            named = re.findall(r"`(--[\w-]+)`", cell)
            assert set(named) <= options[server], (title, server)
            assert named or cell in ("", "by default"), (title, server)
            seen += len(named)
    assert seen > 10


@pytest.mark.parametrize("page", ["README.md", "docs/index.md"])
def test_shares_of_the_first_sentence(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    figures = (ROOT / "bench" / "results" / "load.md").read_text(encoding="utf-8")
    for title, name in (("Hello, World (plain ASGI)", "Hello, World"), ("FastAPI, JSON", "FastAPI")):
        share = re.search(rf"([\d.]+) \({name}\)", text)
        assert share is not None
        assert re.search(rf"^\| {re.escape(title)}.*?\| [\d.]+ \({share[1]}\) \|", figures, re.MULTILINE), title
