"""Writing to a connection: plain, over TLS, and from files."""
