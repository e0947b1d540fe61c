"""What a client sees of the turn of the loop: bytes that an application has sent never wait for what it does next."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
import support
from asgi.gates import Gate
from core.responses import Client
from fakes.worker import TIME, get, respond
from support import PATIENCE

Connect = Callable[..., Client]
LOOPS = pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
pytestmark = pytest.mark.usefixtures("no_collections")


def patience(in_time: list[bool]) -> float:
    """Seconds to block the loop for at most: one response may wait for that, from which the server learns."""
    return 0.1 if all(in_time) else PATIENCE


class Blocks:
    """Blocks the loop after its last send, until the client says that it has the response."""

    def __init__(self, suspend: bool) -> None:
        self.suspend = suspend
        self.answered: dict[str, threading.Event] = {}
        self.in_time: list[bool] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if self.suspend:
            await Gate.passed()
        await respond(send, b"answer")
        if scope["path"] in self.answered:
            self.in_time.append(self.answered[scope["path"]].wait(patience(self.in_time)))

    def ask(self, client: Client, path: str) -> None:
        answered = self.answered[path] = threading.Event()
        assert client.ask(get(path)).body == b"answer"
        answered.set()


@LOOPS
@pytest.mark.parametrize("others", [0, 8])
@pytest.mark.parametrize("suspend", [False, True])
def test_answer_does_not_wait_for_code_behind_it(serve: support.Serve, loop: str, others: int, suspend: bool) -> None:
    """Except for one at most, with one connection or many."""
    app = Blocks(suspend)
    server = serve(app, loop=loop)
    clients = [Client(server.connect()) for _ in range(others)]
    for _ in range(20):  # several busy connections, so that responses are held for a batch
        for client in clients:
            client.send(get())
        for client in clients:
            client.read()
    blocking = Client(server.connect())
    for number in range(4):
        app.ask(blocking, f"/{number}")
        assert blocking.ask(get()).body == b"answer"  # the step before is over
    assert len(app.in_time) == 4
    assert app.in_time.count(False) <= 1


@LOOPS
def test_many_connections_whose_applications_all_block(serve: support.Serve, loop: str) -> None:
    seen: dict[str, threading.Event] = {f"/{number}": threading.Event() for number in range(6)}
    in_time: list[bool] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await respond(send)
        if scope["path"] in seen:
            in_time.append(seen[scope["path"]].wait(patience(in_time)))

    server = serve(app, loop=loop, timeout_keep_alive=60)  # `first` waits for the others
    first = Client(server.connect())
    first.ask(get("/0"))
    seen["/0"].set()
    first.ask(get())
    clients = {path: Client(server.connect()) for path in list(seen)[1:]}

    def ask(path: str) -> None:
        clients[path].ask(get(path))
        seen[path].set()

    threads = [threading.Thread(target=ask, args=(path,)) for path in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    first.ask(get())
    assert len(in_time) == 6
    assert in_time.count(False) <= 1


@LOOPS
def test_pieces_do_not_wait_for_the_code_between_them(serve: support.Serve, loop: str) -> None:
    received = [threading.Event() for _ in range(8)]
    in_time: list[bool] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})
        for _ in range(4):
            number = len(in_time)
            await send({"type": "http.response.body", "body": b"piece %d" % number, "more_body": True})
            in_time.append(received[number].wait(patience(in_time)))
        await send({"type": "http.response.body"})

    connected = Client(serve(app, loop=loop).connect())
    for turn in range(2):
        connected.send(get())
        for number in range(4 * turn, 4 * turn + 4):
            connected.read_until(b"piece %d\r\n" % number)
            received[number].set()
        connected.read_until(b"0\r\n\r\n")
    assert in_time.count(False) <= 1


@LOOPS
def test_waiting_applications_do_not_hold_each_other_up(serve: support.Serve, loop: str) -> None:
    gates = {f"/{number}": Gate() for number in range(10)}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await gates[scope["path"]].wait()
        await respond(send, scope["path"].encode())

    server = serve(app, loop=loop)
    clients = {path: Client(server.connect()) for path in gates}
    for path, client in clients.items():
        client.send(get(path))
    for path in reversed(gates):
        gates[path].open()
        assert clients[path].read().body == path.encode()


@LOOPS
def test_many_connections_at_once(serve: support.Serve, loop: str) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await respond(send, scope["path"].encode())

    server = serve(app, loop=loop)
    clients = [Client(server.connect()) for _ in range(64)]
    for turn in range(10):
        for number, client in enumerate(clients):
            client.send(get(f"/{turn}/{number}"))
        for number, client in enumerate(clients):
            assert client.read().body == b"/%d/%d" % (turn, number)


@LOOPS
@pytest.mark.usefixtures("time_stops")
def test_requests_that_came_in_time_are_read_before_idle_connections_are_closed(
    serve: support.Serve, loop: str
) -> None:
    """An application has kept the loop until long after their deadline."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/slow":
            for client in clients:
                client.send(get())
            TIME.wait(10)
            threading.Event().wait(0.1)  # now the loop's timer is due as well
        await respond(send)

    server = serve(app, loop=loop, timeout_keep_alive=0.05)
    slow, *clients = (Client(server.connect()) for _ in range(6))
    for client in (slow, *clients):
        assert client.ask(get()).status == 200
    assert slow.ask(get("/slow")).status == 200
    assert [client.read().status for client in clients] == [200] * 5
