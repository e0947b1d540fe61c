"""The tables of other servers' options: each option of theirs is there once, and each of ours exists."""

from __future__ import annotations

import json
import re
from importlib.metadata import version

import pytest
from docs.pages import OURS, ROOT, prose
from docs.record_peers import PEERS, options_of_installed

KNOWN = json.loads(PEERS.read_text())


@pytest.mark.parametrize("server", KNOWN)
def test_table_has_each_option_once(server: str) -> None:
    theirs: list[str] = []
    for line in prose(ROOT / "docs" / "how-to" / f"from-{server}.md").splitlines():
        if re.match(r"\| `--", line):
            left, right, remarks = line.strip("|").split(" |")
            options = re.findall(r"`(--[\w-]+)", left)
            named = set(re.findall(r"`(--[\w-]+)", right + remarks))
            assert named or right.strip() in ("same", "none"), line
            assert named <= OURS, line
            assert right.strip() != "same" or set(options) <= OURS, line
            theirs += options
    assert sorted(theirs) == sorted(KNOWN[server]["options"])


def test_record_is_of_the_installed_uvicorn() -> None:
    assert KNOWN["uvicorn"]["version"] == version("uvicorn")
    assert KNOWN["uvicorn"]["options"] == options_of_installed("uvicorn")
