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


@pytest.mark.parametrize(
    "name", [*KNOWN, b"via", b"from", b"accept-encoding", b"x-requested-with", b"upgrade-insecure-requests"]
)
def test_each_byte_counts(name: bytes) -> None:
    assert find(name) == name
    for at in range(len(name)):
        for byte in {b"0", b"_", b"-", b"\0", b"\x80", bytes([name[at] ^ 1]), bytes([name[at] | 0x80])} - {
            name[at : at + 1]
        }:
            other = name[:at] + byte + name[at + 1 :]
            assert find(other) is None, other


def test_only_letters_have_a_case() -> None:
    # "-" and "\r" differ in the bit that tells "A" from "a".
    assert find(b"content\rlength") is None
