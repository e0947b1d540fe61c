"""WSGI applications (PEP 3333), each request in a thread of a pool, streamed in both directions."""
