"""The compiled core: HTTP parsing, the exchange with the application, and the write path."""
