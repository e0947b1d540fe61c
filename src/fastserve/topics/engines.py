"""Which engine a server's topics have: `--topics URL`, by default what suits its processes."""

from __future__ import annotations

from fastserve.importer import import_from_string
from fastserve.options.table import Options
from fastserve.topics.engine import Engine
from fastserve.topics.memory import MemoryEngine


def engine_for(options: Options | None) -> Engine:
    """Return the engine, not started yet. Raises ImportFromStringError for a class that is not there."""
    if options is None or options.topics is None:
        return MemoryEngine()
    return engine_at(options.topics, options)


def engine_at(url: str, options: Options) -> Engine:
    engine: Engine = import_from_string(url)(options)
    return engine
