# setup.py: cold
"""The end of a process by a signal's default action, after Python's own end, or sooner if that does not come.

Python runs exit handlers while it ends, and a signal's default action would cut them off: so the action is taken by a
function in C that Python calls last of all. A thread made of C, which needs no interpreter, takes it when something
blocks on the way there.
"""

cdef extern from "ending.h":
    int fastserve_end_by(int number, double seconds)
    int fastserve_is_default(int number)
    size_t fastserve_handler_of(int number)


def end_by(int number, double seconds):
    """Let a signal's default action end this process once Python has ended, after `seconds` at the latest.

    0 in place of a signal means exit code 0, after `seconds`. Only the first call counts. Raises OSError if neither is
    possible.
    """
    if fastserve_end_by(number, seconds) < 0:
        raise OSError(f"signal {number} cannot end the process later")


def is_default(int number):
    """Return whether the system has the default action for a signal: signal.getsignal() knows Python's handlers only."""
    return bool(fastserve_is_default(number))


def handler_of(int number):
    """Return the address of what the system calls for a signal: that of all handlers of Python is the same."""
    return fastserve_handler_of(number)
