"""What proxies in front of the server say of clients, and which of them are believed."""
