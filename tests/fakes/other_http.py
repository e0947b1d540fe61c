"""What clients of other_http.pyx say and hear, and its compilation."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from core.responses import Response

ROOT = Path(__file__).resolve().parents[2]
SOURCE = Path(__file__).with_suffix(".pyx")


def compile_version(folder: Path) -> Any:
    """Compile the version of HTTP in this folder and return it, for the versions of a FakeWorker."""
    source = Path(shutil.copy(SOURCE, folder))
    includes = (ROOT / "vendor/llhttp/include", ROOT / "src/fastserve/_core")
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT / "src"),
        "CFLAGS": " ".join([os.environ.get("CFLAGS", ""), "-O1 -g0", *(f"-I{path}" for path in includes)]),
    }
    command = [sys.executable, "-m", "Cython.Build.Cythonize", "--inplace", "-3", source.name]
    result = subprocess.run(
        command, check=False, cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )
    assert result.returncode == 0, result.stdout + result.stderr
    (binary,) = folder.glob("other_http.*.so")
    spec = importlib.util.spec_from_file_location("other_http", binary)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.VERSION


def get(path: str = "/", *fields: str, method: str = "GET") -> bytes:
    size = next((field.removeprefix("Content-Length: ") for field in fields if field.startswith("Content-Length")), "0")
    return f"OTHER {method} {path} {size}\n".encode()


def post(body: bytes, path: str = "/") -> bytes:
    return get(path, f"Content-Length: {len(body)}", method="POST") + body


def read_responses(data: bytes) -> list[Response]:
    """Return the responses, each of which is complete."""
    responses: list[Response] = []
    response: Response | None = None
    while data:
        line, _, data = data.partition(b"\n")
        kind, value = line[:1], line[1:]
        if kind == b"S":
            assert response is None
            response = Response(int(value), b"", [])
            continue
        assert response is not None
        if kind == b"B":
            response.body += data[: int(value)]
            data = data[int(value) :]
        else:
            assert line == b"E"
            responses.append(response)
            response = None
    assert response is None
    return responses


def read_one(data: bytes) -> Response:
    (response,) = read_responses(data)
    return response
