"""The table of tests that do not apply to HTTP/2."""

from __future__ import annotations

from pathlib import Path

from over_http2 import DOES_NOT_APPLY

TESTS = Path(__file__).parents[1]


def test_each_is_there() -> None:
    text = "".join(
        file.read_text("utf-8") for folder in ("asgi", "wsgi") for file in (TESTS / folder).glob("test_*.py")
    )
    assert [name for name in DOES_NOT_APPLY if f"def {name.partition('[')[0]}" not in text] == []
