"""The process around a server: signals, pid file, service manager, and where its tasks stand."""
