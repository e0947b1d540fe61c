"""What PyInstaller has to know to freeze programs that serve with fastserve; it finds the folder by an entry point."""

from __future__ import annotations

from pathlib import Path

__all__ = ["get_hook_dirs"]


def get_hook_dirs() -> list[str]:
    """Return the folders of hooks: this one."""
    return [str(Path(__file__).parent)]
