"""Every target with its seeds and with the inputs that once failed, without a fuzzer, in any build."""

from __future__ import annotations

from pathlib import Path

import pytest
from fuzz.target import Target, cut
from fuzz.targets import TARGETS

FOUND = Path(__file__).parent / "found"


def found(target: Target) -> list[Path]:
    folder = FOUND / target.name
    return sorted(folder.iterdir()) if folder.is_dir() else []


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS.keys())
def test_seeds(target: Target) -> None:
    seeds = list(target.seeds())
    assert len(seeds) > 20
    for seed in seeds:
        try:
            target.check(seed)
        except Exception as error:
            raise AssertionError(f"seed {seed!r}") from error


@pytest.mark.parametrize(
    ("target", "path"),
    [
        pytest.param(target, path, id=f"{target.name}-{path.name}")
        for target in TARGETS.values()
        for path in found(target)
    ],
)
def test_found(target: Target, path: Path) -> None:
    target.check(path.read_bytes())


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS.keys())
def test_any_input_is_one(target: Target) -> None:
    """Also those that are too short to say everything."""
    for size in range(12):
        target.check(bytes(size))
        target.check(b"\xff" * size)


def test_cut() -> None:
    assert cut(b"abcdef", [1, 0, 2]) == [b"a", b"bc", b"def"]
    assert cut(b"ab", [1, 1, 1]) == [b"a", b"b"]
    assert cut(b"", [1]) == []
