"""The build backend: setuptools', with the requirements of fetch.py, which setup.py calls.

They are found without running setup.py, as setuptools would.

Metadata name the licence of llhttp, so that llhttp is fetched before they are prepared, with nothing to do in parallel.
Without the hook that prepares them pip would take them from the wheel, and start one process less, but each tool that
asks for metadata alone would compile everything.
"""

from __future__ import annotations

import os

import fetch
from setuptools.build_meta import (
    build_editable,
    build_sdist,
    build_wheel,
    prepare_metadata_for_build_editable,
    prepare_metadata_for_build_wheel,
)

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
    "prepare_metadata_for_build_editable",
    "prepare_metadata_for_build_wheel",
]


# Of what is built to be served with, see train.py: fastserve's own requirements.
_TRAINING = ["click>=8.0", "tomli>=2.0; python_version < '3.11'", "uvloop>=0.21"]


def get_requires_for_build_wheel(config_settings: object = None) -> list[str]:
    return fetch.requirements() + (_TRAINING if os.environ.get("FASTSERVE_BUILD") == "profiled" else [])


get_requires_for_build_editable = get_requires_for_build_sdist = get_requires_for_build_wheel
