# setup.py: cold
"""Exchanges that wait to be called until others have ended (--limit-requests).

The worker counts those that run. An exchange that waits exists already, so that its request's body has somewhere to go,
but is not counted. loop/admission.pyx decides when it is called.
"""
from libc.stdint cimport uint64_t

from ..loop.admission cimport Applicant, Place
from ..loop.turn cimport Runnable
from ..metrics cimport ACTIVE, QUEUE_GONE, fastserve_add
from ..worker cimport Worker
from .exchange cimport COMPLETE, HttpExchange
from .inflight cimport stop_tracking

cdef list REFUSAL = [(b"content-type", b"text/plain; charset=utf-8"), (b"retry-after", b"1")]


cdef Place NOWHERE = Place()  # of an exchange that waits, but not in the queue


cdef int wait_in_queue(HttpExchange exchange, Runnable start, object line) except -1:
    count_out(exchange)
    return enter_queue(exchange, start, line)


cdef int give_place_back(HttpExchange exchange) except -1:
    count_out(exchange)
    exchange.place = NOWHERE
    exchange.queued = True
    return exchange.worker.let_in()


cdef int apply_again(HttpExchange exchange, Runnable start, object line) except -1:
    cdef Worker worker = exchange.worker
    if worker.active >= worker.places:
        return enter_queue(exchange, start, line)
    exchange.place = None
    exchange.queued = False
    count_in(exchange)
    return worker.turn.submit(start)


cdef int count_in(HttpExchange exchange) except -1:
    exchange.worker.active += 1
    fastserve_add(exchange.worker.metrics.cells + ACTIVE, 1)
    return 0


cdef int count_out(HttpExchange exchange) except -1:
    exchange.worker.active -= 1
    fastserve_add(exchange.worker.metrics.cells + ACTIVE, <uint64_t>-1)
    return 0


cdef int enter_queue(HttpExchange exchange, Runnable start, object line) except -1:
    cdef Candidate candidate = Candidate.__new__(Candidate)
    candidate.exchange = exchange
    candidate.start = start
    candidate.line = line
    exchange.place = candidate
    exchange.queued = True
    return exchange.worker.admission.enter(candidate)


cdef class Candidate(Applicant):
    cdef bint admitted(self) except -1:
        cdef HttpExchange exchange = self.exchange
        cdef Worker worker = exchange.worker
        exchange.queued = False
        exchange.place = None
        if not exchange.stream.resume():
            exchange.stage = COMPLETE
            stop_tracking(&exchange.entry)
            fastserve_add(worker.metrics.cells + QUEUE_GONE, 1)
            return False
        count_in(exchange)
        worker.turn.submit(self.start)
        return True

    cdef int refused(self) except -1:
        cdef Worker worker = self.exchange.worker
        try:
            self.decline()
        except Exception as exception:
            worker.report("Exception in connection", exception)
        return 0

    cdef int decline(self) except -1:
        cdef HttpExchange exchange = self.exchange
        exchange.queued = False
        exchange.place = None
        exchange.started = True
        exchange.stage = COMPLETE
        stop_tracking(&exchange.entry)
        exchange.worker.metrics.refuse(503, "queue")
        exchange.stream.respond(503, REFUSAL)
        return exchange.stream.body(b"Service Unavailable", False)


cdef class Guest(Applicant):
    """A request that a protocol outside the core serves: call enter() once, then exit() once.

    `start()` is called as soon as the application may be called, possibly within enter(); `refuse()` is called if the
    request cannot wait any longer. Call exit() when the application has ended, or when nobody waits for it any more.
    Guests with the same `line` share its turns.
    """

    def __init__(self, Worker worker not None, start, refuse, line=None):
        self.worker = worker
        self.start = start
        self.refuse = refuse
        self.line = line

    @property
    def waits(self):
        """Whether it is in the queue."""
        return self.admission is not None

    def enter(self):
        if self.worker.active < self.worker.places:
            self.admitted()
        else:
            self.worker.admission.enter(self)

    def exit(self):
        if self.admission is not None:
            self.leave()
        elif self.runs:
            self.runs = False
            self.worker.active -= 1
            self.worker.let_in()

    cdef bint admitted(self) except -1:
        self.runs = True
        self.worker.active += 1
        try:
            self.start()
        except Exception as exception:
            self.worker.report("Exception in connection", exception)
        return True

    cdef int refused(self) except -1:
        self.worker.metrics.refuse(503, "queue")
        try:
            self.refuse()
        except Exception as exception:
            self.worker.report("Exception in connection", exception)
        return 0
