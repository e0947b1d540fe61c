"""What setup.py makes of the modules, and what these are built without."""

from __future__ import annotations

import pickle
import re
import runpy
from pathlib import Path
from typing import Any

import pytest

from fastserve._core.settings import Settings

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def build() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "setup.py"))


def sources() -> list[Path]:
    return sorted((ROOT / "src/fastserve/_core").rglob("*.pyx"))


@pytest.mark.tree
def test_modules_say_how_far_they_are_optimized(build: dict[str, Any]) -> None:
    found: dict[str, set[str]] = {"-O1": set(), "-O2": set(), "-O3": set()}
    for path in sources():
        source = path.relative_to(ROOT).as_posix()
        flags = build["extension"](source, "release").extra_compile_args
        levels = [flag for flag in flags if flag.startswith("-O")]
        assert levels in (["-O2"], ["-O2", "-O1"], ["-O2", "-O3"])
        found[levels[-1]].add(path.stem)
        assert build["extension"](source, "trace").extra_compile_args == list(build["KINDS"]["trace"].compile)
    assert {"settings", "testing", "handshake", "lingering", "worker"} <= found["-O1"]
    assert {"connection", "exchange", "parser", "task", "turn"} <= found["-O2"]
    assert found["-O3"] == {"fields", "frames", "hpack", "response_head", "rules", "utf8"}


@pytest.mark.tree
def test_a_first_line_for_the_build_is_one_that_it_knows(build: dict[str, Any]) -> None:
    for path in sources():
        with path.open(encoding="utf-8") as file:
            first = file.readline()
        assert first in (build["COLD"], build["HOT"]) or first.startswith('"""'), path


@pytest.mark.tree
def test_expressions_that_bring_in_coroutines_are_not_used() -> None:
    # A generator expression costs what Cython's coroutines take to compile; a list does the same here.
    call = re.compile(r"\b(?:all|any|bytes|dict|frozenset|list|max|min|set|sorted|sum|tuple|join)\(([^()\[\]{}]+) for ")
    found = [f"{path.name}: {match[0]}" for path in sources() for match in call.finditer(path.read_text("utf-8"))]
    assert found == []


def test_settings_of_the_core_cannot_be_pickled() -> None:
    with pytest.raises(TypeError, match=r"cannot pickle .*Settings"):
        pickle.dumps(Settings.__new__(Settings))
