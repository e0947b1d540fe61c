"""Addresses, listening sockets and TLS."""
