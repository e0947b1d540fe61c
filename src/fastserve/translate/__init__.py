"""Commands of other servers as commands of fastserve: uvicorn, gunicorn, hypercorn and granian."""
