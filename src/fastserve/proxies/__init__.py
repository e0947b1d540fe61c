"""What proxies in front of the server say about clients, and which proxies are trusted."""
