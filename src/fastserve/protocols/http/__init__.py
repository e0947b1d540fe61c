"""HTTP protocols by uvicorn's contract: cls(config=, server_state=, app_state=, _loop=), shutdown()."""
