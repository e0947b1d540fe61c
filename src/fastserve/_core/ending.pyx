"""The end of a process by a signal's default action, after Python's own end, or sooner if that does not come.

Python runs exit handlers while it ends, and a signal's default action would cut them off: so the action is taken by a
function in C that Python calls last of all. A thread made of C, which needs no interpreter, takes it when something
blocks on the way there.
"""

cdef extern from "ending.h":
    int fastserve_end_by(int number, double seconds)
    int fastserve_is_default(int number)


def end_by(int number, double seconds):
    """Have this process take the default action of a signal once Python has ended, after `seconds` at the latest.

    0 in place of a signal is the exit code 0, after `seconds`. Only the first call counts. Raises OSError if neither
    can be had.
    """
    if fastserve_end_by(number, seconds) < 0:
        raise OSError(f"signal {number} cannot end the process later")


def is_default(int number):
    """Say whether a signal would be given its default action, by what the system knows: Python knows its own handlers."""
    return bool(fastserve_is_default(number))
