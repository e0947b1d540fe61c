"""The application of docs/how-to/topics.md, as it is pasted from there, with four workers."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import support
from topics.clients import Chat, Stream, post

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "topics.md"


@pytest.mark.slow
def test_with_four_workers(command: support.StartCommand, tmp_path: Path) -> None:
    found = re.search(r'```python title="main.py"\n(.*?)\n```', PAGE.read_text("utf-8"), re.DOTALL)
    assert found
    (tmp_path / "main.py").write_text(found[1], "utf-8")
    assert "fastserve main:app --workers 4\n" in PAGE.read_text("utf-8")
    server = command("main:app", "--workers", "4", "--port", "0", "--app-dir", str(tmp_path), cwd=tmp_path)
    assert b"<!doctype html>" in server.get("/")
    chats = [Chat(server, "/rooms/lobby?since=lost") for _ in range(12)]
    for chat in chats:  # which says that it is subscribed
        assert chat.hear() == '{"gap":true}'
    for number, chat in enumerate(chats):
        chat.say(str(number))
        heard = [each.hear_json() for each in chats]
        assert [message["data"] for message in heard] == [str(number)] * 12
        assert len({message["id"] for message in heard}) == 1
    chats[0].leave()
    since = heard[0]["id"].partition(":")[0] + ":10"
    again = Chat(server, f"/rooms/lobby?since={since}")
    assert [again.hear_json()["data"] for _ in range(2)] == ["10", "11"]
    streams = [Stream(server, "/charts/heat/points") for _ in range(4)]
    for stream in streams:
        assert stream.next_block() == ":"
    for value in range(5):
        assert b" 204 " in post(server, "/charts/heat", json.dumps({"value": value}), "Content-Type: application/json")
    for stream in streams:
        events = [stream.event() for _ in range(5)]
        assert [json.loads(event["data"])["value"] for event in events] == list(range(5))
        assert events[0]["event"] == "point"
    assert server.stop() == 0
