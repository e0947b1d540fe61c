"""The names of request methods."""

cdef int counted_as[64]  # the number of a method in the metrics, by llhttp's

cdef str method_name(int method)  # for one of llhttp's numbers; the same object each time
cdef str known_method(bytes method)  # its name, or None for one that is not served
