"""Where an unresponsive worker stands: the stacks of its threads and its requests under way.

The worker writes them in a signal handler in C, which runs even while another thread holds the interpreter.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

# A real-time signal where available: applications rarely use them.
DUMP_SIGNAL: int | None = signal.SIGRTMAX - 4 if sys.platform == "linux" else getattr(signal, "SIGUSR2", None)

PATIENCE_SECONDS = 3.0  # for the process to write its report
MOST_BYTES = 1 << 20

kept: list[Connection] = []  # what the signal handler writes to, open for as long as the process lives


def enable(writer: Connection) -> None:
    """In the worker: write to this pipe when asked()."""
    if DUMP_SIGNAL is None:
        return
    from fastserve._core.http.inflight import write_on_signal

    kept.append(writer)
    write_on_signal(DUMP_SIGNAL, writer.fileno())
    # It chains to the previous handler, which writes the requests and the end mark.
    faulthandler.register(DUMP_SIGNAL, file=writer.fileno(), all_threads=True, chain=True)


def asked(pid: int, reader: Connection, patience: float = PATIENCE_SECONDS) -> str:
    """Return the report of a process that has called enable(), as far as it comes in time; "" if it writes none."""
    if DUMP_SIGNAL is None:
        return ""
    written = b""
    with contextlib.suppress(OSError, EOFError):
        while reader.poll():  # left over from one that came too late
            if not os.read(reader.fileno(), 65536):
                break
        os.kill(pid, DUMP_SIGNAL)
        end = time.monotonic() + patience
        while not written.endswith(b"\0") and len(written) < MOST_BYTES:
            left = end - time.monotonic()
            if left <= 0 or not reader.poll(left):
                break
            piece = os.read(reader.fileno(), 65536)
            if not piece:
                break
            written += piece
    return written.rstrip(b"\0").decode("utf-8", "replace").strip("\n")
