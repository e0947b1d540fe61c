"""Event loops: the factories, running a coroutine on one, and what is said when one is not to be had."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Any

import pytest

import fastserve
from fastserve.loops import running

Log = Callable[[], list[str]]


def factory_of(loop: str) -> Any:
    return fastserve.Config("a:b", loop=loop, log_config=None).get_loop_factory()


def test_factories() -> None:
    uvloop = pytest.importorskip("uvloop")
    assert factory_of("auto") is uvloop.new_event_loop
    assert factory_of("uvloop") is uvloop.new_event_loop
    assert factory_of("none") is None
    assert factory_of("asyncio:new_event_loop") is asyncio.new_event_loop
    if sys.platform != "win32":
        assert factory_of("asyncio") is asyncio.SelectorEventLoop


def test_auto_without_uvloop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", None)
    assert factory_of("auto") is factory_of("asyncio")


@pytest.mark.parametrize("name", ["uvloop", "zuvloop"])
def test_missing_loop(monkeypatch: pytest.MonkeyPatch, log: Log, name: str) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(SystemExit) as caught:
        factory_of(name)
    assert caught.value.code == 3
    assert len(log()) == 1
    assert log()[0].startswith(f'ERROR Error loading the event loop "{name}". ')
    assert log()[0].endswith(": install it, or choose another --loop.")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_such_module:loop", 'Could not import module "no_such_module".'),
        ("asyncio:no_such", 'Attribute "no_such" not found in module "asyncio".'),
    ],
)
def test_missing_custom_loop(log: Log, name: str, message: str) -> None:
    with pytest.raises(SystemExit) as caught:
        factory_of(name)
    assert caught.value.code == 3
    choices = 'For "loop" choose none, auto, asyncio, uvloop, zuvloop or module:factory.'
    assert log() == [f"ERROR Error loading custom loop setup function. {message} {choices}"]


def test_custom_loop_that_is_not_callable(log: Log) -> None:
    with pytest.raises(SystemExit):
        factory_of("sys:maxsize")
    assert log() == ['ERROR Error loading custom loop setup function. "sys:maxsize" is not callable.']


def test_error_in_the_module_of_a_custom_loop(log: Log, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_loop.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(SystemExit):
        factory_of("broken_loop:new")
    place = f"ZeroDivisionError: division by zero ({tmp_path / 'broken_loop.py'}, line 1)"
    assert log() == [f'ERROR Error loading custom loop setup function "broken_loop:new": {place}']


@pytest.mark.parametrize("factory", [None, asyncio.new_event_loop])
def test_run(factory: Any) -> None:
    """run() returns the result, cancels what is left and waits for it, and closes generators and the loop."""
    events: list[str] = []
    kept: list[Any] = []

    async def left_behind() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            events.append("task ended")

    async def generator() -> Any:
        try:
            yield 1
        finally:
            events.append("generator closed")

    async def main() -> str:
        kept.append(asyncio.create_task(left_behind()))
        kept.append(generator())
        await kept[1].__anext__()
        await asyncio.sleep(0)
        kept.append(asyncio.get_running_loop())
        return "result"

    assert running.run(main, factory) == "result"
    assert events == ["task ended", "generator closed"]
    assert kept[2].is_closed()


def test_run_without_runner(monkeypatch: pytest.MonkeyPatch) -> None:
    """The way of Python 3.10 does the same."""
    monkeypatch.setattr(sys, "version_info", (3, 10))
    test_run(None)
    test_run(asyncio.new_event_loop)


def test_run_reports_what_a_cancelled_task_raises() -> None:
    contexts: list[dict[str, Any]] = []

    async def stubborn() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise RuntimeError("at the end")

    async def main() -> asyncio.Task[None]:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: contexts.append(context))
        task = asyncio.create_task(stubborn())
        await asyncio.sleep(0)
        return task

    running.run(main, asyncio.new_event_loop)
    assert [str(context["exception"]) for context in contexts] == ["at the end"]


def test_failing_factory_leaves_no_coroutine_behind() -> None:
    async def main() -> None:
        """Never made."""

    def factory() -> asyncio.AbstractEventLoop:
        raise OSError("no loop")

    with pytest.raises(OSError, match="no loop"):
        running.run(main, factory)


@pytest.mark.parametrize(
    ("factory", "text"),
    [(lambda: 5, "it returned int, not an event loop."), (lambda argument: None, "TypeError: <lambda>() missing 1")],
)
def test_what_makes_no_loop(log: Log, factory: Any, text: str) -> None:
    """One line without a traceback: there is nothing of the user's in it."""
    with pytest.raises(SystemExit) as caught:
        fastserve.Config("a:b", loop="mine:factory", log_config=None).new_loop(factory)
    assert caught.value.code == 3
    (line,) = log()
    assert line.startswith(f'ERROR Error loading custom loop setup function "mine:factory": {text}')


def test_factory_that_raises(log: Log, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(SystemExit):
        fastserve.Config("a:b", loop="mine:factory", log_config=None).new_loop(lambda: 1 / 0)  # type: ignore[arg-type,return-value]
    assert "ZeroDivisionError: division by zero" in log()[0]
    assert caplog.records[-1].exc_info


@pytest.mark.parametrize("factory", [None, asyncio.SelectorEventLoop])
def test_asyncio_run(factory: Any) -> None:
    """What uvicorn's gunicorn workers import from uvicorn._compat."""
    from fastserve._compat import asyncio_run

    async def main() -> tuple[type, bool]:
        loop = asyncio.get_running_loop()
        return type(loop), loop.get_debug()

    kind, debug = asyncio_run(main(), loop_factory=factory, debug=True)
    assert debug and (factory is None or kind is factory)
