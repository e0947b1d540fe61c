"""Results as an SVG bar chart that reads on light and dark pages: it brings its own background for either."""

from __future__ import annotations

from xml.sax.saxutils import escape

from bench.load.results import Figure, Results
from bench.load.rows import ALONE, Row
from bench.load.table import number

_WIDTH = 840
_MARGIN = 24
_NAMES = 132  # right edge of the server names, where the bars begin
_BARS = 560  # length of the longest bar
_SHORTEST, _LONGEST = 1.3, 2.0  # shares of the reference between which the longest bar lies; what is longer is cut off
_BAR, _STEP, _TITLE, _GAP = 12, 17, 22, 12
_HEADER, _FOOTER = 74, 52

_STYLE = """
.page { fill: #ffffff; stroke: #d0d7de } .text { fill: #1f2328 } .quiet { fill: #59636e } .rule { stroke: #8c959f }
.own { fill: #0969da } .ref { fill: #8c959f } .peer { fill: #c4ccd5 } .cut, .value { stroke: #ffffff }
@media (prefers-color-scheme: dark) {
.page { fill: #0d1117; stroke: #30363d } .text { fill: #f0f6fc } .quiet { fill: #9198a1 } .rule { stroke: #6e7681 }
.own { fill: #4493f8 } .ref { fill: #7d8590 } .peer { fill: #484f58 } .cut, .value { stroke: #0d1117 }
}
text { font: 12px -apple-system, "Segoe UI", "Noto Sans", Helvetica, Arial, sans-serif }
.title { font-size: 17px; font-weight: 600 } .row { font-size: 13px; font-weight: 600 } .bold { font-weight: 600 }
.small { font-size: 11px } .value { paint-order: stroke; stroke-width: 4px; stroke-linejoin: round }
"""


def draw(results: Results) -> str:
    """The text of an SVG file: for each row a bar a server, as long as its share of the reference server's figure."""
    bars: list[str] = []
    y = _HEADER
    ratios = [figure.ratio for row in results.rows for _, figure in _figures(results, row) if figure.ratio]
    longest = min(_LONGEST, max([_SHORTEST, *ratios]))
    for row in results.rows:
        y = _group(results, row, longest, y, bars)
    height = y + _FOOTER
    size = f'viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">',
        f"<title>{escape(_heading(results))}</title>",
        f"<style>{_STYLE}</style>",
        f'<rect class="page" x="0.5" y="0.5" width="{_WIDTH - 1}" height="{height - 1}" rx="8"/>',
        _text(_MARGIN, 32, "title text", _heading(results)),
        _text(_MARGIN, 52, "quiet", _explanation(results)),
        *bars,
    ]
    for line, text in enumerate(_source(results)):
        parts.append(_text(_MARGIN, height - 30 + 15 * line, "quiet small", text))
    return "\n".join([*parts, "</svg>"]) + "\n"


def _heading(results: Results) -> str:
    if any(row.kind != "cpu" for row in results.rows):
        return "Cost of serving"
    return f"CPU time of the server {results.counted}"


def _explanation(results: Results) -> str:
    text = f"less is better; bars are drawn as a share of {results.reference}'s, the dashed line"
    text += "; alone: the application without a server" if ALONE in results.servers else ""
    return text + ("; floor: a bare uvloop protocol with one fixed answer" if "floor" in results.servers else "")


def _source(results: Results) -> tuple[str, str]:
    about = results.about
    machine, versions = about.get("machine", {}), about.get("versions", {})
    named = [f"{server} {versions[server]}" for server in results.servers if server in versions]
    first = [*named, str(machine.get("python", ""))]
    second = [str(machine.get("cpu", "")), str(machine.get("kernel", "")), str(about.get("date", ""))[:10]]
    return ", ".join(first), ", ".join([*second, f"median of {about.get('repeat', 1)}"])


def _figures(results: Results, row: Row) -> list[tuple[str, Figure]]:
    return [(server, figure) for server in results.servers if (figure := results.figure(row, server)) is not None]


def _group(results: Results, row: Row, longest: float, y: int, parts: list[str]) -> int:
    figures = _lines(results, row)
    parts.append(_text(_MARGIN, y + 13, "row text", row.title))
    y += _TITLE
    mark, bottom = _NAMES + _BARS / longest, y + len(figures) * _STEP - _STEP + _BAR
    parts.append(
        f'<line class="rule" x1="{mark:.1f}" x2="{mark:.1f}" y1="{y - 2}" y2="{bottom + 2}" stroke-dasharray="2 2"/>'
    )
    for server, figure in figures:
        _bar(results, row, longest, server, figure, y, parts)
        y += _STEP
    return y + _GAP


def _lines(results: Results, row: Row) -> list[tuple[str, Figure | None]]:
    """Return what has a line: the figures, and the servers of which it is known why there is none."""
    found = [(server, results.figure(row, server)) for server in results.servers]
    return [(server, figure) for server, figure in found if figure or results.reason_against(row, server)]


def _bar(
    results: Results, row: Row, longest: float, server: str, figure: Figure | None, y: int, parts: list[str]
) -> None:
    own = server.startswith("fastserve")
    parts.append(_text(_NAMES - 8, y + 10, "text bold" if own else "quiet", server, anchor="end"))
    if figure is None or figure.value is None or figure.ratio is None:
        parts.append(_text(_NAMES + 4, y + 10, "quiet", results.reason_against(row, server) or "no figure"))
        return
    length = min(figure.ratio, longest) / longest * _BARS
    kind = "own" if own else "ref" if server == results.reference else "peer"
    parts.append(f'<rect class="{kind}" x="{_NAMES}" y="{y}" width="{max(length, 1):.1f}" height="{_BAR}" rx="2"/>')
    if figure.ratio > longest:
        # Two slanted gaps say that the bar goes on.
        for left in (length - 18, length - 12):
            x = _NAMES + left
            parts.append(
                f'<line class="cut" x1="{x:.1f}" x2="{x + 5:.1f}" y1="{y + _BAR + 1}" y2="{y - 1}" stroke-width="2"/>'
            )
    label = f"{number(figure.value)} {_unit(row)}" + ("" if server == results.reference else f" · {figure.ratio:.2f}")
    parts.append(_text(_NAMES + length + 6, y + 10, "value " + ("text bold" if own else "quiet"), label))


def _unit(row: Row) -> str:
    return {"cpu": "µs", "idle": "KB", "unread": "KB", "start": "ms"}[row.kind]


def _text(x: float, y: float, kind: str, text: str, anchor: str = "start") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
