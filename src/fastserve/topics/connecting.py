"""Publishing from programs that serve nothing: scripts, task queues, management commands."""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import threading
from types import TracebackType

from fastserve.topics import node as nodes
from fastserve.topics.engine import EngineDown
from fastserve.topics.engines import engine_at
from fastserve.topics.node import MAX_SIZE, Node

CLOSE_SECONDS = 5.0


class Connection:
    """What connect() returns; close() it, or leave its `with` block, so that all that was published is on its way."""

    def __init__(self, url: str, prefix: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._errors: list[BaseException] = []
        self._node: Node | None = None
        self.lost = 0  # messages, once it is closed
        self._thread = threading.Thread(target=self._run, args=(url, prefix), name="fastserve topics", daemon=True)
        self._thread.start()
        self._ready.wait()
        for error in self._errors:
            self._thread.join()
            raise error
        atexit.register(self.close)

    def _run(self, url: str, prefix: str) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._node = self._loop.run_until_complete(self._begin(url, prefix))
        except BaseException as exc:
            self._errors.append(exc)
            self._loop.close()
            return
        finally:
            self._ready.set()
        self._loop.run_forever()
        self._loop.close()

    async def _begin(self, url: str, prefix: str) -> Node:
        node = Node(self._loop, engine_at(url, MAX_SIZE, prefix, publishes=True))
        await node.started()
        nodes.nodes[id(self._loop)] = node
        return node

    def close(self) -> None:
        """Publish what is on its way, and end the connection; may be called more than once. Raises EngineDown."""
        atexit.unregister(self.close)
        if self._node is None:
            return
        node, self._node = self._node, None
        try:
            asyncio.run_coroutine_threadsafe(node.stop(), self._loop).result(CLOSE_SECONDS)
        except concurrent.futures.TimeoutError:
            raise EngineDown(f"the connection did not close within {CLOSE_SECONDS:g} s") from None
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(CLOSE_SECONDS)
        self.lost = node.lost

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def connect(url: str, *, prefix: str = "fastserve:") -> Connection:
    """Connect this process to the topics of servers, to publish there: `url` is their --topics.

    Until the connection is closed, or the process ends, publish() and publish_stored() go there. It subscribes to
    nothing. Raises ValueError, and OSError where the connection can never succeed.
    """
    return Connection(url, prefix)
