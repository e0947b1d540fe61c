from __future__ import annotations

from typing import Any

import pytest

from fastserve._core.settings import Settings as Typed

Settings: Any = Typed  # what is wrong on purpose is not for the type checker

TIMEOUTS = ["timeout_keep_alive", "timeout_request_head", "timeout_request_body", "timeout_write"]
HEAD_LIMITS = ["limit_request_line", "limit_request_head", "limit_request_fields"]
OTHER_LIMITS = ["limit_request_body", "limit_concurrency"]


def test_defaults() -> None:
    settings = Settings()
    assert (settings.server, settings.date, settings.root_path) == (b"fastserve", True, "")
    assert (settings.timeout_keep_alive, settings.timeout_request_head) == (5.0, 30.0)
    assert (settings.timeout_request_body, settings.timeout_write) == (60.0, 60.0)
    assert (settings.limit_request_line, settings.limit_request_head) == (16384, 65536)
    assert (settings.limit_request_fields, settings.limit_request_body, settings.limit_concurrency) == (128, 0, 0)
    assert settings.reset_contextvars is False
    assert settings.default_headers == ()


def test_default_headers_in_lower_case() -> None:
    assert Settings(default_headers=[(b"X-A", b"B")]).default_headers == ((b"x-a", b"B"),)


def test_given_server_and_date_replace_the_default_ones() -> None:
    settings = Settings(default_headers=[(b"Server", b"mine"), (b"DATE", b"now")])
    assert settings.server is None
    assert settings.date is False


def test_root_path_in_bytes() -> None:
    assert Settings(root_path="/ä").raw_root_path == "/ä".encode()


@pytest.mark.parametrize("name", ["server", "date", "root_path", *TIMEOUTS, *HEAD_LIMITS, *OTHER_LIMITS])
def test_frozen(name: str) -> None:
    with pytest.raises(AttributeError):
        setattr(Settings(), name, 1)


@pytest.mark.parametrize("name", TIMEOUTS)
@pytest.mark.parametrize("value", [0, 0.5, 10, 999999999])
def test_timeouts(name: str, value: float) -> None:
    assert getattr(Settings(**{name: value}), name) == value


@pytest.mark.parametrize("name", TIMEOUTS)
@pytest.mark.parametrize("value", [-1, -0.001, float("nan"), float("inf"), 1e9])
def test_bad_timeouts(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=name):
        Settings(**{name: value})


@pytest.mark.parametrize("name", TIMEOUTS + HEAD_LIMITS + OTHER_LIMITS)
@pytest.mark.parametrize("value", ["5", None, True, b"1", [1]])
def test_types(name: str, value: Any) -> None:
    with pytest.raises(TypeError, match=name):
        Settings(**{name: value})


@pytest.mark.parametrize(("names", "least"), [(HEAD_LIMITS, 1), (OTHER_LIMITS, 0)])
def test_limits(names: list[str], least: int) -> None:
    for name in names:
        assert getattr(Settings(**{name: least}), name) == least
        for value in (least - 1, 2**62):
            with pytest.raises(ValueError, match=name):
                Settings(**{name: value})
        with pytest.raises(TypeError, match=name):
            Settings(**{name: 1.0})


@pytest.mark.parametrize("name", [b"", b"a b", b"a:", b"\xe4", b"a\r\n", b"content-length", b"Connection"])
def test_bad_header_names(name: bytes) -> None:
    with pytest.raises(ValueError, match="cannot be the name"):
        Settings(default_headers=[(name, b"x")])


@pytest.mark.parametrize("value", [b"a\r\nb", b"\n", b"a\0", b"\x0b", b"\x1b[31m", b"a\x7f"])
def test_bad_header_values(value: bytes) -> None:
    with pytest.raises(ValueError, match="character"):
        Settings(default_headers=[(b"a", value)])
    with pytest.raises(ValueError, match="character"):
        Settings(server=value)


@pytest.mark.parametrize("headers", [[("a", b"b")], [(b"a", "b")]])
def test_header_types(headers: Any) -> None:
    with pytest.raises(TypeError, match="bytes"):
        Settings(default_headers=headers)


def test_root_path_type() -> None:
    with pytest.raises(TypeError, match="root_path"):
        Settings(root_path=b"/x")
