"""Operating a running server: the control socket, its verbs, and `fastserve ctl`."""
