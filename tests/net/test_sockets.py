"""Listening sockets: addresses, UNIX sockets, descriptors, and errors that say which address and why."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import support

import fastserve
from fastserve.net import sockets
from fastserve.net.listeners import Listeners

Log = Callable[[], list[str]]


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


ipv6 = pytest.mark.skipif(not has_ipv6(), reason="no IPv6 here")


async def app(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 204})
    await send({"type": "http.response.body"})


def config(**given: Any) -> fastserve.Config:
    return fastserve.Config(app, **{"log_config": None, "port": 0, "lifespan": "off", **given})


@pytest.fixture
def bound() -> Iterator[Callable[..., list[socket.socket]]]:
    """Bind sockets by either way, and close them at the end: bound(config), bound(config, in_loop=True)."""
    kept: list[socket.socket] = []

    def bind(config: fastserve.Config, in_loop: bool = False) -> list[socket.socket]:
        async def main() -> Listeners:
            return await Listeners.bind_in_loop(config, asyncio.get_running_loop())

        made = (asyncio.run(main()) if in_loop else Listeners.bind(config)).sockets
        kept.extend(made)
        return made

    yield bind
    for sock in kept:
        sock.close()


@pytest.fixture
def free_port() -> Iterator[int]:
    """Return a port that the kernel gives to nobody else: a socket that does not listen has it, on another address."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.9", 0))
        yield sock.getsockname()[1]


both_ways = pytest.mark.parametrize("in_loop", [False, True])


@both_ways
def test_ipv4(bound: Any, in_loop: bool) -> None:
    (sock,) = bound(config(), in_loop)
    assert sock.family == socket.AF_INET
    assert sock.getsockname()[0] == "127.0.0.1"
    assert sock.getsockname()[1] > 0
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR) == 1


@ipv6
@both_ways
def test_ipv6(bound: Any, in_loop: bool) -> None:
    (sock,) = bound(config(host="::1"), in_loop)
    assert sock.family == socket.AF_INET6
    assert sock.getsockname()[0] == "::1"


@ipv6
@both_ways
def test_no_host_is_every_address_of_both_families_on_one_port(bound: Any, in_loop: bool) -> None:
    made = bound(config(host=None), in_loop)
    assert {sock.family for sock in made} == {socket.AF_INET, socket.AF_INET6}
    assert len({sock.getsockname()[1] for sock in made}) == 1


@both_ways
def test_name(bound: Any, in_loop: bool) -> None:
    for sock in bound(config(host="localhost"), in_loop):
        assert sock.getsockname()[0] in ("127.0.0.1", "::1")


@both_ways
def test_port_in_use(bound: Any, in_loop: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = taken.getsockname()
        with pytest.raises(OSError, match="address already in use") as caught:
            bound(config(port=address[1]), in_loop)
    text = f"[Errno {errno.EADDRINUSE}] error while attempting to bind on address {address!r}: address already in use"
    assert str(caught.value) == text


@both_ways
def test_address_of_another_machine(bound: Any, in_loop: bool) -> None:
    with pytest.raises(OSError, match=r"bind on address \('192\.0\.2\.1', 0\): cannot assign requested address"):
        bound(config(host="192.0.2.1"), in_loop)


@both_ways
def test_unknown_name(bound: Any, in_loop: bool) -> None:
    with pytest.raises(OSError, match=r"error while resolving host 'no such host': "):
        bound(config(host="no such host"), in_loop)


def test_family_that_is_missing_here_is_left_out() -> None:
    """A name may stand for addresses that this machine does not have: those that it has are enough."""
    here = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0))
    elsewhere = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 0))
    made = sockets.bind_addresses([elsewhere, here], 0)
    assert [sock.getsockname()[0] for sock in made] == ["127.0.0.1"]
    made[0].close()
    with pytest.raises(OSError, match="192"):
        sockets.bind_addresses([elsewhere], 0)
    with pytest.raises(OSError, match="no address"):
        sockets.bind_addresses([], 0)


def test_sockets_are_closed_when_one_fails() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        infos: list[Any] = [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, 0)) for host in ("127.0.0.2", "127.0.0.1")
        ]
        with pytest.raises(OSError, match="in use"):
            sockets.bind_addresses(infos, port)
        with socket.socket() as free:
            free.bind(("127.0.0.2", port))


