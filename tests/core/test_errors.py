from __future__ import annotations

from fastserve._core.errors import ClientDisconnected, ProtocolError


def test_client_disconnected_is_an_os_error() -> None:
    assert issubclass(ClientDisconnected, OSError)
    assert str(ClientDisconnected("the client is gone")) == "the client is gone"


def test_protocol_error() -> None:
    error = ProtocolError(431, "too many")
    assert (error.status, error.reason, str(error)) == (431, "too many", "431: too many")
