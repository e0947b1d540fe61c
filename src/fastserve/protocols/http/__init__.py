"""HTTP as classes on uvicorn's contract: cls(config=, server_state=, app_state=, _loop=), shutdown()."""
