"""Child processes of programs frozen by PyInstaller and the like."""

from __future__ import annotations

import sys


def divert() -> None:
    """In a frozen program, run what multiprocessing started this process for, and do not return.

    A frozen program has no interpreter to start: multiprocessing starts the whole program again. Returns at once in a
    process that multiprocessing did not start.
    """
    if getattr(sys, "frozen", False):
        import multiprocessing

        multiprocessing.freeze_support()
