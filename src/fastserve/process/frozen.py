"""Processes of programs that PyInstaller and its like have frozen."""

from __future__ import annotations

import sys


def divert() -> None:
    """In a frozen program, be the process that multiprocessing has started this one for, and do not return.

    There is no interpreter to start there: multiprocessing starts the whole program once more. Returns at once in a
    process that somebody else has started.
    """
    if getattr(sys, "frozen", False):
        import multiprocessing

        multiprocessing.freeze_support()