@both_ways
def test_unix_socket(bound: Any, in_loop: bool, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    (sock,) = bound(config(uds=str(path)), in_loop)
    assert sock.getsockname() == str(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666


def test_unix_socket_in_the_place_of_another(bound: Any, tmp_path: Path) -> None:
    """What a server that was killed left there is replaced, and its mode is kept."""
    path = tmp_path / "socket"
    bound(config(uds=str(path)))
    path.chmod(0o600)
    bound(config(uds=str(path)))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_unix_socket_file_that_was_there_stays(tmp_path: Path) -> None:
    """It is its administrator's: the second start finds the mode and the owner that the first one found."""
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
    path.chmod(0o660)
    owner = (4321, 4321) if os.geteuid() == 0 else (os.geteuid(), os.getgroups()[-1])
    os.chown(path, *owner)
    for _ in range(2):
        listeners = Listeners.bind(config(uds=str(path)))
        found = path.stat()  # before anybody can connect
        listeners.listen(1)
        assert (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid) == (0o660, *owner)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
        listeners.close()
        assert path.is_socket()
    with pytest.raises(OSError, match="refused"), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    Listeners.bind(config(uds=str(path), uds_permissions=0o600)).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_unix_socket_file_that_was_made_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    Listeners.bind(config(uds=str(path))).close()
    assert not path.exists()


def test_owner_that_cannot_be_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refused(*args: Any) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "chown", refused)
    path = tmp_path / "file"
    path.touch()
    now = path.stat()
    before: Any = SimpleNamespace(st_uid=now.st_uid, st_gid=now.st_gid + 1)
    sockets.keep_owner(str(path), before)
    gid = now.st_gid
    assert caplog.messages == [
        f"The group of unix socket '{path}' was {gid + 1} and is now {gid}: operation not permitted"
    ]


def test_unix_socket_in_the_place_of_a_file(bound: Any, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("precious")
    with pytest.raises(OSError, match=r"bind on unix socket '.*/file': address already in use"):
        bound(config(uds=str(path)))
    assert path.read_text() == "precious"


def test_socket_file_of_another_server_is_not_removed(bound: Any, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    bound(config(uds=str(path)))
    file = sockets.SocketFile(str(path))
    bound(config(uds=str(path)))
    file.remove()
    assert path.exists()
    sockets.SocketFile(str(path)).remove()
    assert not path.exists()
    file.remove()


def test_descriptor(bound: Any) -> None:
    """The descriptor itself stays open and the socket has the family that it really has, 0 not being a special case."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        (sock,) = bound(config(fd=listener.fileno()))
        assert (sock.family, sock.getsockname()) == (socket.AF_INET, listener.getsockname())
        sock.close()
        os.fstat(listener.fileno())
        assert config(fd=0).fd == 0


def test_descriptor_that_is_no_socket(bound: Any, tmp_path: Path) -> None:
    with (tmp_path / "file").open("w") as file:
        fd = file.fileno()
        with pytest.raises(OSError, match=f"cannot listen on file descriptor {fd}: socket operation on non"):
            bound(config(fd=fd))
    with pytest.raises(OSError, match=f"cannot listen on file descriptor {fd}: bad file descriptor"):
        bound(config(fd=fd))


def test_descriptor_that_cannot_listen(bound: Any) -> None:
    one, other = socket.socketpair()
    with one, other, socket.socket(type=socket.SOCK_DGRAM) as datagrams:
        for sock, why in ((one, "already connected"), (datagrams, "not a stream socket")):
            with pytest.raises(OSError, match=f"cannot listen on file descriptor {sock.fileno()}: {why}$"):
                bound(config(fd=sock.fileno()))


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({}, "http://127.0.0.1:{port}"),
        ({"host": None}, "http://0.0.0.0:{port}"),
        pytest.param({"host": "::1"}, "http://[::1]:{port}", marks=ipv6),
        ({"host": "localhost"}, "http://localhost:{port}"),
    ],
)
def test_bind_socket(log: Log, given: dict[str, Any], line: str) -> None:
    """It binds, and logs where the server runs; who connects then waits for the child that inherits it."""
    sock = config(**given).bind_socket()
    with sock:
        port = sock.getsockname()[1]
        assert sock.get_inheritable()
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1
    assert log() == [f"INFO Fastserve running on {line.format(port=port)} (Press CTRL+C to quit)"]


def test_bind_socket_unix(log: Log, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    config(uds=str(path)).bind_socket().close()
    assert log() == [f"INFO Fastserve running on unix socket {path} (Press CTRL+C to quit)"]


def test_bind_socket_fails(log: Log) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = taken.getsockname()
        with pytest.raises(SystemExit) as caught:
            config(port=address[1]).bind_socket()
    assert caught.value.code == 3
    assert log()[0].endswith(f"error while attempting to bind on address {address!r}: address already in use")


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_serving_on_each_kind(serve: support.Serve, tmp_path: Path, loop: str) -> None:
    path = tmp_path / "socket"
    request = b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"
    server = serve(app, uds=str(path), loop=loop)
    assert server.request(request).startswith(b"HTTP/1.1 204")
    server.stop()
    assert not path.exists()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        server = serve(app, fd=listener.fileno(), loop=loop)
        assert server.request(request).startswith(b"HTTP/1.1 204")
        server.stop()
    assert path.exists()


@ipv6
def test_serving_on_both_families(serve: support.Serve) -> None:
    server = serve(app, host=None)
    for host in ("127.0.0.1", "::1"):
        with socket.create_connection((host, server.port), timeout=60) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
            assert support.read_all(client).startswith(b"HTTP/1.1 204")


@ipv6
@pytest.mark.parametrize("http", ["llhttp", "h11"])
@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
@pytest.mark.parametrize("where", ["every", "no host", "descriptor"])
def test_ipv4_over_an_ipv6_socket(serve: support.Serve, http: str, loop: str, where: str) -> None:
    """The client is its IPv4 address: for the application, and where it is a proxy that is trusted."""
    seen: list[Any] = []

    async def noting(scope: Any, receive: Any, send: Any) -> None:
        seen.append((scope["client"][0], scope["server"][0], scope["scheme"]))
        await app(scope, receive, send)

    with contextlib.ExitStack() as stack:
        if where == "descriptor":
            listener = stack.enter_context(socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True))
            given: dict[str, Any] = {"fd": listener.fileno()}
        else:
            given = {"host": "::" if where == "every" else None}
        server = serve(noting, http=http, loop=loop, **given)
        for headers in (b"", b"X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: https\r\n"):
            with socket.create_connection(("127.0.0.1", server.port), timeout=60) as client:
                client.sendall(b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n" + headers + b"\r\n")
                assert support.read_all(client).startswith(b"HTTP/1.1 204")
        server.stop()
    assert seen == [("127.0.0.1", "127.0.0.1", "http"), ("192.0.2.1", "127.0.0.1", "https")]


def families(listeners: Listeners) -> list[tuple[int, bool]]:
    with contextlib.closing(listeners):
        return [
            (each.family, each.family == socket.AF_INET6 and bool(each.getsockopt(socket.IPPROTO_IPV6, V6ONLY)))
            for each in listeners.sockets
        ]


V6ONLY = getattr(socket, "IPV6_V6ONLY", 0)
BOTH_FAMILIES, IPV6_ALONE, IPV4 = (socket.AF_INET6, False), (socket.AF_INET6, True), (socket.AF_INET, False)


@ipv6
def test_which_sockets_take_both_families(free_port: int) -> None:
    """That of `::`, unless an address of IPv4 is named for the same port."""

    def bound(*binds: str, **given: Any) -> list[tuple[int, bool]]:
        return families(Listeners.bind(fastserve.Config(app, log_config=None, bind=list(binds), **given)))

    port = free_port
    assert bound(f"[::]:{port}") == [BOTH_FAMILIES]
    assert bound("[::]:0", "0.0.0.0:0") == [BOTH_FAMILIES, IPV4]
    assert bound(f"[::]:{port}", f"0.0.0.0:{port}") == [IPV6_ALONE, IPV4]
    assert bound(f"127.0.0.1:{port}", f"[0::0]:{port}") == [IPV4, IPV6_ALONE]
    assert bound(f"[::1]:{port}") == [IPV6_ALONE]
    assert set(bound(f":{port}")) == {IPV4, IPV6_ALONE}
    for given in ({"host": "::"}, {"host": None}, {"host": None, "reuse_port": True}):
        assert families(Listeners.bind_one(config(**given))) == [BOTH_FAMILIES]


@ipv6
def test_one_more_socket_takes_the_same_families() -> None:
    for only_v6 in (False, True):
        address = (socket.AF_INET6, socket.SOCK_STREAM, 0)
        sock = sockets.bind_tcp(*address, ("::", 0), reuse_port=True, only_v6=only_v6)
        with sock, sockets.bind_again(sock) as again:
            assert bool(again.getsockopt(socket.IPPROTO_IPV6, V6ONLY)) == only_v6


def test_port_in_use_stops_the_server(start: support.StartCommand) -> None:
    """The lifespan that had been started ends properly, and the exit code is 3."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = start("living", "--port", str(port))
        assert server.wait() == 3
    address = f"address ('127.0.0.1', {port})"
    assert [line.removeprefix("INFO:     ") for line in server.stderr[1:]] == [
        "Waiting for application startup.",
        "Application startup complete.",
        f"ERROR:    [Errno 98] error while attempting to bind on {address}: address already in use",
        "Waiting for application shutdown.",
        "Application shutdown complete.",
    ]
