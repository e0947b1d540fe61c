"""Uvicorn's names for what serves WebSockets."""
