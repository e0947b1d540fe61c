"""The task that an application runs in: to all that code inside it can see, an asyncio.Task."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import inspect
import json
import sys
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import support
from asgi.gates import Gate
from core.responses import Client, read_one
from fakes.worker import get, respond

Connect = Callable[..., Client]
Log = Callable[[], list[str]]
needs_311 = pytest.mark.skipif(sys.version_info < (3, 11), reason="came with Python 3.11")
variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


@pytest.fixture(params=["auto", "http2"])
def http(request: pytest.FixtureRequest) -> str:
    wire: str = request.param
    return wire


@pytest.fixture(params=["uvloop", "asyncio"])
def run(request: pytest.FixtureRequest, client: Connect) -> Callable[..., Any]:
    """Return what `function()` returns inside an application, by way of JSON."""

    def ask(function: Callable[[], Any], **config: Any) -> Any:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            result = function()
            if inspect.isawaitable(result):
                result = await result
            await respond(send, json.dumps(result).encode())

        response = client(app, loop=request.param, **config).ask(get())
        assert response.status == 200
        return json.loads(response.body)

    return ask


Run = Callable[..., Any]


def current() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    assert task is not None
    return task


class TestIdentity:
    def test_it_is_a_task(self, run: Run) -> None:
        def look() -> Any:
            task = current()
            loop = asyncio.get_running_loop()
            return [
                isinstance(task, asyncio.Task), isinstance(task, asyncio.Future), asyncio.isfuture(task),
                inspect.isawaitable(task), task.get_loop() is loop, inspect.iscoroutine(task.get_coro()),
                task.done(), task.cancelled(), "<Task pending" in repr(task),
            ]  # fmt: skip

        assert run(look) == [True] * 6 + [False, False, True]

    def test_it_stays_the_same_across_suspensions(self, run: Run) -> None:
        async def look() -> Any:
            before = current()
            await asyncio.sleep(0)
            between = current()
            await asyncio.get_running_loop().run_in_executor(None, lambda: None)
            return [before is between, between is current()]

        assert run(look) == [True, True]

    def test_all_tasks_has_it_before_and_after_its_first_suspension(self, run: Run) -> None:
        async def look() -> Any:
            first = current() in asyncio.all_tasks()
            await asyncio.sleep(0)
            return [first, current() in asyncio.all_tasks()]

        assert run(look) == [True, True]

    def test_all_tasks_forgets_it(self, client: Connect) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            coroutines: list[Any] = [task.get_coro() for task in asyncio.all_tasks()]
            names = [coroutine.__qualname__ for coroutine in coroutines]
            await respond(send, str(sum("app" in name for name in names)).encode())

        connected = client(app)
        assert [connected.ask(get()).body for _ in range(5)] == [b"1"] * 5

    def test_two_requests_have_two_tasks(self, serve: support.Serve) -> None:
        gate, entered = Gate(), threading.Semaphore(0)
        tasks: list[Any] = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            tasks.append(id(current()))
            entered.release()
            await gate.wait()
            await respond(send)

        server = serve(app)
        clients = [Client(server.connect()) for _ in range(4)]
        for each in clients:
            each.send(get())
        for _ in clients:
            assert entered.acquire(timeout=60)
        gate.open()
        for each in clients:
            each.read()
        assert len(set(tasks)) == 4

    def test_no_task_is_current_behind_a_request(self, serve: support.Serve) -> None:
        found: list[Any] = []
        done = threading.Event()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            def look() -> None:
                found.append(asyncio.current_task())
                done.set()

            asyncio.get_running_loop().call_soon(look)
            await respond(send)

        Client(serve(app).connect()).ask(get())
        assert done.wait(60)
        assert found == [None]

    def test_names_are_unique(self, client: Connect) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            other = asyncio.create_task(asyncio.sleep(0))
            await other
            await respond(send, json.dumps([current().get_name(), other.get_name()]).encode())

        connected = client(app)
        names = [name for _ in range(5) for name in json.loads(connected.ask(get()).body)]
        assert len(set(names)) == 10
        assert all(name.startswith("Task-") for name in names)

    def test_set_name(self, run: Run) -> None:
        def look() -> Any:
            current().set_name("mine")
            return [current().get_name(), "mine" in repr(current())]

        assert run(look) == ["mine", True]

    def test_attributes(self, run: Run) -> None:
        """What asgiref before 3.7 and opentracing's AsyncioScopeManager keep on the task of a request."""

        async def look() -> Any:
            task: Any = current()
            before = getattr(task, "_asgiref_local", None), dict(vars(task))
            task._asgiref_local = {"user": "me"}
            task.__opentracing_scope = "scope"
            await asyncio.sleep(0)
            task = asyncio.current_task()
            found = task._asgiref_local, sorted(vars(task))
            del task.__opentracing_scope
            return [before, found, hasattr(task, "__opentracing_scope"), hasattr(asyncio.Task, "_asgiref_local")]

        names = ["_TestIdentity__opentracing_scope", "_asgiref_local"]
        assert run(look) == [[None, {}], [{"user": "me"}, names], False, False]

    def test_attributes_go_with_the_task(self, run: Run) -> None:
        """Also those that lead back to it."""
        seen: list[Any] = []

        class Session:
            task: Any

        def look() -> Any:
            session, task = Session(), current()
            session.task = task
            task.session = session  # type: ignore[attr-defined]
            seen.append(weakref.ref(session))

        run(look)
        gc.collect()
        assert seen[0]() is None

    def test_what_differs(self, run: Run) -> None:
        """As Task's docstring says: what asks for the type itself."""

        def look() -> Any:
            task = current()
            with pytest.raises(TypeError):
                asyncio.Task.get_name(task)
            return [type(task) is asyncio.Task, type(task).get_name(task) == task.get_name()]

        assert run(look) == [False, True]

    def test_weak_references(self, run: Run) -> None:
        seen: list[Any] = []

        def look() -> Any:
            reference = weakref.ref(current())
            seen.append(reference)
            return reference() is current()

        assert run(look) is True
        gc.collect()
        assert seen[0]() is None

    def test_key_of_a_weak_dictionary(self, serve: support.Serve) -> None:
        """As SQLAlchemy's async_scoped_session(scopefunc=current_task) keeps a session a request."""
        sessions: weakref.WeakKeyDictionary[Any, str] = weakref.WeakKeyDictionary()
        gate = Gate()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            sessions[current()] = scope["path"]
            await gate.wait()
            await respond(send, sessions[current()].encode())

        server = serve(app)
        clients = [Client(server.connect()) for _ in range(5)]
        for number, each in enumerate(clients):
            each.send(get(f"/{number}"))
        gate.open()
        assert [each.read().body for each in clients] == [b"/%d" % number for number in range(5)]
        server.stop()
        gc.collect()
        assert len(sessions) == 0

    def test_stack(self, run: Run) -> None:
        async def look() -> Any:
            task = current()

            async def other() -> Any:
                return [frame.f_code.co_name for frame in task.get_stack()]

            return await asyncio.create_task(other())

        assert run(look) == ["app"]


