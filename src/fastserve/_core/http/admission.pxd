"""Exchanges that wait to be called until others have ended."""
from ..loop.admission cimport Applicant
from ..loop.turn cimport Runnable
from ..worker cimport Worker
from .exchange cimport HttpExchange


cdef class Candidate(Applicant):
    """An exchange that waits."""
    cdef HttpExchange exchange
    cdef Runnable start  # what calls its application

    cdef int decline(self) except -1


cdef class Guest(Applicant):
    cdef Worker worker
    cdef object start
    cdef object refuse
    cdef bint runs


# Let an exchange that has just been made wait, or refuse it; `line` stands for its connection, where that has several at
# a time.
cdef int wait_in_queue(HttpExchange exchange, Runnable start, object line) except -1
# An exchange that was about to start waits for its connection: others may have its place. Then it applies for one again.
cdef int give_place_back(HttpExchange exchange) except -1
cdef int apply_again(HttpExchange exchange, Runnable start, object line) except -1
