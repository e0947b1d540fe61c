"""What this package calls itself; fastserve.compat puts uvicorn's name in."""

from __future__ import annotations

VERSION = "0.1.0"
server_name = "Fastserve"  # in the line that says where the server listens
