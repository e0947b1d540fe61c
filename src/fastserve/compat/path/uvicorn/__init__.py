"""What a process finds as uvicorn when fastserve.compat is in force there: it puts fastserve in its own place."""

from fastserve.compat import install

install()
