"""The routes whose applications have computed after a send."""


cdef class Routes:
    cdef object table  # OrderedDict: key -> [what the key stands for, how often it has sent since it computed]
    cdef readonly Py_ssize_t count

    cdef bint contain(self, dict scope) except -1
    cdef bint note(self, dict scope) except -1  # whether it was known before


cdef bint has_route(dict scope) except -1
