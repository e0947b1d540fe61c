from __future__ import annotations

import pytest

from fastserve._core.http.field_names import find

KNOWN = [b"host", b"te", b"accept", b"content-length", b"x-forwarded-for", b"sec-ch-ua-platform-version", b"cookie"]


@pytest.mark.parametrize("name", KNOWN)
def test_any_case_gives_the_same_object(name: bytes) -> None:
    assert find(name) == name
    assert find(name.upper()) is find(name)
    assert find(name.title()) is find(name)


@pytest.mark.parametrize(
    "name", [b"", b"h", b"hosts", b"hos", b"hest", b"x-unknown", b"a" * 300, b"host\0", b"\xe8ost"]
)
def test_others(name: bytes) -> None:
    assert find(name) is None


def test_only_letters_have_a_case() -> None:
    # "-" and "\r" differ in the bit that tells "A" from "a".
    assert find(b"content\rlength") is None
