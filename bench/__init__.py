"""Benchmarks: without sockets (`pytest bench`), end to end (bench.load), in instructions (bench.callgrind)."""
