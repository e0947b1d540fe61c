"""The routes whose applications have computed after a send."""


cdef class Routes:
    cdef object table  # OrderedDict: key -> [what the key stands for, sends left to be acquitted in]
    cdef readonly Py_ssize_t count

    cdef bint are_written_at_once(self, dict scope) except -1
    cdef bint is_proven(self, dict scope) except -1
    cdef bint note(self, dict scope, bint proven) except -1  # whether it was known before


cdef bint has_route(dict scope) except -1
