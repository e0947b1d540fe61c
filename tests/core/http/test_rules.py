from __future__ import annotations

import pytest

from fastserve._core.http.rules import host_is_valid, judge_transfer_coding


@pytest.mark.parametrize(
    "host",
    [b"x", b"example.com", b"a.b:80", b"a.b:", b"127.0.0.1:65535", b"[::1]", b"[::1]:8000", b"a_b~c", b"%41", b"a:0",
     b"[fe80::1%25eth0]", b"x:00080", b"!$&'()*+;="],
)  # fmt: skip
def test_hosts(host: bytes) -> None:
    assert host_is_valid(host)


@pytest.mark.parametrize(
    "host",
    [b"", b":80", b"a,b", b"u@h", b"a/b", b"a b", b"a\tb", b"a:b", b"a:65536", b"a:999999", b"[::1", b"[]", b"[abc]",
     b"::1", b"a?b", b"a#b", b"%4", b"%zz", b"a:80:80", b"\xe4", b"a\0", b"[::1]x", b"<", b'"'],
)  # fmt: skip
def test_not_hosts(host: bytes) -> None:
    assert not host_is_valid(host)


@pytest.mark.parametrize(
    ("value", "status"),
    [
        (b"chunked", 0),
        (b"Chunked", 0),
        (b" chunked\t", 0),
        (b"gzip, chunked", 501),
        (b"gzip", 501),
        (b"xchunked", 501),
        (b"chunked, gzip", 400),
        (b"chunked, chunked", 400),
        (b"chunked,", 400),
        (b",chunked", 400),
        (b"", 400),
        (b"\x0bchunked", 400),
        (b"chunked;q=1", 400),
        (b"ch unked", 400),
    ],
)
def test_transfer_codings(value: bytes, status: int) -> None:
    assert judge_transfer_coding(value) == status
