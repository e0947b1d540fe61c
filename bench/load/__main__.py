"""`python -m bench.load`: measures servers side by side, compares commits, draws charts; exit code 2 on wrong input."""

from __future__ import annotations

import argparse
import datetime
import shlex
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from bench.load import chart, commits, h2load, machine, rows, servers, table, wrk, wsload
from bench.load.measure import Bench, Sample, many_files
from bench.load.process import ROOT, Failed
from bench.load.results import Results, load
from bench.load.rows import Row
from bench.load.servers import Server

_QUIET = 0.05  # share of the server's core that others may have before it is worth a word


def _names(known: Sequence[str]) -> Callable[[str], list[str]]:
    def parse(text: str) -> list[str]:
        names = list(known) if text == "all" else [name for name in text.split(",") if name]
        unknown = [name for name in names if name not in known]
        if unknown or not names:
            what = f"unknown: {', '.join(unknown)}" if unknown else "none given"
            raise argparse.ArgumentTypeError(f"{what} (choose from all, {', '.join(known)})")
        return [name for name in known if name in names]

    return parse


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number above 0")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench.load",
        description="Measures the CPU time a request of fastserve and its peers on the same applications, in turns.",
        epilog="modes: run (the default) | compare REV1 REV2, two commits of fastserve ('.' is the working tree) "
        "| chart FILE, the table and chart of a JSON file again | list, the rows and servers",
    )
    known_rows, known_servers = [row.name for row in rows.ROWS], [server.name for server in servers.SERVERS]
    parser.add_argument(
        "mode", nargs="?", choices=("run", "compare", "chart", "list"), default="run", help=argparse.SUPPRESS
    )
    parser.add_argument("arguments", nargs="*", help=argparse.SUPPRESS)
    parser.add_argument("--rows", type=_names(known_rows), metavar="A,B", help="the rows to measure (default: all)")
    parser.add_argument(
        "--servers",
        type=_names(known_servers),
        metavar="A,B",
        help=f"the servers to measure (default: {','.join(servers.DEFAULT)})",
    )
    parser.add_argument(
        "--seconds", type=_positive, default=5, metavar="N", help="seconds under load a measurement (default: 5)"
    )
    parser.add_argument(
        "--warmup", type=_positive, default=1, metavar="N", help="seconds under load before it (default: 1)"
    )
    parser.add_argument(
        "--repeat", type=_positive, default=3, metavar="N", help="measurements of each row and server (default: 3)"
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=ROOT / "build" / "bench",
        metavar="DIR",
        help="folder for load.json, load.md and load.svg (default: build/bench)",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    parser = _parser()
    options = parser.parse_args(argv)
    expected = {"compare": 2, "chart": 1}.get(options.mode, 0)
    if len(options.arguments) != expected:
        parser.error(f"{options.mode} takes {expected} argument{'s' * (expected != 1)}, {len(options.arguments)} given")
    # A polite kill is to clean up as Ctrl+C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        if options.mode == "list":
            return _list()
        if options.mode == "chart":
            return _chart(options, parser)
        return _measure(options)
    except KeyboardInterrupt:
        print("stopped; its servers are stopped too", file=sys.stderr)
        return 130
    except Failed as error:
        print(error, file=sys.stderr)
        return 2


def _list() -> int:
    for row in rows.ROWS:
        print(f"{row.name:18} {row.title}")
    print("\nservers: " + ", ".join(server.name for server in servers.SERVERS))
    print("\nnot possible:")
    for server in servers.SERVERS:
        reasons: dict[str, list[str]] = {}
        for row in rows.ROWS:
            if reason := server.reason_against(row):
                reasons.setdefault(reason, []).append(row.name)
        for reason, names in reasons.items():
            print(f"{server.name:18} {reason}: {', '.join(names)}")
    return 0


def _chart(options: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    try:
        results = load(Path(options.arguments[0]))
    except (OSError, ValueError) as error:
        parser.error(str(error))
    names = options.rows or [row.name for row in results.rows]
    _write(results.only(names, options.servers or results.servers), options.out)
    return 0


def _stop(sentence: str) -> NoReturn:
    raise Failed(sentence)


def _measure(options: argparse.Namespace) -> int:
    chosen_rows = [rows.BY_NAME[name] for name in options.rows or rows.BY_NAME]
    loaded = [row for row in chosen_rows if row.kind == "cpu"]
    if any(row.echo is None and not row.streams for row in loaded) and wrk.find() is None:
        _stop(wrk.MISSING)
    if any(row.streams for row in loaded) and h2load.find() is None:
        _stop(h2load.MISSING)
    if any(row.echo for row in loaded) and wsload.compiler() is None:
        _stop(wsload.MISSING)
    with tempfile.TemporaryDirectory(prefix="fastserve-bench-") as name:
        folder = Path(name)
        if options.mode == "compare":
            chosen = commits.builds(options.arguments, folder)
            reference = chosen[0].name
            chosen += [servers.BY_NAME[name] for name in options.servers or ()]
        else:
            chosen = [servers.BY_NAME[name] for name in options.servers or servers.DEFAULT]
            reference = servers.REFERENCE
        missing = servers.missing(chosen, chosen_rows)
        if missing:
            _stop(f"not installed: {', '.join(missing)}. Install the peers with: pip install -e '.[bench]'")
        impossible = {
            row.name: reasons
            for row in chosen_rows
            if (reasons := {server.name: text for server in chosen if (text := server.reason_against(row))})
        }
        names = [server.name for server in chosen]
        results = Results(chosen_rows, names, reference, _about(options, chosen), impossible)
        servers.compile_bytecode(chosen)
        with many_files():
            _run(options, chosen, results, folder)
    print(table.blocks(results))
    print()
    print(table.ratios(results))
    if results.others() > _QUIET:
        print(f"\nThe machine was busy: other processes had up to {results.others():.0%} of the server's core.")
    if options.mode == "compare":
        results.save(_made(options.out) / "compare.json")
    else:
        results.save(_made(options.out) / "load.json")
        _write(results, options.out)
    return 1 if results.has_faults() else 0


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _about(options: argparse.Namespace, chosen: list[Server]) -> dict[str, object]:
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "command": shlex.join(["python", "-m", "bench.load", *sys.argv[1:]]),
        "machine": machine.describe(),
        "versions": servers.versions(chosen),
        "seconds": options.seconds,
        "warmup": options.warmup,
        "repeat": options.repeat,
    }


def _run(options: argparse.Namespace, chosen: list[Server], results: Results, folder: Path) -> None:
    server_core, load_core = machine.two_cores()
    if server_core is None:
        print("one core only: server and load share it, rates and latencies mean little", file=sys.stderr)
    bench = Bench(server_core, load_core, options.warmup, options.seconds, folder)
    plan = list(_plan(results.rows, chosen, options.repeat))
    begin = time.monotonic()
    for done, (row, server) in enumerate(plan):
        sample = bench.sample(row, server)
        results.add(row, server.name, sample)
        left = (time.monotonic() - begin) / (done + 1) * (len(plan) - done - 1)
        print(
            f"[{done + 1:3}/{len(plan)}] {row.name:17} {server.name:13} {_progress(row, sample)}"
            f"  ({_duration(left)} left)",
            file=sys.stderr,
            flush=True,
        )


def _plan(chosen_rows: list[Row], chosen: list[Server], repeat: int) -> list[tuple[Row, Server]]:
    """Servers take turns within a row, and in each repetition another one begins."""
    plan: list[tuple[Row, Server]] = []
    for repetition in range(repeat):
        first = repetition % len(chosen)
        for row in chosen_rows:
            plan.extend((row, server) for server in chosen[first:] + chosen[:first] if server.serves(row))
    return plan


def _progress(row: Row, sample: Sample) -> str:
    if sample.value is None:
        return f"FAILED: {sample.fault}"
    text = f"{table.number(sample.value):>8} {row.unit}"
    if row.kind == "cpu":
        text += f" {sample.rate:>9,.0f}/s"
        if sample.p99 is not None:
            text += f"  p99 {sample.p99:.2f} ms"
    if sample.others > _QUIET:
        text += f"  others {sample.others:.0%}"
    return text + (f"  ! {sample.errors}" if sample.errors else "")


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes}:{seconds:02}"


def _write(results: Results, folder: Path) -> None:
    (_made(folder) / "load.md").write_text(table.markdown(results))
    (folder / "load.svg").write_text(chart.draw(results))
    print(f"\n{folder}: load.md, load.svg", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