class TestTimeouts:
    @needs_311
    def test_timeout(self, run: Run) -> None:
        async def look() -> Any:
            try:
                async with asyncio.timeout(0.001):  # type: ignore[attr-defined, unused-ignore]
                    await asyncio.get_running_loop().create_future()
            except TimeoutError:
                return ["timeout", current().cancelling()]  # type: ignore[attr-defined, unused-ignore]

        assert run(look) == ["timeout", 0]

    @needs_311
    def test_timeout_that_does_not_come(self, run: Run) -> None:
        async def look() -> Any:
            async with asyncio.timeout(60):  # type: ignore[attr-defined, unused-ignore]
                return await asyncio.sleep(0, "done")

        assert run(look) == "done"

    def test_wait_for(self, run: Run) -> None:
        async def look() -> Any:
            try:
                await asyncio.wait_for(asyncio.get_running_loop().create_future(), 0.001)
            except asyncio.TimeoutError:
                return await asyncio.wait_for(asyncio.sleep(0, "after"), 60)

        assert run(look) == "after"

    def test_gather_shield_and_wait(self, run: Run) -> None:
        async def look() -> Any:
            together = await asyncio.gather(asyncio.sleep(0, 1), asyncio.shield(asyncio.sleep(0, 2)))
            done, _ = await asyncio.wait([asyncio.ensure_future(asyncio.sleep(0, 3))])
            return [*together, *(each.result() for each in done)]

        assert run(look) == [1, 2, 3]


class TestGroups:
    @needs_311
    def test_task_group(self, run: Run) -> None:
        async def look() -> Any:
            async with asyncio.TaskGroup() as group:  # type: ignore[attr-defined, unused-ignore]
                tasks = [group.create_task(asyncio.sleep(0, number)) for number in range(5)]
            return [task.result() for task in tasks]

        assert run(look) == [0, 1, 2, 3, 4]

    @needs_311
    def test_task_group_that_fails(self, run: Run) -> None:
        async def fail() -> None:
            raise ValueError

        async def look() -> Any:
            group: Any = asyncio.TaskGroup()  # type: ignore[attr-defined, unused-ignore]
            try:
                async with group:
                    group.create_task(fail())
                    await asyncio.get_running_loop().create_future()
            except BaseException as error:
                names = [type(each).__name__ for each in error.exceptions]  # type: ignore[attr-defined]
                return [type(error).__name__, names, current().cancelling()]  # type: ignore[attr-defined, unused-ignore]

        assert run(look) == ["ExceptionGroup", ["ValueError"], 0]


