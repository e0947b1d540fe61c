"""End-to-end load: fastserve beside its peers on the same applications, see ../README.md."""
