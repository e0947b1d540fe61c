"""PyInstaller's hook for fastserve: what it imports by name, or from compiled code, where no analysis sees it."""

from __future__ import annotations

from PyInstaller.utils.hooks import collect_submodules

# Those that are not for frozen programs: gunicorn's workers, a demonstration with files of its own, and this folder.
LEFT_OUT = ("fastserve._pyinstaller", "fastserve.demo", "fastserve.workers")

# What the compiled modules import of the standard library.
COMPILED = [
    "asyncio",
    "asyncio.base_tasks",
    "base64",
    "binascii",
    "collections",
    "contextvars",
    "hashlib",
    "http",
    "inspect",
    "io",
    "json",
    "logging",
    "os",
    "re",
    "socket",
    "ssl",
    "stat",
    "traceback",
    "types",
    "typing",
    "urllib.parse",
    "warnings",
    "wsgiref.util",
    "zlib",
]

hiddenimports = [
    *collect_submodules("fastserve", filter=lambda name: not name.startswith(LEFT_OUT), on_error="ignore"),
    *COMPILED,
]
