"""`fastserve ctl`, and the table of verbs that it and the socket's paths are made of."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from operations.conftest import Start

from fastserve.logging.formatters import LOG_LEVELS
from fastserve.operations.control import READERS
from fastserve.operations.ctl import target_of
from fastserve.operations.own import OwnOrders
from fastserve.operations.verbs import LEVELS, VERBS, Wrong
from fastserve.supervisors.basereload import BaseReload
from fastserve.supervisors.multiprocess import Multiprocess


def ctl(*words: str) -> tuple[int, str, str]:
    command = [sys.executable, "-m", "fastserve", "ctl", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def test_command(controlled: Start) -> None:
    server = controlled("--workers", "2")
    socket = ("-s", str(server.path))
    code, out, _ = ctl(*socket, "version")
    assert (code, json.loads(out)["pid"]) == (0, server.command.pid)
    assert json.loads(ctl(*socket, "scale", "1")[1]) == {"workers": 1}
    assert ctl(*socket, "metrics")[1].startswith("# HELP http_server_")
    assert ctl(*socket, "replace", "9") == (1, "", "Error: there is no worker 9\n")
    assert ctl(*socket, "stop", "slow")[0] == 2
    assert ctl(*socket, "scale") == (2, "", "Error: expected: scale COUNT\n")
    assert ctl(*socket, "stop")[0] == 0
    assert server.command.wait() == 0
    code, _, err = ctl(*socket, "version")
    assert (code, err) == (3, f"Error: no response from {server.path}: No such file or directory\n")


def test_targets() -> None:
    assert target_of("status", []) == ("GET", "/status")
    assert target_of("requests", ["3"]) == ("GET", "/workers/3/requests")
    assert target_of("scale", ["3"]) == ("POST", "/workers?count=3")
    assert target_of("stop", []) == ("POST", "/stop")
    for word, arguments in (("no", []), ("worker", []), ("worker", ["x"]), ("scale", []), ("status", ["1"])):
        with pytest.raises(Wrong):
            target_of(word, arguments)


def test_every_verb_is_carried_out() -> None:
    assert set(LEVELS) == set(LOG_LEVELS)
    for verb in VERBS:
        assert verb.help.endswith("."), verb.word
        if verb.word not in {*READERS, "metrics"}:
            for kind in (Multiprocess, BaseReload, OwnOrders):
                assert hasattr(kind, f"order_{verb.word.replace('-', '_')}"), (kind, verb.word)


def test_help_names_every_verb(tmp_path: Path) -> None:
    code, out, _ = ctl("--help")
    assert code == 0
    for verb in VERBS:
        assert f"  {verb.word}" in out
