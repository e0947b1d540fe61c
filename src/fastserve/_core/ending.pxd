# Nothing here is for other modules of the core.
