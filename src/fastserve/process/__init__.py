"""The process around a server: signals, its file, its service manager, and where its tasks stand."""
