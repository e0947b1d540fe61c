from __future__ import annotations

from typing import Any

import pytest
from fakes.settings import make_settings

from fastserve._core.settings import FIELDS, Settings

TIMEOUTS = ["timeout_keep_alive", "timeout_request_head", "timeout_request_body", "timeout_write"]
HEAD_LIMITS = ["limit_request_line", "limit_request_head", "limit_request_fields"]
OTHER_LIMITS = ["limit_request_body", "limit_concurrency"]


def test_every_field_has_to_be_given_by_its_name() -> None:
    """There are no defaults here: what is missing or unknown is named."""
    values = {name: getattr(make_settings(), name) for name in FIELDS}
    assert Settings(**values).limit_request_line == values["limit_request_line"]
    without = {name: value for name, value in values.items() if name != "timeout_write"}
    with pytest.raises(TypeError, match=r"missing or unknown fields: timeout_write$"):
        Settings(**without)
    with pytest.raises(TypeError, match=r"missing or unknown fields: timeout_reed$"):
        Settings(**values, timeout_reed=1)


def test_default_headers_in_lower_case() -> None:
    assert make_settings(default_headers=[(b"X-A", b"B")]).default_headers == ((b"x-a", b"B"),)


def test_given_server_and_date_replace_the_default_ones() -> None:
    settings = make_settings(default_headers=[(b"Server", b"mine"), (b"DATE", b"now")])
    assert settings.server is None
    assert settings.date is False


@pytest.mark.parametrize("name", ["server", "date", "root_path", *TIMEOUTS, *HEAD_LIMITS, *OTHER_LIMITS])
def test_frozen(name: str) -> None:
    with pytest.raises(AttributeError):
        setattr(make_settings(), name, 1)
    with pytest.raises(AttributeError):
        delattr(make_settings(), name)


@pytest.mark.parametrize("name", TIMEOUTS)
@pytest.mark.parametrize("value", [0, 0.5, 10, 999999999])
def test_timeouts(name: str, value: float) -> None:
    assert getattr(make_settings(**{name: value}), name) == value


@pytest.mark.parametrize("name", TIMEOUTS)
@pytest.mark.parametrize("value", [-1, -0.001, float("nan"), float("inf"), 1e9])
def test_bad_timeouts(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=name):
        make_settings(**{name: value})


@pytest.mark.parametrize("name", TIMEOUTS + HEAD_LIMITS + OTHER_LIMITS)
@pytest.mark.parametrize("value", ["5", None, True, b"1", [1]])
def test_types(name: str, value: Any) -> None:
    with pytest.raises(TypeError, match=name):
        make_settings(**{name: value})


@pytest.mark.parametrize("name", HEAD_LIMITS + OTHER_LIMITS)
def test_limits(name: str) -> None:
    """The least that a limit can be stands in the table of options."""
    assert getattr(make_settings(**{name: 0}), name) == 0
    for value in (-1, 2**62):
        with pytest.raises(ValueError, match=name):
            make_settings(**{name: value})
    with pytest.raises(TypeError, match=name):
        make_settings(**{name: 1.0})


@pytest.mark.parametrize("name", [b"", b"a b", b"a:", b"\xe4", b"a\r\n", b"content-length", b"Connection"])
def test_bad_header_names(name: bytes) -> None:
    with pytest.raises(ValueError, match="invalid name"):
        make_settings(default_headers=[(name, b"x")])


@pytest.mark.parametrize("value", [b"a\r\nb", b"\n", b"a\0", b"\x0b", b"\x1b[31m", b"a\x7f"])
def test_bad_header_values(value: bytes) -> None:
    with pytest.raises(ValueError, match="character"):
        make_settings(default_headers=[(b"a", value)])
    with pytest.raises(ValueError, match="character"):
        make_settings(server=value)


@pytest.mark.parametrize("headers", [[("a", b"b")], [(b"a", "b")]])
def test_header_types(headers: Any) -> None:
    with pytest.raises(TypeError, match="bytes"):
        make_settings(default_headers=headers)


def test_root_path_type() -> None:
    with pytest.raises(TypeError, match="root_path"):
        make_settings(root_path=b"/x")
