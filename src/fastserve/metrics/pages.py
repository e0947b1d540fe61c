"""The pages of metrics: that of this process, those of the workers, and the sum of all.

A worker writes a page that its parent has made before it and can read at any time, also when the worker hangs or has
been killed. Once a process is joined its page is added to the sum of those of its place, and its gauges are dropped. So
no counter ever falls, and memory and the time of a scrape depend on the workers that live, however many there were.
"""

from __future__ import annotations

import math
import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from fastserve._core.metrics import SCALAR_CELLS, SHAPE, Metrics, Sums

if TYPE_CHECKING:
    import mmap

SIZE = SHAPE["cells"] * 8
MORE_CELLS = 10_000  # own cells after the page, for many series; memory that nothing is written to costs nothing
WHOLE = SIZE + MORE_CELLS * SHAPE["own_size"] * 8
OWN, OWN_SIZE, OWN_NAME = SHAPE["own"], SHAPE["own_size"], SHAPE["own_name"]
MAP_FIXED = 0x10  # mmap(2), on Linux and the BSDs
MORE = "+"  # the kind of an own cell that goes on with the name of the one before it
COUNTERS = "chs"  # the kinds of own cells that are summed for ever: of counters, histograms and summaries

_lock = threading.Lock()
_own: list[Metrics] = []  # that of this process, once it is made
_memory: list[mmap.mmap] = []  # that it is in
_of_thread = threading.local()  # that of a worker which is a thread


def of_process() -> Metrics:
    """Return the page of this process; without a parent that has made one it is in private memory."""
    if not _own:
        with _lock:
            if not _own:
                import mmap

                _take(mmap.mmap(-1, WHOLE))
    return _own[0]


def of_worker() -> Metrics:
    """Return the page of the worker that this thread is, else that of this process."""
    own: Metrics | None = getattr(_of_thread, "page", None)
    return of_process() if own is None else own


def adopt_in_thread(page: Page) -> None:
    """Make this thread a worker that counts in a page of its own, which others of this process read."""
    _of_thread.page = made = Metrics(page.map_again())
    made.begin(threading.get_native_id(), int(time.time()))


def adopt(page: Page) -> None:
    """Make a page that the parent reads the page of this process, and move into it what has been counted.

    Metrics that the application made before this process was forked then count there.
    """
    with _lock:
        if not _own:
            _take(page.map())
            return
        page.write(_own[0].read())
        page.map_over(_memory[0])
        _own[0].begin(os.getpid(), int(time.time()))


def _take(memory: Any) -> None:
    made = Metrics(memory)
    made.begin(os.getpid(), int(time.time()))
    _memory[:] = [memory]
    _own[:] = [made]


