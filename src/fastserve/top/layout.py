"""Figures as lines of styled text, for a terminal of some size. Nothing here knows how they get to a screen."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from fastserve.top.figures import Figures, Worker

DIM, BOLD, RED, YELLOW, GREEN = "dim", "bold", "red", "yellow", "green"
HEADING = "reverse"
LATE_SECONDS = 0.1  # a lag beyond it is yellow
BARS = " ▁▂▃▄▅▆▇█"
WIDE = 120  # columns from which on each worker has its rate drawn
HEAD_LINES, FEWEST_WORKERS, MOST_REQUESTS = 4, 3, 12
MOST_CONNECTIONS = 11  # columns of three numbers
KEYS = "q quit   space pause   s sort   w worker"

Piece = tuple[str, str]  # text, style
Line = list[Piece]


class Column(NamedTuple):
    title: str
    width: int
    value: Callable[[Worker], str]
    style: Callable[[Worker], str] = lambda worker: ""


def state_style(worker: Worker) -> str:
    return "" if worker.state == "ready" else YELLOW


COLUMNS = (
    Column("W", 3, lambda worker: str(worker.worker)),
    Column("PID", 7, lambda worker: str(worker.pid)),
    Column("STATE", 5, lambda worker: worker.state[:5], state_style),
    Column("AGE", 4, lambda worker: span(worker.age)),
    Column("REQ/S", 6, lambda worker: number(worker.rate)),
    Column("ACT", 4, lambda worker: number(worker.active, 4)),
    Column("WAIT", 4, lambda worker: number(worker.queue, 4), lambda worker: YELLOW if worker.queue else ""),
    Column("P99", 5, lambda worker: seconds(worker.p99)),
    Column("LAG", 5, lambda worker: seconds(worker.lag), lambda worker: YELLOW if worker.lag > LATE_SECONDS else ""),
    Column("BUSY", 4, lambda worker: percent(worker.busy)),
    Column("CPU", 4, lambda worker: percent(worker.cpu)),
    Column("RSS", 5, lambda worker: size(worker.rss)),
    Column("IDLE/ACT/WS", MOST_CONNECTIONS, lambda worker: connections(worker)),  # noqa: PLW0108
)
SORTS: dict[str, Callable[[Worker], tuple[float, ...]]] = {
    "worker": lambda worker: (worker.worker, worker.age),
    "rate": lambda worker: (-worker.rate, worker.worker),
    "p99": lambda worker: (-(worker.p99 or 0.0), worker.worker),
    "lag": lambda worker: (-worker.lag, worker.worker),
    "cpu": lambda worker: (-worker.cpu, worker.worker),
    "rss": lambda worker: (-(worker.rss or 0), worker.worker),
}


class Shown(NamedTuple):
    """What the keys have chosen."""

    sort: str = "worker"
    worker: int | None = None  # the one whose requests are shown, None for all
    paused: bool = False
    note: str = ""  # what is wrong with the last reading


def frame(figures: Figures, width: int, height: int, shown: Shown = Shown()) -> list[Line]:  # noqa: B008
    """Return `height` lines of at most `width` columns."""
    foot = foot_lines(figures, width, height, shown)
    room = max(height - HEAD_LINES - 1 - len(foot), FEWEST_WORKERS)
    workers = ordered(figures, shown)
    lines = [*head_lines(figures), [], heading(width)]
    if len(workers) > room:
        hidden = len(workers) - room + 1
        # The chosen worker is never one of the hidden ones.
        workers[room - 2 :] = sorted(workers[room - 2 :], key=lambda worker: worker.worker != shown.worker)
        lines += [row(worker, width, shown) for worker in workers[: room - 1]]
        lines.append([(f"... and {hidden} more workers", DIM)])
    else:
        lines += [row(worker, width, shown) for worker in workers]
    lines += [[] for _ in range(height - len(lines) - len(foot))]
    return [cut(line, width) for line in (*lines, *foot)][:height]


def ordered(figures: Figures, shown: Shown) -> list[Worker]:
    """Return the workers in the order of the screen."""
    return sorted(figures.workers, key=SORTS[shown.sort])


def head_lines(figures: Figures) -> list[Line]:
    ready = sum(worker.state == "ready" for worker in figures.workers)
    state = ("ready", GREEN) if figures.ready else ("not ready", RED)
    end = figures.last_end
    last = "none" if end is None else f"worker {end['worker']} {end['reason']} {span(end['ago'])} ago"
    waits = figures.accept_queue > figures.accept_limit / 2 > 0
    return [
        [
            (f"fastserve {figures.version}", BOLD), ("   ", ""), state,
            (f"   up {span(figures.up)}   {ready} of {len(figures.workers)} workers ready", ""),
        ],
        [
            ("requests ", DIM), (f"{number(figures.rate)}/s", BOLD),
            ("   5xx ", DIM), (f"{number(figures.errors)}/s", RED if figures.errors else BOLD),
            ("   p50 ", DIM), (seconds(figures.p50), BOLD),
            ("   p99 ", DIM), (seconds(figures.p99), BOLD), (" of 10 s", DIM),
        ],
        [
            ("in flight ", DIM), (number(figures.active), BOLD),
            ("  queue ", DIM), (number(figures.queue), YELLOW if figures.queue else BOLD),
            ("  accept queue ", DIM),
            (f"{number(figures.accept_queue)}/{number(figures.accept_limit)}", RED if waits else BOLD),
            ("  last end ", DIM), (last, ""),  # in 80 columns with all else
        ],
    ]  # fmt: skip


def heading(width: int) -> Line:
    text = " ".join(column.title.rjust(column.width) for column in COLUMNS)
    if width >= WIDE:
        text += "  REQ/S OF THE LAST MINUTE"
    return [(text.ljust(width), HEADING)]


def row(worker: Worker, width: int, shown: Shown) -> Line:
    chosen = BOLD if worker.worker == shown.worker else ""
    line: Line = []
    for column in COLUMNS:
        line.append((column.value(worker).rjust(column.width), column.style(worker) or chosen))
        line.append((" ", ""))
    if width >= WIDE:
        line.append((f" {bars(worker.trail, width - 82)}", GREEN))
    return line


def foot_lines(figures: Figures, width: int, height: int, shown: Shown) -> list[Line]:
    """Return the requests under way, as many as leave room for workers, and the keys."""
    keys = f"{KEYS}   (sorted by {shown.sort})"
    if shown.paused:
        keys += "   PAUSED"
    last: Line = [(keys, DIM)]
    if shown.note:
        last = [(shown.note, RED)]
    requests = figures.requests
    if requests is None:
        return [[], last]
    if shown.worker is not None:
        requests = [each for each in requests if each["worker"] == shown.worker]
    of = "" if shown.worker is None else f" of worker {shown.worker}"
    room = max(min(height // 4, MOST_REQUESTS), 1)
    found = sorted(requests, key=lambda each: -each["seconds"])[:room]
    title: Line = [(f"Longest requests under way{of}" if found else f"No requests under way{of}", BOLD)]
    return [[], title, *(request_line(each) for each in found), last]


def request_line(request: dict[str, object]) -> Line:
    took = float(str(request["seconds"]))
    style = RED if took >= 10 else YELLOW if took >= 1 else ""
    place = f"worker {request['worker']}"
    return [
        (f"{took:7.1f} s  ", style),
        (f"{place:<10} ", DIM),
        (printable(f"{request['method']} {request['path']}"), ""),
    ]


def cut(line: Line, width: int) -> Line:
    """Return a line without what is beyond the right edge, and without spaces at its end."""
    kept: Line = []
    for text, style in line:
        if width > 0 and text:
            kept.append((text[:width], style))
        width -= len(text)
    while kept and kept[-1][1] != HEADING and not kept[-1][0].strip():
        kept.pop()
    return kept


def as_text(lines: list[Line]) -> str:
    return "\n".join("".join(text for text, _ in line).rstrip() for line in lines)


def printable(text: str) -> str:
    """Return a text of a client with nothing in it that a terminal takes for more than letters."""
    return "".join(char if char.isascii() and char.isprintable() else "?" for char in text)


def number(value: float, width: int = 5) -> str:
    """Return a number in at most this many columns, of which there are three to five."""
    if value < 9.95 and value != int(value):
        return f"{value:.1f}"
    for limit, unit, divisor in ((99_999, "", 1), (999_999, "k", 1e3), (999_999_999, "M", 1e6)):
        text = f"{value / divisor:.0f}{unit}"
        if value <= limit and len(text) <= width:
            return text if value >= divisor / 2 or not value else f"{value / divisor:.1f}{unit}"[1:]
    return f"{value / 1e9:.1f}G"


def seconds(value: float | None) -> str:
    if value is None:
        return "-"
    if value < 0.00995:
        return f"{value * 1e3:.1f}ms"
    if value < 0.9995:
        return f"{value * 1e3:.0f}ms"
    return f"{value:.1f}s" if value < 99.95 else f"{value:.0f}s"


def span(value: float) -> str:
    """Return a time in at most four columns."""
    for limit, unit, divisor in ((100, "s", 1), (6000, "m", 60), (48 * 3600, "h", 3600)):
        if value < limit:
            return f"{value // divisor:.0f}{unit}"
    return f"{value // 86400:.0f}d"


def size(value: int | None) -> str:
    if value is None:
        return "-"
    if value < 9999 * 2**20:
        return f"{value / 2**20:.0f}M"
    return f"{value / 2**30:.1f}G" if value < 99.95 * 2**30 else f"{value / 2**30:.0f}G"


def percent(share: float) -> str:
    """Return a share of one core; of ten and more, how many."""
    return f"{share * 100:.0f}%" if share < 9.995 else f"{share:.0f}x"


def connections(worker: Worker) -> str:
    counts = worker.idle, worker.serving, worker.websockets
    texts = ("/".join(number(each, width) for each in counts) for width in (5, 4, 3))
    return next(text for text in texts if len(text) <= MOST_CONNECTIONS)


def bars(values: list[float], width: int) -> str:
    """Return a chart of a line: the last values, as high as they are among them."""
    values = values[-min(width, 60) :]
    highest = max(values, default=0.0)
    if not highest:
        return ""
    return "".join(BARS[min(int(value / highest * 8 + 0.5), 8)] for value in values)
