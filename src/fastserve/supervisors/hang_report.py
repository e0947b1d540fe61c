"""Where a worker stands: the stacks of its threads and its requests under way.

A thread of the worker writes them, which is safe while it holds the interpreter. Where another one does not let go of
that, a signal handler in C writes them; then no thread may change its stack under the handler's eyes.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

# A real-time signal where available: applications rarely use them.
DUMP_SIGNAL: int | None = signal.SIGRTMAX - 4 if sys.platform == "linux" else getattr(signal, "SIGUSR2", None)

PATIENCE_SECONDS = 3.0  # for the process to write its report
THREAD_SECONDS = 0.5  # of it, for the process's own thread to begin
PIPE_SIZE = 1031, 1 << 20  # Linux's F_SETPIPE_SZ: for many threads with deep stacks
MOST_BYTES = 1 << 20

kept: list[Connection] = []  # what the signal handler writes to, open for as long as the process lives


def enable(writer: Connection) -> None:
    """In the worker: write to this pipe when asked()."""
    if DUMP_SIGNAL is None:
        return
    from fastserve._core.http.inflight import write_on_signal

    kept.append(writer)
    if sys.platform == "linux":
        import fcntl

        with contextlib.suppress(OSError):  # a limit of the system: then a long report is cut
            fcntl.fcntl(writer.fileno(), *PIPE_SIZE)
    write_on_signal(DUMP_SIGNAL, writer.fileno())
    # It chains to the previous handler, which writes the requests and the end mark.
    faulthandler.register(DUMP_SIGNAL, file=writer.fileno(), all_threads=True, chain=True)


def write() -> None:
    """In the worker: write the report from a thread that has the interpreter."""
    if not kept:
        return
    from fastserve._core.http.inflight import write_now

    faulthandler.dump_traceback(file=kept[-1].fileno(), all_threads=True)
    write_now()


def asked(pid: int, reader: Connection, ask: Callable[[], None], patience: float = PATIENCE_SECONDS) -> str:
    """Return the report of a process that has called enable(), as far as it comes in time; "" if it writes none.

    `ask` has a thread of the process call write(); where that does not begin in time, a signal does it.
    """
    if DUMP_SIGNAL is None:
        return ""
    with contextlib.suppress(OSError, EOFError):
        while reader.poll():  # left over from one that came too late
            if not os.read(reader.fileno(), 65536):
                break
        end = time.monotonic() + patience
        ask()
        if not reader.poll(min(THREAD_SECONDS, patience / 2)):
            os.kill(pid, DUMP_SIGNAL)
        return read(reader, end - time.monotonic())
    return ""


def of_this_process(reader: Connection) -> str:
    """Return the report of the process itself, which has called enable() with the other end of `reader`."""
    write()
    return read(reader, 0)


def read(reader: Connection, patience: float) -> str:
    """Return a report that is being written, as far as it comes in time."""
    written = b""
    end = time.monotonic() + patience
    with contextlib.suppress(OSError, EOFError):
        while not written.endswith(b"\0") and len(written) < MOST_BYTES:
            if not reader.poll(max(end - time.monotonic(), 0)):
                break
            piece = os.read(reader.fileno(), 65536)
            if not piece:
                break
            written += piece
    return written.rstrip(b"\0").decode("utf-8", "replace").strip("\n")
