"""The task of an exchange, held to CPython's own tests of asyncio.Task."""

from __future__ import annotations

import asyncio
import importlib
import unittest
from asyncio import futures
from typing import Any

import pytest

test_tasks: Any = pytest.importorskip("test.test_asyncio.test_tasks", reason="this Python comes without its tests")
test_utils: Any = importlib.import_module("test.test_asyncio.utils")
Task: Any = importlib.import_module("fastserve._core.loop.task").Task


def suite_of(future: Any) -> type[unittest.TestCase]:
    names: dict[str, Any] = {
        "Task": Task,
        "Future": future,
        "all_tasks": staticmethod(asyncio.tasks.all_tasks),
        "current_task": staticmethod(asyncio.tasks.current_task),
    }
    return type("Tests", (test_tasks.BaseTaskTests, test_utils.TestCase), names)


SUITES = {"c_future": suite_of(getattr(futures, "_CFuture", asyncio.Future)), "py_future": suite_of(futures._PyFuture)}  # type: ignore[attr-defined]
CASES = [(kind, name) for kind, suite in SUITES.items() for name in unittest.TestLoader().getTestCaseNames(suite)]


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(("kind", "name"), CASES)
def test_cpython(kind: str, name: str) -> None:
    result = unittest.TestResult()
    SUITES[kind](name).run(result)
    problems = result.failures + result.errors
    assert not problems, problems[0][1]
    if result.skipped:
        pytest.skip(result.skipped[0][1])
    assert result.testsRun == 1


@pytest.mark.parametrize("eager", [False, True])
def test_eager_start(eager: bool) -> None:
    """As of CPython 3.12 and later, whose own tests of it need 3.14."""

    async def main() -> None:
        steps: list[int] = []

        async def step() -> None:
            steps.append(1)
            await asyncio.sleep(0)
            steps.append(2)

        task = Task(step(), loop=asyncio.get_running_loop(), eager_start=eager)
        assert steps == [1] * eager
        assert task in asyncio.all_tasks()
        await task
        assert steps == [1, 2]

    asyncio.run(main())
