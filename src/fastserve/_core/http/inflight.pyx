"""The exchanges under way, in a form that a signal handler can read.

While a thread holds the interpreter, no Python code can report what the worker is working on. A signal handler in C
can, as long as it only reads. Only threads of event loops change the list, one at a time. A process without the handler
keeps none.
"""

from ..python cimport PyObject, PyThread_get_thread_ident, Py_DECREF, Py_INCREF
from ..threads cimport fastserve_spin, fastserve_unspin


cdef extern from "http/inflight_report.h":
    int fastserve_entries_lock
    int fastserve_report_on(int number, int fd, Entry* list)
    void fastserve_report(int number)


cdef extern from "loop/clock.h":
    double fastserve_coarse() nogil


cdef enum:
    SHOWN = 100

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


def keep():
    """Keep the list from here on, for requests_of_thread()."""
    global enabled
    enabled = True


def requests_of_thread(unsigned long thread):
    """Return method, path and seconds of at most SHOWN requests that the loop of a thread serves, the oldest first."""
    cdef PyObject* methods[SHOWN]
    cdef PyObject* paths[SHOWN]
    cdef double since[SHOWN]
    cdef double now = fastserve_coarse()
    cdef int count = 0, at
    # While the list is locked no object is made: that may run the garbage collector, which ends exchanges.
    fastserve_spin(&fastserve_entries_lock)
    cdef Entry* entry = entries.next
    while entry != &entries and count < SHOWN:
        if entry.thread == thread:
            methods[count], paths[count], since[count] = entry.method, entry.path, entry.since
            Py_INCREF(<object>entry.method)
            Py_INCREF(<object>entry.path)
            count += 1
        entry = entry.next
    fastserve_unspin(&fastserve_entries_lock)
    cdef list found = []
    for at in range(count):
        found.append((<object>methods[at], <object>paths[at], max(now - since[at], 0.0)))
        Py_DECREF(<object>methods[at])
        Py_DECREF(<object>paths[at])
    return found


cdef void track(Entry* entry, str method, bytes path) noexcept:
    entry.method = <PyObject*>method
    entry.path = <PyObject*>path
    entry.since = fastserve_coarse()
    entry.thread = PyThread_get_thread_ident()
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