class Page:
    """The memory of a page that two processes share. It is handed to a child process as an argument of its start."""

    def __init__(self) -> None:
        self.name = ""
        self.fd = -1
        self._mapped: mmap.mmap | None = None
        if sys.platform == "win32":
            self.name = f"fastserve-{os.getpid()}-{os.urandom(8).hex()}"
            self._mapped = self.map_again()
            return
        if hasattr(os, "memfd_create"):
            self.fd = os.memfd_create("fastserve metrics", os.MFD_CLOEXEC)
        else:
            import tempfile

            self.fd, path = tempfile.mkstemp(prefix="fastserve-")
            os.unlink(path)  # noqa: PTH108
        os.ftruncate(self.fd, WHOLE)

    @classmethod
    def of(cls, fd: int) -> Page:
        """Return the page whose memory a descriptor leads to."""
        made = cls.__new__(cls)
        made.name, made.fd, made._mapped = "", fd, None
        return made

    def __getstate__(self) -> dict[str, Any]:
        from multiprocessing.reduction import DupFd

        return {"name": self.name, "fd": None if self.fd < 0 else DupFd(self.fd)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.name = state["name"]
        self.fd = -1 if state["fd"] is None else state["fd"].detach()
        self._mapped = None

    def map(self) -> mmap.mmap:
        """Return the memory, and let go of what leads to it."""
        made = self.map_again()
        self.close()
        return made

    def map_again(self) -> mmap.mmap:
        """Return the memory."""
        import mmap

        if sys.platform == "win32":
            return mmap.mmap(-1, WHOLE, tagname=self.name)
        return mmap.mmap(self.fd, WHOLE)

    def write(self, content: bytes) -> None:
        """Copy the cells of another page into this one."""
        os.pwrite(self.fd, content, 0)

    def map_over(self, memory: mmap.mmap) -> None:
        """Map this page over memory that is mapped already, and close what leads to it."""
        import ctypes
        import mmap

        libc = ctypes.CDLL(None, use_errno=True)
        libc.mmap.restype = ctypes.c_void_p
        libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
        place = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        access = mmap.PROT_READ | mmap.PROT_WRITE
        if libc.mmap(place, WHOLE, access, mmap.MAP_SHARED | MAP_FIXED, self.fd, 0) != place:
            raise OSError(ctypes.get_errno(), "cannot map a page of metrics")
        self.close()

    def read(self) -> bytes:
        """Return the page, and the own cells after it."""
        if self._mapped is not None:
            return self._mapped[:WHOLE]
        page = os.pread(self.fd, SIZE, 0)
        more = int.from_bytes(page[-8:], sys.byteorder)
        return page + os.pread(self.fd, more * OWN_SIZE * 8, SIZE) if more else page

    def close(self) -> None:
        if self._mapped is not None:
            self._mapped.close()
        elif self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


class OwnPage(Page):
    """The page of this process, for a parent whose workers are threads: the application's own metrics are there."""

    def __init__(self) -> None:
        self.name, self.fd, self._mapped = "", -1, None

    def read(self) -> bytes:
        return of_process().read()


class Totals:
    """The sum of pages: what the core counts, and own cells by name."""

    def __init__(self) -> None:
        self.sums = Sums()
        self.own: dict[str, float] = {}  # names begin with their kind
        self.texts: dict[str, str] = {}

    def scalar(self, name: str, offset: int = 0) -> int:
        return self.sums.scalar(SCALAR_CELLS[name] + offset)

    def add(self, page: bytes, lives: bool = True) -> None:
        """Add a page; of a process that has ended only what counts for ever."""
        if self.sums.add(page, lives):
            self.add_own(page, lives)

    def add_own(self, page: bytes, lives: bool) -> None:
        cells = memoryview(page).cast("Q")
        more, size = cells[SHAPE["more"]], cells[SHAPE["texts"]]
        if not cells[OWN] and not more:
            return
        values = memoryview(page).cast("d")
        end = SHAPE["cells"]
        found: list[tuple[str, float]] = []
        parts = (range(OWN, SHAPE["texts"], OWN_SIZE), range(end, end + more * OWN_SIZE, OWN_SIZE))
        for at in (at for part in parts for at in part):
            if not cells[at]:
                continue
            name = page[at * 8 : (at + OWN_NAME) * 8].rstrip(b"\0").decode("utf-8", "replace")
            if name.startswith(MORE) and found:
                found[-1] = (found[-1][0] + name[1:], found[-1][1])
            else:
                found.append((name, values[at + OWN_NAME]))
        for name, value in found:
            if lives or name[0] in COUNTERS:
                merge(self.own, name, value)
        start = (SHAPE["texts"] + 1) * 8
        for line in page[start : start + size].decode("utf-8", "replace").splitlines():
            metric, _, text = line.partition(" ")
            self.texts.setdefault(metric, text)

    def include(self, other: Totals) -> None:
        """Add the sum of other pages."""
        self.sums.join(other.sums)
        for name, value in other.own.items():
            merge(self.own, name, value)
        for metric, text in other.texts.items():
            self.texts.setdefault(metric, text)


def merge(own: dict[str, float], name: str, value: float) -> None:
    """Merge a value of the application's own: by the sum, or for two kinds of gauges by the greatest or the least."""
    if name not in own:
        own[name] = value
    elif name[0] == ">":
        own[name] = max(own[name], value)
    elif name[0] == "<":
        own[name] = min(own[name], value)
    else:
        own[name] = math.fsum((own[name], value))


class Live:
    """A process whose page is read: its place among the workers, and its pid once it has one."""

    def __init__(self, place: int, page: Page | None = None) -> None:
        self.place = place
        self.page = Page() if page is None else page
        self.pid: int | None = None
        self.since = time.time()  # when its process was started
        self.shown_cpu = 0.0  # seconds of CPU time that were shown of it


class Pages:
    """The pages of the processes of a parent. The parent's main thread begins and ends them, any thread reads them."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.live: list[Live] = []
        self.dead: dict[int, Totals] = {}  # by place
        self.dead_cpu: dict[int, float] = {}

    def begin(self, place: int, page: Page | None = None) -> Live:
        """Return the page for a process that is about to start in a place."""
        made = Live(place, page)
        with self.lock:
            self.live.append(made)
        return made

    def end(self, live: Live) -> None:
        """Add the page of a process that has been joined to the sum of its place. A second call does nothing."""
        with self.lock:
            if live not in self.live:
                return
            self.live.remove(live)
            page = live.page.read()
            self.dead.setdefault(live.place, Totals()).add(page, lives=False)
            own = Totals()
            own.add(page)
            seconds = max(live.shown_cpu, own.scalar("process_busy") / 1e9)
            self.dead_cpu[live.place] = self.dead_cpu.get(live.place, 0.0) + seconds
            live.page.close()

    def inherit(self, dead: dict[int, Totals], dead_cpu: dict[int, float], live: list[Live]) -> None:
        """Take over from a predecessor: the sums of processes that have ended, and the pages of those that run."""
        with self.lock:
            for place, totals in dead.items():
                self.dead.setdefault(place, Totals()).include(totals)
            for place, seconds in dead_cpu.items():
                self.dead_cpu[place] = self.dead_cpu.get(place, 0.0) + seconds
            self.live += live

    def cpu_of_places(self, seconds: dict[int, float]) -> dict[int, float]:
        """Return the CPU time to show of each place, from what was read of each pid. It never falls.

        What was read of a process that has ended since does not count: it has its share in the sum of its place.
        """
        with self.lock:
            found = dict(self.dead_cpu)
            for live in self.live:
                if live.pid is not None:
                    live.shown_cpu = max(live.shown_cpu, seconds.get(live.pid, 0.0))
                found[live.place] = found.get(live.place, 0.0) + live.shown_cpu
            return found

    def read(self) -> tuple[dict[int, Totals], list[tuple[Live, Totals]]]:
        """Return the sums of each place, also of processes that have ended, and the processes that live with theirs."""
        with self.lock:
            places: dict[int, Totals] = {}
            for place, dead in self.dead.items():
                places.setdefault(place, Totals()).include(dead)
            found = []
            for live in self.live:
                totals = Totals()
                totals.add(live.page.read())
                found.append((live, totals))
                places.setdefault(live.place, Totals()).include(totals)
            return dict(sorted(places.items())), found

    def snapshot(self) -> tuple[Totals, list[tuple[Live, Totals]]]:
        """Return the sum of the processes that have ended, and those that live, of one moment."""
        with self.lock:
            found = []
            for live in self.live:
                totals = Totals()
                totals.add(live.page.read())
                found.append((live, totals))
            return in_all(self.dead), found


def in_all(sums: dict[int, Totals]) -> Totals:
    """Return the sum over all places."""
    total = Totals()
    for each in sums.values():
        total.include(each)
    return total
