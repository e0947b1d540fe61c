"""WSGI applications, called in threads and served by the loop."""
