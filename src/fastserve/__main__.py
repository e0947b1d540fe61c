"""What `fastserve` and `python -m fastserve` run."""

from __future__ import annotations

import gc
import os
import sys


def command(name: str | None = None) -> None:
    """Be the command line of this process, and leave it; usage lines call it `name`, by default as it was called."""
    collecting = gc.isenabled()
    if os.getpid() == 1:  # the first process of a container is not ended by a signal that it does not handle
        from fastserve.process import signals

        signals.handle_as_first_process()
    gc.disable()  # what modules load stays: to look through it for garbage, again and again, slows the start
    from fastserve.cli import main

    if {"--help", "--version"}.isdisjoint(sys.argv):
        import fastserve.main  # noqa: F401  (what serving needs anyway)
    gc.freeze()
    if collecting:
        gc.enable()
    main(prog_name=name)


if __name__ == "__main__":
    command("python -m fastserve")
