"""Where a task stands."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from fastserve.process import task_stacks


async def innermost() -> None:
    await asyncio.Event().wait()


async def middle() -> None:
    await innermost()


def stands(coroutine: Callable[[], Coroutine[Any, Any, Any]]) -> str:
    async def main() -> str:
        task = asyncio.create_task(coroutine())
        await asyncio.sleep(0)
        text = task_stacks.where(task)
        task.cancel()
        await asyncio.wait([task])
        assert task_stacks.where(task) == ""
        return text

    return asyncio.run(main())


def test_frames_down_to_what_is_waited_for() -> None:
    text = stands(middle)
    at = [text.index(each) for each in (", in middle\n", ", in innermost\n", ", in wait\n")]
    assert at == sorted(at)
    assert "    await innermost()" in text


def test_only_the_innermost_frames_of_many() -> None:
    async def even(level: int) -> None:
        await odd(level - 1)

    async def odd(level: int) -> None:
        await (even(level - 1) if level > 1 else innermost())

    text = stands(lambda: even(50))
    assert text.count("  File ") == task_stacks.SHOWN_FRAMES
    assert ", in innermost\n" in text


def test_asynchronous_generator_and_plain_generator() -> None:
    async def numbers() -> Any:
        await innermost()
        yield 1

    async def looping() -> None:
        async for _ in numbers():
            """Never reached."""

    assert ", in looping\n" in stands(looping)

    class Waits:
        def __await__(self) -> Any:
            yield from innermost().__await__()

    async def awaiting() -> None:
        await Waits()

    assert ", in __await__\n" in stands(awaiting)


def test_task_that_has_not_started() -> None:
    async def main() -> str:
        task = asyncio.create_task(middle())
        text = task_stacks.where(task)
        task.cancel()
        await asyncio.wait([task])
        return text

    assert ", in middle" in asyncio.run(main())
