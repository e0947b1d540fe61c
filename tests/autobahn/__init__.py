"""Autobahn's WebSocket test suite against fastserve: `python -m tests.autobahn`, see README.md."""
