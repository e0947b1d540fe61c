"""One run of wstest over some of its cases, bounded in time, and the results of many put together."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# Run at the same time, the long ones first; a part that hangs takes no other with it.
PARTS: tuple[tuple[str, ...], ...] = (
    *((f"12.{number}.*",) for number in (2, 3, 5)),
    *((f"13.{number}.*",) for number in (2, 3, 5, 1)),
    ("12.1.*", "12.4.*"),
    ("13.4.*", "13.6.*", "13.7.*"),
    tuple(f"{number}.*" for number in (1, 2, 3, 4, 5, 6, 7, 10)),
    ("9.*",),
)
UNFINISHED = "UNFINISHED"
GOOD = ("OK", "INFORMATIONAL")

_COUNT = re.compile(r"will run (\d+) test cases")
_CASE = re.compile(r"Running test case ID (\S+)")


@dataclass(frozen=True)
class Outcome:
    """How one case went: Autobahn's words for the messages and for the close, and its sentence for each."""

    behavior: str
    close: str
    why: str = ""

    @property
    def verdict(self) -> str:
        """One word for both: the worse one."""
        return self.close if self.close not in GOOD and self.behavior in GOOD else self.behavior


@dataclass
class Report:
    """Outcomes by case id, and complaints about the run itself: cases without a result, a server that ended."""

    cases: dict[str, Outcome] = field(default_factory=dict)
    complaints: list[str] = field(default_factory=list)

    def add(self, other: Report) -> None:
        self.cases.update(other.cases)
        self.complaints.extend(other.complaints)

    def with_verdict(self, *verdicts: str) -> list[str]:
        """The ids of the cases that came out so, in the suite's order."""
        return sorted((case for case, outcome in self.cases.items() if outcome.verdict in verdicts), key=order)

    @property
    def good(self) -> bool:
        return bool(self.cases) and not self.complaints and all(c.verdict in GOOD for c in self.cases.values())


def order(case: str) -> tuple[int, ...]:
    """A key that sorts case ids by their numbers."""
    return tuple(int(number) for number in case.split("."))


def select(patterns: Sequence[str]) -> list[tuple[str, ...]]:
    """The parts that run these cases: ids or Autobahn's patterns ("6.*"); all of them when there are none."""
    return [tuple(patterns)] if patterns else list(PARTS)


async def run(program: Path, agent: str, url: str, cases: Sequence[str], folder: Path, seconds: float) -> Report:
    """Runs the cases against the server at `url`; Autobahn's own reports go to `folder`."""
    spec = _specification(agent, url, cases, folder)
    log = folder / "wstest.log"
    begin = time.monotonic()
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            program,
            "--mode",
            "fuzzingclient",
            "--spec",
            spec,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONWARNINGS": "ignore"},
        )
        try:
            await asyncio.wait_for(process.wait(), seconds)
        except (TimeoutError, asyncio.TimeoutError):
            pass
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    return _read(agent, folder, log.read_text(errors="replace"), time.monotonic() - begin)


def _specification(agent: str, url: str, cases: Sequence[str], folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    spec = folder / "spec.json"
    document = {"outdir": str(folder), "servers": [{"agent": agent, "url": url}], "cases": list(cases)}
    spec.write_text(json.dumps({**document, "exclude-cases": [], "exclude-agent-cases": {}}))
    return spec


def _read(agent: str, folder: Path, log: str, took: float) -> Report:
    report = Report()
    index = folder / "index.json"
    results: dict[str, dict[str, Any]] = {}
    if index.exists():
        results = json.loads(index.read_text()).get(agent, {})
    for case, result in results.items():
        detail = json.loads((folder / result["reportfile"]).read_text())
        why = f"{detail['result']}. {detail['resultClose']}. Expected: {detail['expectation']}"
        report.cases[case] = Outcome(result["behavior"], result["behaviorClose"], _plain(why))
    count = _COUNT.search(log)
    begun = _CASE.findall(log)
    if not results or count is None or len(results) != int(count[1]):
        last = f"the last one begun is {begun[-1]}" if begun else "none was begun"
        total = count[1] if count else "an unknown number of"
        report.complaints.append(f"{len(results)} results for {total} cases after {took:.0f} s, {last} ({folder})")
        for case in begun:
            report.cases.setdefault(case, Outcome(UNFINISHED, UNFINISHED))
    return report


def _plain(text: str) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", text).split())
