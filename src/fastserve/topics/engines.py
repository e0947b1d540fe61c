"""Which engine a server's topics have: `--topics URL`, by default what suits its processes."""

from __future__ import annotations

import logging
import os
import socket
from pathlib import Path

from fastserve.importer import import_from_string
from fastserve.options.table import Options
from fastserve.options.values import TopicsUrl
from fastserve.topics.engine import Engine
from fastserve.topics.memory import MemoryEngine

HAS_SOCKETS = hasattr(socket, "AF_UNIX")

logger = logging.getLogger("fastserve.error")


def engine_for(options: Options | None) -> Engine:
    """Return the engine of a server, not started yet. Raises ImportFromStringError for a class that is not there."""
    if options is None:
        return MemoryEngine()
    if options.topics is not None:
        return engine_at(options.topics, options.topics_max_size, options.topics_prefix, options)
    if not options.may_have_siblings:
        return MemoryEngine()
    if not HAS_SOCKETS:
        logger.warning("Topics stay within each worker: this platform needs --topics to carry them between processes.")
        return MemoryEngine()
    from fastserve.topics import directory
    from fastserve.topics.mesh import MeshEngine

    return MeshEngine(directory.private(options.family or os.getppid()), options.topics_max_size)


def engine_at(url: str, max_size: int, prefix: str, options: Options | None = None, publishes: bool = False) -> Engine:
    """Return the engine of a URL: unix:DIR, redis://..., nats://..., or module:Class, which is called with the options.

    Raises ImportFromStringError, ValueError, and EngineDown without the package that it needs.
    """
    if url.startswith(("redis:", "rediss:", "redis+unix:")):
        from fastserve.topics.redis import RedisEngine
        from fastserve.topics.resp import address_of

        return RedisEngine(address_of(url), prefix, max_size, publishes)
    if url.startswith("unix:"):
        from fastserve.topics.mesh import MeshEngine

        return MeshEngine(Path(url.removeprefix("unix:")), max_size, publishes)
    if url.startswith(("nats:", "tls:")):
        from fastserve.topics.nats import NatsEngine

        return NatsEngine(url, prefix, max_size)
    engine: Engine = import_from_string(TopicsUrl().checked(url))(options)
    return engine
