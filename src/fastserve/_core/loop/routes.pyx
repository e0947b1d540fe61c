"""The routes whose applications have computed after a send.

What they send is written at once, however rarely they are requested, so that it waits for a computation only once. A
route is what the framework has matched by the time of the send: the object under `route` or `endpoint` in the scope, or
the first segment of the path if there is neither.

PROVEN     The processor time of the thread shows that the application computed: the route stays.
suspected  The time was not measured, so another process may have had the processor. The route is forgotten after TRIAL
           sends without proof.

Beyond MOST routes the least recently requested one is forgotten.
"""
from collections import OrderedDict

cdef enum:
    MOST = 512
    TRIAL = 1000
    PROVEN = 0


cdef class Routes:
    def __cinit__(self):
        self.table = OrderedDict()

    cdef bint are_written_at_once(self, dict scope) except -1:
        """Count a send of this scope's route, and return whether it is written at once."""
        key = key_of(scope)[0]
        entry = self.table.get(key)
        if entry is None:
            return False
        if entry[1] == 1:
            del self.table[key]
            self.count -= 1
            return False
        if entry[1] != PROVEN:
            entry[1] -= 1
        self.table.move_to_end(key)
        return True

    cdef bint is_proven(self, dict scope) except -1:
        entry = self.table.get(key_of(scope)[0])
        return entry is not None and entry[1] == PROVEN

    cdef bint note(self, dict scope, bint proven) except -1:
        key, kept = key_of(scope)
        entry = self.table.get(key)
        if entry is not None:
            if entry[1] != PROVEN:
                entry[1] = PROVEN if proven else TRIAL
            return True
        self.table[key] = [kept, PROVEN if proven else TRIAL]
        if self.count == MOST:
            self.table.popitem(False)
        else:
            self.count += 1
        return False


cdef bint has_route(dict scope) except -1:
    """Return whether the framework has put the matched route into the scope."""
    return scope.get("route") is not None or scope.get("endpoint") is not None


cdef tuple key_of(dict scope):
    """Return a key for the route, and the object that must live as long as the key is used."""
    kept = scope.get("route")
    if kept is None:
        kept = scope.get("endpoint")
    if kept is None:
        path = str(scope.get("path", ""))
        return path.split("/", 2)[1 if path[:1] == "/" else 0], None
    return id(kept), kept  # routes of some frameworks define equality without a hash
