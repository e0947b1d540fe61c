"""The routes whose applications have gone on computing after a send.

What they send is written at once, however rarely they are asked for, so that it waits for a computation only once. A
route is what the framework has matched by the time of the send, the object under `route` or `endpoint` in the scope;
where there is none, it is the first segment of the path.

PROVEN    The processor time of the thread shows that it was the application: such a route stays.
suspected The time was not measured, so it may have been another process that had the processor. The route is forgotten
          after TRIAL sends without proof.

Of more than MOST routes the one that has not been asked for the longest is forgotten.
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
        """Whether what an exchange of this scope has just sent is written at once; counts the send."""
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
    """Whether the framework has said what it matched."""
    return scope.get("route") is not None or scope.get("endpoint") is not None


cdef tuple key_of(dict scope):
    """Return a key for the route, and the object that has to live as long as the key is used."""
    kept = scope.get("route")
    if kept is None:
        kept = scope.get("endpoint")
    if kept is None:
        path = str(scope.get("path", ""))
        return path.split("/", 2)[1 if path[:1] == "/" else 0], None
    return id(kept), kept  # routes of some frameworks are equal or not, but have no hash
