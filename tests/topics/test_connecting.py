"""Publishing from programs that serve nothing."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import support
from topics.clients import Chat
from topics.redis_server import Server
from topics.rooms import app
from topics.test_memory import about

from fastserve import topics
from fastserve.topics.__main__ import main


@pytest.fixture(params=["unix", "redis"])
def url(request: pytest.FixtureRequest, folder: Path) -> Iterator[str]:
    if request.param == "unix":
        yield f"unix:{folder}"
        return
    server = Server(folder)
    server.start()
    yield server.url
    server.kill()


@pytest.fixture
def chat(url: str, serve: support.Serve) -> Any:
    rooms = serve(app, topics=url)
    chat = Chat(rooms, "/ws/room")
    chat.hear_json()
    while about(rooms, "room")["count"] != 1:
        pass
    return chat


def test_a_script(chat: Chat, url: str) -> None:
    """In a process of its own: what it has published arrives, though it ends at once."""
    code = "import sys; from fastserve import topics; topics.connect(sys.argv[1]); topics.publish('room', 'hi')"
    subprocess.run([sys.executable, "-c", code, url], check=True, timeout=support.PATIENCE)
    assert chat.hear() == "hi"


def test_the_command(chat: Chat, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    argv = [sys.executable, "-m", "fastserve.topics", "publish", "room", "-", "--topics", url, "--history", "5"]
    ended = subprocess.run(argv, check=True, input="grün", encoding="utf-8", stdout=subprocess.PIPE, timeout=60)
    assert ended.stdout.strip().endswith(":1")
    assert chat.hear() == "grün"


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["publish", "room", "x", "--topics", "http://u:secret@x"], "Error: 'http:...': expected unix:DIR, "),
        (["publish", "", "x", "--topics", "redis+unix:///nowhere"], "Error: the name of a topic"),
        (
            ["publish", "room", "x", "--topics", "topics.own_engine:Forgetful", "--history", "5"],
            "Error: Forgetful keeps no histories",
        ),
    ],
)
def test_errors(argv: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(argv) == 1
    assert capsys.readouterr().err.startswith(said)


def test_nobody_keeps_the_message(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["publish", "room", "x", "--topics", f"unix:{folder}", "--history", "5"]) == 1
    assert capsys.readouterr() == ("", "Error: no server of the directory keeps histories\n")


def test_without_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FASTSERVE_TOPICS", raising=False)
    with pytest.raises(SystemExit) as caught:
        main(["publish", "room", "x"])
    assert caught.value.code == 2


def test_a_connection_is_closed_once(folder: Path) -> None:
    with topics.connect(f"unix:{folder}") as connection:
        topics.publish("room", "to nobody")

        async def keep() -> str:
            return await topics.publish_stored("room", "x", history=1)

        with pytest.raises(topics.EngineDown):
            asyncio.run(keep())
    connection.close()
    assert not folder.exists()


@pytest.mark.parametrize("url", ["redis+unix:///nowhere/redis.sock", "nats://127.0.0.1:1"])
def test_the_command_fails_if_the_message_is_lost(url: str) -> None:
    argv = [sys.executable, "-m", "fastserve.topics", "publish", "room", "x", "--topics", url]
    ended = subprocess.run(argv, check=False, stderr=subprocess.PIPE, encoding="utf-8", timeout=support.PATIENCE)
    assert ended.returncode == 1
    assert "topics: a message is lost: " in ended.stderr
