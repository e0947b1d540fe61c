"""TLS over the loop's plain transports."""
