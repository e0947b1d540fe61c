"""The lifespan protocol (ASGI lifespan 2.0): `on` speaks it, `off` does not."""
