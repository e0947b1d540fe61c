"""Results as text: a block a row and a table of ratios for the terminal, a Markdown table for a README."""

from __future__ import annotations

from bench.load.results import Figure, Results
from bench.load.rows import Row


def number(value: float) -> str:
    """Three significant figures, but never an exponent: 0.61, 8.05, 59.8, 826."""
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def blocks(results: Results) -> str:
    """For each row every server's figures, then what went wrong."""
    return "\n\n".join(_block(results, row) for row in results.rows)


def _block(results: Results, row: Row) -> str:
    lines = [
        f"{row.name}: {row.title}"
        + ("" if row.streams or "connection" in row.title or row.connections == 1 else f" ({row.load})")
    ]
    head = f"{row.unit:>14} {'low-high':>15} {'ratio':>6}"
    if row.kind == "cpu":
        head += f" {'system':>7} {row.noun + 's/s':>10} {'p50 ms':>8} {'p99 ms':>8} {'p99.9':>8}"
    lines.append(f"  {'':18}{head} {'RSS MB':>7}")
    for server in results.servers:
        figure = results.figure(row, server)
        if figure is not None:
            lines.append(f"  {server:18}" + _line(row, figure))
            lines.extend(f"  {'':18}  ! {complaint}" for complaint in figure.complaints)
        elif reason := results.reason_against(row, server):
            lines.append(f"  {server:18}  {reason}")
    return "\n".join(lines)


def _line(row: Row, figure: Figure) -> str:
    if figure.value is None:
        return f"{'-':>14}"
    ratio = "" if figure.ratio is None else f"{figure.ratio:.2f}"
    line = f"{number(figure.value):>14} {number(figure.low) + '-' + number(figure.high):>15} {ratio:>6}"
    if row.kind == "cpu":
        line += f" {figure.system:>7.0%} {figure.rate:>10,.0f}"
        line += "".join(f" {_milliseconds(value):>8}" for value in (figure.p50, figure.p99, figure.p999))
    return f"{line} {figure.resident:>7.1f}"


def _milliseconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def ratios(results: Results) -> str:
    """One line a row: every server's share of the reference, and fastserve's goal where the row has one."""
    goals = results.reference == "uvicorn" and "fastserve" in results.servers
    width = max(12, *(len(server) + 2 for server in results.servers))
    head = f"{'of ' + results.reference:24}" + "".join(f"{server:>{width}}" for server in results.servers)
    lines = [head + (f"{'goal':>8}" if goals else "")]
    for row in results.rows:
        cells = [_ratio(results.figure(row, server)) for server in results.servers]
        line = f"{row.name:24}" + "".join(f"{cell:>{width}}" for cell in cells)
        if goals and row.goal is not None:
            line += f"{row.goal:8.2f} " + _verdict(row, results.figure(row, "fastserve"))
        elif goals:
            line += "  " + "; ".join(_goals(results, row))
        lines.append(line.rstrip())
    return "\n".join(lines)


def _ratio(figure: Figure | None) -> str:
    if figure is None:
        return ""
    if figure.value is None:
        return "failed"
    return ("?" if figure.ratio is None else f"{figure.ratio:.2f}") + ("!" if figure.complaints else "")


def _goals(results: Results, row: Row) -> list[str]:
    """Return what there is to reach, as far as it was measured, and whether it was."""
    texts = []
    own = results.figure(row, "fastserve")
    for server, goal in row.goals:
        share = results.share(row, "fastserve", server)
        if share is not None:
            texts.append(f"{share:.2f} of {server}'s, goal {goal:.2f} " + _outcome(round(share, 2) <= goal))
    if row.most is not None and own is not None and own.value is not None:
        texts.append(f"at most {row.most:,g} {row.unit} " + _outcome(own.value <= row.most))
    if row.least:
        texts.append("least " + _outcome(results.is_least(row, "fastserve")))
    return texts


def _verdict(row: Row, figure: Figure | None) -> str:
    if figure is None or figure.ratio is None or row.goal is None:
        return ""
    return _outcome(round(figure.ratio, 2) <= round(row.goal, 2))


def _outcome(reached: bool | None) -> str:
    return "" if reached is None else "reached" if reached else "missed"


def markdown(results: Results) -> str:
    """A table for a README: the figure of each server with its share of the reference."""
    lines = [
        "| | " + " | ".join(results.servers) + " |",
        "|---|" + "---:|" * len(results.servers),
    ]
    for row in results.rows:
        cells = []
        for server in results.servers:
            figure = results.figure(row, server)
            if figure is None or figure.value is None:
                cells.append(results.reason_against(row, server))
                continue
            share = "" if figure.ratio is None or server == results.reference else f" ({figure.ratio:.2f})"
            cells.append(f"{number(figure.value)}{share}")
        unit = row.unit.replace("us/", "µs/")
        lines.append(f"| {row.title}, {unit} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", caption(results)]) + "\n"


def caption(results: Results) -> str:
    """One sentence on where the figures come from."""
    machine = results.about.get("machine", {})
    versions = results.about.get("versions", {})
    named = [f"{server} {versions[server]}" for server in results.servers if server in versions]
    return (
        f"CPU time of the server {results.counted}, less is better; in brackets the share of {results.reference}'s. "
        f"{', '.join(named)}; {machine.get('python', '')}, {machine.get('kernel', '')}, {machine.get('cpu', '')}; "
        f"median of {results.about.get('repeat', 1)}, {str(results.about.get('date', ''))[:10]}: "
        f"`{results.about.get('command', '')}`"
    )
