"""Memory that requests share and reuse."""
