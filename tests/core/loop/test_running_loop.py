"""The loop that runs in a thread is what asyncio says, whichever loop it is."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest
import uvloop

from fastserve._core.topics.hub import running_loop

FORKED = """
import asyncio, os, sys
from fastserve._core.topics.hub import running_loop
async def main():
    assert running_loop() is asyncio.get_running_loop()
    if os.fork() == 0:
        os._exit(0 if running_loop() is None is asyncio._get_running_loop() else 1)
    return os.waitstatus_to_exitcode(os.wait()[1])
sys.exit(asyncio.run(main()))
"""


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_in_a_coroutine_and_elsewhere(new_loop: Callable[[], Any]) -> None:
    found: list[Any] = []

    async def ask() -> None:
        found.append(running_loop())
        thread = threading.Thread(target=lambda: found.append(running_loop()))
        thread.start()
        thread.join()

    for _ in range(2):  # the second loop of a thread is not the first
        loop = new_loop()
        try:
            loop.run_until_complete(ask())
        finally:
            loop.close()
        assert found == [loop, None]
        assert running_loop() is None
        found.clear()


def test_in_a_forked_child() -> None:
    """No loop runs there, whatever the memory that it has from its parent says."""
    subprocess.run([sys.executable, "-W", "ignore", "-c", FORKED], check=True, timeout=60)
