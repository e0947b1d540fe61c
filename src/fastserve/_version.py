"""What this package calls itself; fastserve.compat puts uvicorn's name in."""

from __future__ import annotations

VERSION = "0.1.0"
server_name = "Fastserve"  # in the line that says where the server listens


def requirement(extra: str) -> str:
    """Return what pip installs an extra by: on an index the distribution need not have the package's name."""
    from importlib.metadata import packages_distributions, version

    names = packages_distributions().get("fastserve", [])
    name = next((each for each in names if version(each) == VERSION), "fastserve")
    return f"{name}[{extra}]"
