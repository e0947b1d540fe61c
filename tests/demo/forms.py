"""Forms in parts, as browsers send files."""

from __future__ import annotations

from collections.abc import Iterator

BOUNDARY = b"--gap"


def field(name: str, filename: str | None, content: bytes) -> bytes:
    tail = "" if filename is None else f'; filename="{filename}"\r\nContent-Type: image/png'
    return f'Content-Disposition: form-data; name="{name}"{tail}\r\n\r\n'.encode() + content


def form(*parts: bytes) -> bytes:
    return b"".join(b"--" + BOUNDARY + b"\r\n" + part + b"\r\n" for part in parts) + b"--" + BOUNDARY + b"--\r\n"


def cut(data: bytes, size: int) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))
