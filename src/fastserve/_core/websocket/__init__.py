"""WebSocket (RFC 6455): handshake, frames, compression, and the exchange with an application."""
