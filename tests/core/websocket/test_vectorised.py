"""The loop that unmasks payloads is one of vector instructions in the machine code of a release build."""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastserve._core.websocket import frames as wsframe

INSTRUCTION = re.compile(r"^\s*([0-9a-f]+):\s+([a-z]\w*)\s*(.*?)\s*$")
LONGEST_LOOP = 40

MODULE = Path(str(wsframe.__file__))
STAMP = MODULE.parents[1] / ".build-kind"
KIND = STAMP.read_text("utf-8") if STAMP.exists() else "release"

Code = list[tuple[int, str, str]]


def loops(code: Code) -> Iterator[Code]:
    """Yield the instructions from the target of each short backward jump to the jump."""
    index = {address: number for number, (address, _, _) in enumerate(code)}
    for number, (address, name, operands) in enumerate(code):
        if name.startswith("j") and re.match(r"[0-9a-f]+\b", operands):
            target = int(operands.split()[0], 16)
            if target <= address and number - index.get(target, -LONGEST_LOOP) < LONGEST_LOOP:
                yield code[index[target] : number + 1]


def unmasks(loop: Code) -> bool:
    """Whether a loop combines what it loads with a key, by vectors, and stores it."""
    text = [f"{name} {operands}" for _, name, operands in loop]
    combine = [line for line in text if re.match(r"v?p?xor(ps|pd|d|q)? ", line)]
    combine = [line for line in combine if len(set(re.findall(r"%[xyz]mm\d+", line))) > 1 or "(" in line]
    stores = [line for line in text if re.match(r"v?mov[ua]p[sd] |v?movdq[ua]\w* ", line) and line.endswith(")")]
    return bool(combine and stores)


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="reads the machine code of x86-64")
@pytest.mark.skipif(shutil.which("objdump") is None, reason="needs objdump")
@pytest.mark.skipif(KIND != "release", reason=f"a {KIND} build is not optimised")
def test_unmasking() -> None:
    command = ["objdump", "-d", "--no-show-raw-insn", "-M", "att", str(MODULE)]
    listing = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    code = [
        (int(match[1], 16), match[2], match[3].partition("#")[0])
        for match in map(INSTRUCTION.match, listing.splitlines())
        if match
    ]
    assert len(code) > 1000
    assert any(map(unmasks, loops(code)))