class TestAnyio:
    @pytest.fixture(autouse=True)
    def anyio(self) -> Any:
        return pytest.importorskip("anyio")

    def test_move_on_after(self, run: Run, anyio: Any) -> None:
        async def look() -> Any:
            with anyio.move_on_after(0.001) as scope:
                await anyio.sleep_forever()
            return scope.cancelled_caught

        assert run(look) is True

    def test_fail_after(self, run: Run, anyio: Any) -> None:
        async def look() -> Any:
            try:
                with anyio.fail_after(0.001):
                    await anyio.sleep_forever()
            except TimeoutError:
                return "timeout"

        assert run(look) == "timeout"

    def test_cancel_scope(self, run: Run, anyio: Any) -> None:
        async def look() -> Any:
            with anyio.CancelScope() as outer:
                with anyio.CancelScope(shield=True):
                    outer.cancel()
                    await anyio.sleep(0)
                await anyio.sleep_forever()
            await anyio.sleep(0)
            return outer.cancelled_caught

        assert run(look) is True

    def test_task_group(self, run: Run, anyio: Any) -> None:
        async def look() -> Any:
            seen: list[int] = []

            async def work(number: int) -> None:
                await anyio.sleep(0)
                seen.append(number)

            async with anyio.create_task_group() as group:
                for number in range(3):
                    group.start_soon(work, number)
                group.start_soon(anyio.sleep_forever)
                while len(seen) < 3:
                    await anyio.sleep(0)
                group.cancel_scope.cancel()
            return sorted(seen)

        assert run(look) == [0, 1, 2]

    def test_threads(self, run: Run, anyio: Any) -> None:
        async def look() -> Any:
            variable.set("before")

            def work() -> Any:
                return [threading.current_thread() is threading.main_thread(), variable.get(),
                        anyio.from_thread.run(answer), anyio.from_thread.run_sync(lambda: 7)]  # fmt: skip

            async def answer() -> int:
                return 6

            return await anyio.to_thread.run_sync(work)

        assert run(look) == [False, "before", 6, 7]

    def test_current_task_has_a_parent_and_a_name(self, run: Run, anyio: Any) -> None:
        async def look() -> Any:
            info = anyio.get_current_task()
            return [info.id == id(current()), info.name == current().get_name()]

        assert run(look) == [True, True]


class TestCancellation:
    def test_by_itself(self, serve: support.Serve, log: Log) -> None:
        caught: list[str] = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            current().cancel("enough")
            try:
                await asyncio.sleep(0)
            except asyncio.CancelledError as error:
                caught.extend(map(str, error.args))
                raise

        server = serve(app)
        assert read_one(server.request(get())).status == 500
        assert caught == ["enough"]
        server.stop()
        assert log() == ["ERROR Exception in ASGI application"]

    def test_caught(self, run: Run) -> None:
        async def look() -> Any:
            current().cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0)
            if sys.version_info >= (3, 11):
                return current().uncancel()
            return 0

        assert run(look) == 0

    def test_by_the_server_s_stop(self, serve: support.Serve) -> None:
        seen: list[str] = []
        entered = threading.Event()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            entered.set()
            try:
                await asyncio.get_running_loop().create_future()
            except asyncio.CancelledError as error:
                seen.extend(map(str, error.args))
                raise

        server = serve(app, timeout_graceful_shutdown=0)
        connected = Client(server.connect())
        connected.send(get())
        assert entered.wait(60)
        server.stop()
        assert seen == ["Task cancelled, timeout graceful shutdown exceeded"]

    def test_done_callback(self, serve: support.Serve) -> None:
        seen: list[Any] = []
        done = threading.Event()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            task = current()

            def note(ended: Any) -> None:
                seen.append([ended is task, ended.done(), ended.cancelled(), ended.exception()])
                done.set()

            task.add_done_callback(note)
            await asyncio.sleep(0)
            await respond(send)

        Client(serve(app).connect()).ask(get())
        assert done.wait(60)
        assert seen == [[True, True, False, None]]


class TestContext:
    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        async def child() -> str:
            return variable.get()

        before = variable.get()
        variable.set(scope["path"])
        await asyncio.sleep(0)
        values = [before, variable.get(), await asyncio.create_task(child()), await child()]
        await respond(send, json.dumps(values).encode())

    def test_requests_do_not_see_each_other_s(self, client: Connect) -> None:
        connected = client(self.app)
        for path in ("/1", "/2", "/3"):
            assert json.loads(connected.ask(get(path)).body) == ["unset", path, path, path]

    def test_pipelined_requests_neither(self, client: Connect) -> None:
        connected = client(self.app)
        connected.send(get("/1") + get("/2"))
        assert json.loads(connected.read().body)[0] == "unset"
        assert json.loads(connected.read().body)[0] == "unset"

    @pytest.mark.parametrize(("reset", "seen"), [(False, "lifespan"), (True, "unset")])
    def test_reset_contextvars(self, client: Connect, reset: bool, seen: str) -> None:
        """Without it a request starts from the context in which the server runs."""

        class Server(support.EventServer):
            async def startup(self, sockets: Any = None) -> None:
                variable.set("lifespan")
                await super().startup(sockets=sockets)

        connected = client(self.app, server_class=Server, reset_contextvars=reset)
        assert json.loads(connected.ask(get("/1")).body) == [seen, "/1", "/1", "/1"]
        assert json.loads(connected.ask(get("/2")).body) == [seen, "/2", "/2", "/2"]
