"""A demo application: run `fastserve fastserve.demo:app` and open the address it prints in a browser."""

from fastserve.demo.routes import app

__all__ = ["app"]
