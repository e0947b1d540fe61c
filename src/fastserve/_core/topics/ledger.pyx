# setup.py: cold
"""What may wait for the clients of one event loop, and what became of their messages."""


cdef class Ledger:
    pass
