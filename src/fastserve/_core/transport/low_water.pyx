# setup.py: cold
"""How much has to have come from a client before the loop is told of it (SO_RCVLOWAT).

A client that sends a body as fast as it can wakes the server for each piece that it writes, often 16 KiB, and being woken
costs more than reading that. So where LEAST bytes come within SECONDS, in smaller reads, the kernel is asked to wait until that
many are there. The mark is lowered as soon as the client may have less than that to send, and when nothing was read for
SECONDS, of which a timer learns within twice that: no byte on the connection waits longer.
"""
from ..loop.clock cimport monotonic
from ..system cimport fastserve_wake_at

cdef enum:
    LEAST = 196608  # bytes, less than what the loop reads at a time
    ABOVE = 32768  # bytes that may have been read, but belong to a record or a frame that is not whole

cdef double SECONDS = 0.002


cdef LowWater make_low_water(object transport, object loop):
    cdef LowWater self = LowWater.__new__(LowWater)
    sock = transport.get_extra_info("socket")
    self.fd = -1 if sock is None else sock.fileno()
    self.loop = loop
    return self


cdef class LowWater:
    cdef int note(self, Py_ssize_t size, long long more) except -1:
        cdef double now
        if more < LEAST + ABOVE:
            self.recent = 0
            return self.lower()
        if self.timer is not None:
            self.heard = True
            return 0
        if size >= LEAST:
            return 0
        now = monotonic()
        if now - self.since > SECONDS:
            self.since = now
            self.recent = 0
        self.recent += size
        if self.recent >= LEAST and self.fd >= 0 and fastserve_wake_at(self.fd, LEAST):
            self.recent = 0
            self.wait()
        return 0

    cdef int wait(self) except -1:
        self.heard = False
        self.timer = self.loop.call_later(SECONDS, self.look)
        return 0

    def look(self):
        """Called by the timer."""
        if self.heard:
            self.wait()
        else:
            self.lower()

    cdef int lower(self) except -1:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
            if self.fd >= 0:
                fastserve_wake_at(self.fd, 1)
        return 0

    cdef int lost(self) except -1:
        self.fd = -1
        return self.lower()
