"""The routes whose applications have computed after a send.

What they send is written at once, however rarely they are requested, so that it waits for a computation only once. A
route is what the framework has matched by the time of the send: the object under `route` or `endpoint` in the scope, or
the first segment of the path if there is neither.

A route stays until it has sent LASTING times without computing after it: one that an accident of the machine has put
here is held again. Beyond MOST routes the least recently requested one is forgotten.
"""
from collections import OrderedDict

cdef enum:
    MOST = 512
    LASTING = 20000


cdef class Routes:
    def __cinit__(self):
        self.table = OrderedDict()

    cdef bint contain(self, dict scope) except -1:
        """Return whether this scope's route, which sends, is one of them. That makes it the most recently requested."""
        key = key_of(scope)[0]
        route = self.table.get(key)
        if route is None:
            return False
        route[1] += 1
        if route[1] > LASTING:
            del self.table[key]
            self.count -= 1
            return False
        self.table.move_to_end(key)
        return True

    cdef bint note(self, dict scope) except -1:
        """Add this scope's route, which has computed, and return whether it was one of them before."""
        key, kept = key_of(scope)
        route = self.table.get(key)
        if route is not None:
            route[1] = 0
            return True
        self.table[key] = [kept, 0]
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
