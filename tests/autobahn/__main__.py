"""`python -m tests.autobahn`: runs the suite, prints its table; exit code 1 unless the compiled one passes strictly."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import shutil
import sys
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from . import install, server, suite
from .suite import Report

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bridge import Bridge

IMPLEMENTATIONS = ("auto", "http2", "websockets", "wsproto")
COMPILED = ("auto", "http2")
_HOME = Path(__file__).resolve().parents[2] / "build" / "autobahn"
_COLUMNS = ("OK", "NON-STRICT", "INFORMATIONAL")
_EXCERPT = 300


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.autobahn", description=__doc__)
    parser.add_argument(
        "implementations",
        nargs="*",
        metavar="IMPLEMENTATION",
        help=f"values of --ws to test, or http2: {', '.join(IMPLEMENTATIONS)} (default: all of them)",
    )
    parser.add_argument("--cases", default="", metavar="A,B", help="the cases, as 6.* or 9.1.6 (default: all)")
    parser.add_argument("--url", help="test a server that runs already, of any kind, instead of fastserve")
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count() or 1, metavar="N", help="parts run at a time (default: the cores)"
    )
    parser.add_argument(
        "--seconds", type=float, default=900.0, metavar="N", help="time limit of one part, of eleven (default: 900)"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    parser = _parser()
    options = parser.parse_args(argv)
    names = options.implementations or list(IMPLEMENTATIONS)
    unknown = [name for name in names if name not in IMPLEMENTATIONS]
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)} (choose from {', '.join(IMPLEMENTATIONS)})")
    try:
        program = install.wstest(_HOME)
        reports = asyncio.run(_run(options, program, ["url"] if options.url else names))
    except (install.CannotInstall, server.CannotStart) as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; its processes are stopped too", file=sys.stderr)
        return 130
    print(table(reports))
    required = ("url",) if options.url else COMPILED
    incomplete = any(report.complaints for report in reports.values())
    return 0 if not incomplete and all(reports[name].good for name in required if name in reports) else 1


async def _run(options: argparse.Namespace, program: Path, names: Sequence[str]) -> dict[str, Report]:
    slots = asyncio.Semaphore(max(1, options.jobs))
    parts = suite.select([case for case in options.cases.split(",") if case])
    reports: dict[str, Report] = {}
    for name in names:
        folder = _HOME / "reports" / name
        shutil.rmtree(folder, ignore_errors=True)
        async with _server(name, options.url, folder) as (url, running):
            work = [
                asyncio.ensure_future(_part(slots, program, name, url, cases, folder, options.seconds))
                for cases in parts
            ]
            report = Report()
            for number, next_done in enumerate(asyncio.as_completed(work), 1):
                report.add(await next_done)
                print(f"{name}: {number} of {len(parts)} parts done", file=sys.stderr, flush=True)
            ended = running.complaint() if running else None
            report.complaints.extend([ended] if ended else [])
            reports[name] = report
    return reports


@contextlib.asynccontextmanager
async def _server(name: str, url: str | None, folder: Path) -> AsyncIterator[tuple[str, server.Server | None]]:
    if url:
        yield url, None
        return
    over_http2 = name == "http2"
    async with server.running("auto" if over_http2 else name, folder) as running:
        if not over_http2:
            yield running.url, running
            return
        bridge = Bridge(running.port).start()
        try:
            yield server.url_of(bridge.port), running
        finally:
            await asyncio.to_thread(bridge.stop)


async def _part(
    slots: asyncio.Semaphore, program: Path, name: str, url: str, cases: Sequence[str], folder: Path, seconds: float
) -> Report:
    async with slots:
        begin = time.monotonic()
        part = folder / cases[0].replace("*", "x")
        report = await suite.run(program, name, url, cases, part, seconds)
    bad = [case for case in report.cases if report.cases[case].verdict not in suite.GOOD]
    took = f"{time.monotonic() - begin:.0f} s"
    print(f"{name}: {','.join(cases)}: {len(report.cases)} cases in {took}, {len(bad)} not OK", file=sys.stderr)
    return report


def table(reports: dict[str, Report]) -> str:
    """The counts for each implementation, then every case that is not OK with what Autobahn says about it."""
    lines = [f"{'--ws':12}" + "".join(f"{column:>15}" for column in (*_COLUMNS, "FAILED", "of"))]
    for name, report in reports.items():
        counts = [len(report.with_verdict(column)) for column in _COLUMNS]
        counts += [len(report.cases) - sum(counts), len(report.cases)]
        lines.append(f"{name:12}" + "".join(f"{count:15}" for count in counts))
    for name, report in reports.items():
        found = {outcome.verdict for outcome in report.cases.values()} - {"OK"}
        lines.extend(f"\n{name}: {', '.join(report.with_verdict(verdict))}: {verdict}" for verdict in sorted(found))
        bad = [case for case in report.with_verdict(*(found - set(suite.GOOD))) if report.cases[case].why]
        lines.extend(f"  {case}: {report.cases[case].why[:_EXCERPT]}" for case in bad)
        lines.extend(f"\n{name}: {complaint}" for complaint in report.complaints)
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
