"""Reference implementations over well-kept libraries, in place of what the core does itself; see README.md."""
