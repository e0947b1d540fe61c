"""What the tests themselves stand on."""

from __future__ import annotations

import os
import sys

import support

TWO_OUTPUTS = """
import os, sys
for number in range(50):
    os.write(1, b"out %d\\n" % number)
    os.write(2, b"err %d\\n" % number)
    os.read(int(sys.argv[1]), 1)
os.write(1, b"no end of a line \\xff")
"""


def test_a_line_comes_with_what_was_written_before_it_to_the_other_output() -> None:
    reader, writer = os.pipe()
    command = support.Command([sys.executable, "-c", TWO_OUTPUTS, str(reader)], pass_fds=(reader,))
    try:
        for number in range(50):
            command.wait_line(rf"^err {number}$")
            assert command.stdout[-1] == f"out {number}"
            os.write(writer, b"x")
        assert command.wait() == 0
        assert command.stdout[-1] == "no end of a line \\xff"
        assert len(command.lines) == 101
    finally:
        command.close()
        os.close(reader)
        os.close(writer)
