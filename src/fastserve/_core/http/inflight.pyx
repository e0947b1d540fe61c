"""The exchanges under way, in a form that a signal handler can read.

While a thread holds the interpreter, no Python code can report what the worker is working on. A signal handler in C
can, as long as it only reads. Only threads of event loops change the list, one at a time. A process without the handler
keeps none.
"""

from cpython.object cimport PyObject

from ..threads cimport fastserve_spin, fastserve_unspin


cdef extern from "http/inflight_report.h":
    int fastserve_entries_lock
    int fastserve_report_on(int number, int fd, Entry* list)
    void fastserve_report(int number)


cdef extern from "loop/clock.h":
    double fastserve_coarse() nogil


cdef Entry entries  # the head of a ring
entries.next = entries.previous = &entries


def write_on_signal(int number, int fd):
    """Make this signal write the requests under way and a zero byte to `fd`. Raises OSError."""
    global enabled
    if fastserve_report_on(number, fd, &entries) < 0:
        raise OSError(f"cannot handle signal {number}")
    enabled = True


def write_now():
    """Write the same as the signal does; after write_on_signal()."""
    if enabled:
        fastserve_report(0)


cdef void track(Entry* entry, str method, bytes path) noexcept:
    entry.method = <PyObject*>method
    entry.path = <PyObject*>path
    entry.since = fastserve_coarse()
    fastserve_spin(&fastserve_entries_lock)
    entry.next = &entries
    entry.previous = entries.previous
    entries.previous.next = entry
    entries.previous = entry
    fastserve_unspin(&fastserve_entries_lock)


cdef void stop_tracking(Entry* entry) noexcept:
    if entry.next != NULL:
        fastserve_spin(&fastserve_entries_lock)
        entry.next.previous = entry.previous
        entry.previous.next = entry.next
        entry.next = NULL
        fastserve_unspin(&fastserve_entries_lock)
