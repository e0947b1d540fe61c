"""What an application puts into its scope harms neither its response, nor the logs, nor the server."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path

import pytest
import support

APP = """
    DAMAGES = {
        "text": ("headers", [(b"traceparent", "00-" + "1" * 32), (b"x-a", "b"), (b"user-agent", 5)]),
        "bytearray": ("headers", [(b"traceparent", bytearray(55)), (b"x-a", bytearray(1))]),
        "empty": ("headers", [()]),
        "alone": ("headers", [(b"traceparent",), (b"x-a",)]),
        "three": ("headers", [(b"x-a", b"b", b"c")]),
        "lists": ("headers", [[b"traceparent", b"x"], [b"x-a", b"b"]]),
        "texts": ("headers", [("x-a", "b")]),
        "dict": ("headers", {"": "x"}),
        "number": ("headers", 5),
        "none": ("headers", None),
        "host": ("client", ("192.0.2.1",)),
        "hosts": ("client", [("192.0.2.1", 1)]),
        "client": ("client", "192.0.2.1"),
        "port": ("client", ("192.0.2.1", "x")),
        "ports": ("client", ("192.0.2.1", 1, 2)),
        "integer": ("client", 5),
        "nobody": ("client", ()),
        "state": ("state", 5),
    }

    async def app(scope, receive, send):
        if scope["type"] != "http":
            return
        _, outcome, damage = scope["path"].split("/")
        name, value = DAMAGES[damage]
        scope[name] = value
        if outcome == "fail":
            raise LookupError("wanted")
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})
"""
DAMAGES = [line.strip().split('"')[1] for line in APP.splitlines() if '": ("' in line]
RECORDS = {
    "version": 1,
    "handlers": {"out": {"class": "logging.StreamHandler", "stream": "ext://sys.stderr"}},
    "loggers": {"fastserve": {"handlers": ["out"], "level": "INFO"}, "fastserve.access": {"handlers": ["out"]}},
}
MODES: dict[str, tuple[str, ...]] = {
    "default": (),
    "json": ("--access-log-format", "json", "--log-slow", "60", "--request-id-header", "X-Request-Id"),
    "ecs": ("--access-log-format", "json:ecs", "--log-slow", "60"),
    "field": ("--access-log-format", "%(h)s %({x-a}i)s %(r)s %(s)s %(u)s"),
    "records": ("--log-slow", "60", "--log-config", "records.json"),
    "h11": ("--http", "h11", "--access-log-format", "json", "--request-id-header", "X-Request-Id"),
}


@pytest.mark.parametrize("mode", MODES)
def test_scopes_that_an_application_has_damaged(
    mode: str, command: support.StartCommand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "damaged_app.py").write_text(textwrap.dedent(APP))
    (tmp_path / "records.json").write_text(json.dumps(RECORDS))
    monkeypatch.chdir(tmp_path)
    process = command("damaged_app:app", "--port", "0", "--lifespan", "off", *MODES[mode])
    for damage in DAMAGES:
        for outcome, status in ("fail", b"500"), ("respond", b"200"):
            assert process.get(f"/{outcome}/{damage}").split(b" ")[1] == status, (outcome, damage)
    process.stop()
    output = process.output
    assert output.count("LookupError: wanted") == len(DAMAGES)
    assert "Exception in the access log" not in output
    assert "while ending an exchange" not in output
    for damage in DAMAGES:
        assert f"/respond/{damage}" in output, damage
