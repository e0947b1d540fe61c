"""bench/load: what its generators are told and tell, and what becomes of figures and of what cannot be measured."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from bench.load import __main__ as command
from bench.load import alone, chart, h2load, rows, servers, table
from bench.load.measure import Bench, Sample
from bench.load.process import Failed
from bench.load.results import Results, load

PRINTED = """starting benchmark...
Application protocol: h2c

finished in {time}, 52.29 req/s, 15.18KB/s
requests: 200 total, 200 started, 200 done, {requests}
status codes: {status}
traffic: 58.05KB (59445) total, 2.70KB (2764) headers (space savings 87.44%), 1.56KB (1600) data
"""
ALL = "200 succeeded, 0 failed, 0 errored, 0 timeout"
FINE = "200 2xx, 0 3xx, 0 4xx, 0 5xx"
BROWSER = rows.BY_NAME["h2-browser"]


def printed(time: str = "3.82s", requests: str = ALL, status: str = FINE) -> str:
    return PRINTED.format(time=time, requests=requests, status=status)


@pytest.mark.parametrize(("time", "seconds"), [("3.82s", 3.82), ("812us", 0.000812), ("250.03ms", 0.25003)])
def test_figures_of_h2load(time: str, seconds: float) -> None:
    figures = h2load.parse(printed(time), 0)
    assert figures.requests == 200
    assert figures.seconds == pytest.approx(seconds)
    assert str(figures.errors) == ""


def test_what_h2load_counts_as_wrong() -> None:
    errored = h2load.parse(printed(requests="180 succeeded, 20 failed, 20 errored, 0 timeout"), 0)
    assert (errored.requests, str(errored.errors)) == (180, "20 read")
    refused = h2load.parse(printed(requests="150 succeeded, 50 failed, 0 errored, 0 timeout"), 0)
    assert str(refused.errors) == "50 status"
    moved = h2load.parse(printed(status="190 2xx, 10 3xx, 0 4xx, 0 5xx"), 0)
    assert str(moved.errors) == "10 status"


@pytest.mark.parametrize(("output", "code"), [(printed(), 1), ("", 0), ("finished in 1s, 2 req/s", 0)])
def test_h2load_without_figures(output: str, code: int) -> None:
    with pytest.raises(Failed, match="h2load exited with code"):
        h2load.parse(output, code)


def test_command_of_h2load(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(h2load, "find", lambda: "h2load")
    generator = h2load.Generator(BROWSER, 8000, None, tmp_path)
    first = generator.command(2)
    assert {"--clients=8", "--max-concurrent-streams=16", "--duration=2", "--npn-list=h2"} <= set(first)
    assert first[-1] == "http://127.0.0.1:8000/"
    assert "--header=DNT: 1" in first
    assert not [part for part in first if "keep-alive" in part]
    generator.rate = 1000.0
    assert "--requests=2048" in generator.command(2)  # as many on each stream
    generator.rate = 0.0  # the warm-up was too short for any
    assert "--requests=128" in generator.command(2)


def test_the_same_over_http1(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(h2load, "find", lambda: "h2load")
    server = servers.BY_NAME[rows.OVER_HTTP1]
    upload = rows.BY_NAME["h2-post-10m-tls"]
    generator = h2load.Generator(server.asked(upload), 8000, None, tmp_path)
    options = set(generator.command(1))
    assert {"--clients=8", "--max-concurrent-streams=1", "--h1", f"--data={generator.body}"} <= options
    assert generator.body.stat().st_size == upload.request.body
    assert [row.name for row in rows.ROWS if server.serves(row)] == [
        row.name for row in rows.ROWS if row.streams and row.kind == "cpu"
    ]


def test_every_row_has_peers_or_reasons(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["list"]) == 0
    listed = capsys.readouterr().out
    for row in rows.ROWS:
        assert f"{row.name} " in listed
        for server in servers.SERVERS:
            assert server.serves(row) or server.reason_against(row) in listed
    for server in servers.SERVERS:
        assert set(server.cannot) <= set(rows.BY_NAME)
        for name in server.cannot:
            assert not server.serves(rows.BY_NAME[name])


def test_reasons_and_goals_of_rows(tmp_path: Path) -> None:
    row = dataclasses.replace(BROWSER, goals=(("granian", 0.27), ("h2corn", 0.1)))
    names = ["fastserve", "uvicorn", "granian", "h2corn", "peregrine", rows.OVER_HTTP1]
    results = Results([row], names, "uvicorn", impossible={row.name: {"peregrine": "has a reason"}})
    for name, value in zip(names, (2.0, 20.0, 10.0, 10.0, None, 1.0), strict=True):
        if value is not None:
            results.add(row, name, Sample(value))
    ratios = table.ratios(results)
    assert "0.20 of granian's, goal 0.27 reached" in ratios
    assert "0.20 of h2corn's, goal 0.10 missed" in ratios
    assert "least reached" in ratios  # its own HTTP/1.1 does not count
    results.add(row, "uvicorn", Sample(0.5))
    results.add(row, "uvicorn", Sample(0.5))
    assert "least missed" in table.ratios(results)
    for text in (table.blocks(results), table.markdown(results), chart.draw(results)):
        assert "has a reason" in text
    results.save(tmp_path / "load.json")
    again = load(tmp_path / "load.json")
    assert again.reason_against(row, "peregrine") == "has a reason"
    assert again.share(row, "fastserve", "granian") == pytest.approx(0.2)


def test_the_most_that_a_row_may_take() -> None:
    row = rows.BY_NAME["h2-idle"]
    results = Results([row], ["fastserve"], "uvicorn")
    results.add(row, "fastserve", Sample(9.0))
    assert "at most 8 KB/connection missed" in table.ratios(results)


@pytest.mark.parametrize("row", [row for row in rows.ROWS if row.alone], ids=lambda row: row.name)
def test_an_application_alone(row: rows.Row) -> None:
    calls, seconds = alone.measure(row, 1e-6)
    assert calls >= 1
    assert seconds > 0
    with pytest.raises(alone.Wrong, match="wrong response: 200, b'"):
        alone.measure(dataclasses.replace(row, answer=rows.Answer(b"another")), 1e-6)


def test_figures_of_an_application_alone(tmp_path: Path) -> None:
    server = servers.BY_NAME[rows.ALONE]
    sample = Bench(None, None, 0, 0.001, tmp_path).sample(rows.BY_NAME["starlette"], server)
    assert sample.fault is None
    assert sample.value is not None
    assert sample.value > 0
    assert not server.serves(rows.BY_NAME["hello"])
