"""The implementations of HTTP that the same tests run over, and where the one in Python differs."""

from __future__ import annotations

import pytest

PROTOCOLS = ("llhttp", "h11")
WIRES = (*PROTOCOLS, "http2")  # the last is that of over_http2.py

# Where the names of tests begin like that, with the reason. Each must fail: what does not any more is no difference.
H11_DIFFERS: dict[str, str] = {
    "test_item_38_keep_alive_with_a_length": "h11 ends the connection after every HTTP/1.0 request",
    "test_http_1_0_with_keep_alive_persists": "h11 ends the connection after every HTTP/1.0 request",
    "test_item_33_a_call_that_nobody_awaits_warns": "the coroutine is a method's, and named HttpExchange.send",
}


def protocol_of(request: pytest.FixtureRequest) -> str:
    """Return the protocol of a parametrised fixture, and expect the failure of a test that h11 is known to fail."""
    name: str = request.param
    if name == "h11":
        for test, reason in H11_DIFFERS.items():
            if request.node.name.startswith(test):
                request.applymarker(pytest.mark.xfail(reason=reason, strict=True))
    return name
