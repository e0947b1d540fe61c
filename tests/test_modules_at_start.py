"""What a server has in memory once it has answered: nothing that its options did not ask for."""

from __future__ import annotations

import pytest
import support

# asyncio itself brings ssl, subprocess and concurrent.futures; logging.config brings socketserver; click brings uuid.
NOT_NEEDED = [
    "anyio", "configparser", "ctypes", "dotenv", "email", "encodings.idna", "fastserve.middleware.asgi2",
    "fastserve.compat",
    "fastserve.middleware.message_logger", "fastserve.protocols.http", "fastserve._subprocess", "h11", "hashlib",
    "html", "http.client", "http.cookies", "httptools", "ipaddress", "json", "multiprocessing", "pathlib", "random",
    "shutil", "starlette", "tempfile", "typing_extensions", "unittest", "urllib", "uvicorn", "watchfiles", "websockets",
    "wsproto", "xml", "yaml", "zipfile",
]  # fmt: skip


@pytest.fixture
def loaded(command: support.StartCommand, tmp_path: object) -> set[str]:
    server = command("modules_app:app", "--port", "0", "--app-dir", support.APPS)
    return set(server.get().partition(b"\r\n\r\n")[2].decode().split())


def test_nothing_is_loaded_that_was_not_asked_for(loaded: set[str]) -> None:
    assert loaded & set(NOT_NEEDED) == set()
    assert {"asyncio", "fastserve.server", "fastserve._core.http1.connection"} <= loaded
