"""What tests of HTTP/2 begin with."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest


@pytest.fixture
def encrypted() -> dict[str, Any]:
    """What the transport of a TLS connection knows whose client has chosen HTTP/2."""
    state = SimpleNamespace(selected_alpn_protocol=lambda: "h2", version=lambda: None, cipher=lambda: None)
    return {"sslcontext": object(), "ssl_object": state}
