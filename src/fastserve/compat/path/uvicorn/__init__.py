"""Found as uvicorn by processes in which fastserve.compat is in force; replaces itself by fastserve."""

from fastserve.compat import install

install()
