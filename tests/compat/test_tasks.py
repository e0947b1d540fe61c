"""Tasks, cancellation, timeouts, context variables and threads inside endpoints, as asyncio and anyio promise them."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import sys
from collections.abc import Sequence
from contextlib import closing
from typing import Any

import httpx
import pytest
import uvicorn
from support import Command, set_once_listening

import fastserve

from .conftest import TIMEOUT, LogMark, Start

NUMBER = 24

needs_311 = pytest.mark.skipif(sys.version_info < (3, 11), reason="asyncio.timeout and TaskGroup came with Python 3.11")


@pytest.fixture(scope="module", params=["uvloop", "asyncio"])
def server(request: pytest.FixtureRequest, start: Start) -> Command:
    return start("tasks_app:app", "--loop", request.param)


def meet(server: Command, crowd: str, paths: Sequence[str]) -> list[httpx.Response]:
    """Asks for all paths at once; the endpoints wait in `crowd`, which opens when every one of them has arrived."""

    async def ask() -> list[httpx.Response]:
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(base_url=server.url, timeout=TIMEOUT, limits=limits, trust_env=False) as client:
            requests = [asyncio.create_task(client.get(path)) for path in paths]
            full = await client.get(f"/crowd/{crowd}/full", params={"number": len(paths)})
            assert full.json() == len(paths)
            assert not any(request.done() for request in requests)
            await client.post(f"/crowd/{crowd}/open")
            return await asyncio.gather(*requests)

    return asyncio.run(ask())


class TestConcurrency:
    def test_slow_requests_wait_side_by_side(self, server: Command) -> None:
        answers = meet(server, "slow", [f"/crowd/slow/join?number={number}" for number in range(NUMBER)])
        assert [answer.json() for answer in answers] == list(range(NUMBER))

    def test_context_variables_are_the_request_s_own(self, server: Command) -> None:
        answers = meet(server, "context", [f"/context/{number}" for number in range(NUMBER)])
        assert [answer.json() for answer in answers] == [["nobody", *[str(number)] * 3] for number in range(NUMBER)]

    def test_context_variables_do_not_outlive_the_request(self, server: Command) -> None:
        with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=TIMEOUT)) as connection:
            connection.connect()
            sock = connection.sock
            for number in range(5):
                connection.request("GET", f"/context-now/{number}")
                assert connection.getresponse().read() == b'"nobody"'
                assert connection.sock is sock

    def test_context_variables_do_not_outlive_an_upload_that_was_held_back(self, server: Command) -> None:
        with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=TIMEOUT)) as connection:
            for number in range(3):
                connection.request("POST", f"/context-upload/{number}", body=bytes(3_000_000))
                assert connection.getresponse().read() == b"3000000"
                connection.request("GET", f"/context-now/{number}")
                assert connection.getresponse().read() == b'"nobody"'

    def test_context_variables_of_pipelined_requests(self, server: Command) -> None:
        one = b"GET /context-now/%d HTTP/1.1\r\nHost: a\r\n"
        out = server.request(one % 1 + b"\r\n" + one % 2 + b"\r\n" + one % 3 + b"Connection: close\r\n\r\n")
        assert out.count(b'"nobody"') == 3

    def test_tasks_of_concurrent_requests_have_names_of_their_own(self, server: Command) -> None:
        names = [answer.json() for answer in meet(server, "names", ["/names"] * NUMBER)]
        assert all(names)
        assert len(set(names)) == NUMBER


class TestTask:
    def test_current_task(self, client: httpx.Client) -> None:
        answer = client.get("/task").json()
        assert answer.pop("name")
        assert answer == {
            "is a future": True,
            "renamed": "renamed",
            "the same after a pause": True,
            "in all_tasks": True,
            "done": False,
            "cancelled": False,
            "loop": True,
            "stack": True,
            "coroutine": True,
        }

    def test_cancelled_from_outside_and_going_on(self, client: httpx.Client) -> None:
        assert client.get("/uncancel").json() == "from outside"

    def test_child_task_outlives_the_request(self, client: httpx.Client) -> None:
        assert client.get("/child").json() == "answered"
        client.post("/fire/request is over")
        assert client.get("/wait/child done").status_code == 200


class TestTimeoutsAndGroups:
    def test_wait_for(self, client: httpx.Client) -> None:
        assert client.get("/timeout/wait-for").json() == "timed out"

    @needs_311
    def test_asyncio_timeout(self, client: httpx.Client) -> None:
        assert client.get("/timeout/asyncio").json() == {"cancelling": 0}

    @needs_311
    def test_task_group(self, client: httpx.Client) -> None:
        assert client.get("/task-group").json() == ["sibling cancelled", "ValueError('one of the group')"]

    def test_anyio_cancel_scopes(self, client: httpx.Client) -> None:
        assert client.get("/anyio/move-on").json() == [True, True]

    def test_anyio_task_group(self, client: httpx.Client) -> None:
        assert client.get("/anyio/group").json() == "left"

    def test_anyio_thread(self, client: httpx.Client) -> None:
        assert client.get("/anyio/thread").json() == 6

    def test_shield(self, client: httpx.Client) -> None:
        assert client.get("/shield").json() == "done"

    def test_all_of_them_at_once(self, server: Command, log: LogMark) -> None:
        """Cancellation in one request must not reach another that runs at the same time."""
        paths = ["/timeout/wait-for", "/anyio/move-on", "/anyio/group", "/anyio/thread", "/uncancel", "/task"] * 10

        async def ask() -> list[int]:
            async with httpx.AsyncClient(base_url=server.url, timeout=TIMEOUT, trust_env=False) as client:
                return [answer.status_code for answer in await asyncio.gather(*map(client.get, paths))]

        assert asyncio.run(ask()) == [200] * len(paths)
        assert log.count("Traceback") == 0


async def tells_what_is_handled(scope: Any, receive: Any, send: Any) -> None:
    """Respond with the contexts of errors that are raised once a wait has failed."""
    seen = []
    loop = asyncio.get_running_loop()
    for result in (KeyError("lost"), asyncio.CancelledError()):
        future = loop.create_future()
        if isinstance(result, KeyError):
            loop.call_soon(future.set_exception, result)
        else:
            loop.call_soon(future.cancel)
        with contextlib.suppress(type(result)):
            await future
        seen.append(sys.exc_info()[1])
        try:
            raise ValueError
        except ValueError as error:
            seen.append(error.__context__)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": repr(seen).encode()})


@pytest.mark.parametrize("package", [uvicorn, fastserve], ids=lambda package: package.__name__)
def test_no_error_is_handled_after_that_of_a_wait(package: Any) -> None:
    """Tracebacks of later errors say nothing of it, and have what they themselves came from."""

    async def main() -> None:
        server = package.Server(package.Config(tells_what_is_handled, port=0, log_config=None, lifespan="off"))
        listens = asyncio.Event()
        set_once_listening(server, listens)
        serving = asyncio.create_task(server.serve())
        await asyncio.wait_for(listens.wait(), TIMEOUT)
        url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        async with httpx.AsyncClient(trust_env=False, timeout=TIMEOUT) as client:
            assert (await client.get(url)).text == "[None, None, None, None]"
        server.should_exit = True
        await serving

    asyncio.run(main())
