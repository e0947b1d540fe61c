"""The process that fuzzes: one target, in the environment of build.environment(); arguments after it are libFuzzer's.

child.py TARGET FLAG... FOLDER      make inputs up, starting from those of the folder
child.py TARGET FILE...             give the target these inputs, once each
"""

from __future__ import annotations

import gc
import sys
import warnings
from typing import Any

import atheris
from fuzz.targets import TARGETS

import fastserve._core.http1.parser


def main() -> None:
    target = TARGETS[sys.argv[1]]
    assert "build" in fastserve._core.http1.parser.__file__, "this is not the core that was built for fuzzing"
    unraisable: list[Any] = []
    sys.unraisablehook = unraisable.append
    warnings.simplefilter("error")

    def check(data: bytes) -> None:
        target.check(data)
        if unraisable:
            raise AssertionError(f"raised where nobody can catch it: {unraisable[0]}") from unraisable[0].exc_value

    gc.collect()
    gc.freeze()  # a target that collects garbage waits for its own alone
    atheris.Setup([sys.argv[0], *sys.argv[2:]], check)
    atheris.Fuzz()


main()
